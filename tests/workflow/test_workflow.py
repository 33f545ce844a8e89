"""The workflow on a toy clip, from the clip to the report."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from workflow_project import ROOT, TOY_CONFIG, Project, copy_of

from artifacts.kinds import AVATAR, FACE_FIT, FRAMES, LANDMARKS, MATTE, RENDER, SCORES
from artifacts.store import open_artifact
from evaluation.records import read_records

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

MODELS = TOY_CONFIG["models"]


def planned_rules(project: Project, *arguments: str) -> set[str]:
    """Rules that a run would execute."""
    done = project.run("--dry-run", "--quiet", "host", "reason", *arguments)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    return {line.removeprefix("rule ").rstrip(":") for line in lines if line.startswith("rule ")}


def test_every_result_is_there_and_of_its_kind(toy_run: Project):
    kinds = {"frames": FRAMES, "landmarks": LANDMARKS, "matte": MATTE, "face_fit": FACE_FIT}
    for name, spec in kinds.items():
        with open_artifact(toy_run.path(f"toy/{name}.h5"), spec) as reader:
            assert reader.provenance["step"] == f"preprocessing.{name}"
    for model in MODELS:
        with open_artifact(toy_run.path(f"toy/{model}/avatar.h5"), AVATAR) as reader:
            assert str(reader.read("model_name")) == model
        with open_artifact(toy_run.path(f"toy/{model}/render_self.h5"), RENDER) as reader:
            assert reader.shape("image") == (6, 64, 64, 3)
        with open_artifact(toy_run.path(f"toy/{model}/render_orbit.h5"), RENDER) as reader:
            assert reader.shape("image") == (3, 64, 64, 3)
        with open_artifact(toy_run.path(f"toy/{model}/scores.h5"), SCORES) as reader:
            assert reader.shape("driver_frame") == (6,)
        for view in ("self", "orbit"):
            assert toy_run.path(f"toy/{model}/render_{view}.mp4").stat().st_size > 500
    assert not list(toy_run.folder.rglob("*.partial"))
    assert not list(toy_run.folder.rglob("*.checkpoint*"))


def test_the_table_is_long_and_complete(toy_run: Project):
    table = pd.read_csv(toy_run.path("tables/scores.csv"))
    columns = ["subject", "model", "split", "metric", "value", "ci_low", "ci_high", "n", "unit"]
    assert list(table.columns[: len(columns)]) == columns
    assert set(table["model"]) == set(MODELS)
    assert set(table["split"]) == {"tail-20@1"}
    assert table["metric"].str.startswith("psnr").any()


def test_the_report_is_one_page(toy_run: Project):
    page = toy_run.path("report/index.html").read_text(encoding="utf-8")
    for word in (*MODELS, "toy", "data:video/mp4;base64,", "Apache-2.0"):
        assert word in page
    assert 'src="http' not in page
    assert "carphone_pristine.mp4" in toy_run.path("licences.md").read_text(encoding="utf-8")


def test_the_records_are_beside_the_results(toy_run: Project):
    records = read_records(toy_run.path("records.json"))
    artifacts = {
        path.relative_to(toy_run.path("")).as_posix() for path in toy_run.path("").rglob("*.h5")
    }
    recorded = [*records.subjects["toy"].files, *records.shared_files]
    assert {origin.file for origin in recorded} == artifacts
    assert records.without_consent == ("toy",)
    assert [file.path for file in records.configuration] == ["config.yaml"]
    assert "carphone_pristine.mp4" in {row.name for row in records.licences}
    page = toy_run.path("report/index.html").read_text(encoding="utf-8")
    assert "No consent reference was given for toy." in page


def test_the_track_has_its_page_with_a_verdict(toy_run: Project):
    page = toy_run.path("report/fit_toy.html").read_text(encoding="utf-8")
    assert "Film this clip again" in page  # 1.2 seconds
    assert "Sound and lips" in page
    assert 'href="fit_toy.html"' in toy_run.path("report/index.html").read_text(encoding="utf-8")


def test_a_second_run_does_nothing(toy_run: Project):
    done = toy_run.run("--cores", "2")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


def test_every_job_left_a_log_and_a_benchmark(toy_run: Project):
    for kind, suffix in (("logs", ".log"), ("benchmarks", ".tsv")):
        names = {path.stem for path in toy_run.path(kind).rglob(f"*{suffix}")}
        for step in (
            "frames",
            "landmarks",
            "matte",
            "face_fit",
            "train_avatar",
            "scores",
            "tables",
        ):
            assert step in names


@pytest.mark.parametrize(
    ("deleted", "rules"),
    [
        ("report/index.html", {"all", "report"}),
        ("toy/nearest_frame/scores.h5", {"all", "records", "report", "scores", "tables"}),
        ("report/fit_toy.html", {"all", "fit_report", "report"}),
        ("toy/matte.h5", {"matte", "face_fit", "train_avatar", "render_avatar", "scores"}),
    ],
)
def test_only_what_is_missing_and_what_follows_is_made_again(
    toy_run: Project, tmp_path: Path, deleted: str, rules: set[str]
):
    project = copy_of(toy_run, tmp_path / "copy")
    project.path(deleted).unlink()
    planned = planned_rules(project)
    assert rules <= planned
    assert not {"frames", "landmarks", "head_model", "asset"} & planned


def test_a_deleted_table_is_made_again_as_it_was(toy_run: Project, tmp_path: Path):
    project = copy_of(toy_run, tmp_path / "copy")
    before = project.path("tables/scores.csv").read_bytes()
    project.path("tables/scores.csv").unlink()
    done = project.run("--cores", "2", "results/tables/scores.csv")
    assert done.returncode == 0, done.stdout
    assert project.path("tables/scores.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "rules", "others"),
    [
        ({"seed": 1}, {"train_avatar", "render_avatar", "scores"}, {"face_fit", "frames"}),
        ({"face_fit": {"identities": 20}}, {"face_fit", "train_avatar"}, {"matte", "head_model"}),
        (
            {"model_options": TOY_CONFIG["model_options"] | {"nearest_frame": {"steps": 6}}},
            {"train_avatar"},
            {"face_fit"},
        ),
    ],
)
def test_a_changed_option_reruns_what_depends_on_it(
    toy_run: Project, tmp_path: Path, change: dict, rules: set[str], others: set[str]
):
    project = copy_of(toy_run, tmp_path / "copy")
    project.config |= change
    project.write_config()
    planned = planned_rules(project)
    assert rules <= planned
    assert not others & planned


def test_changed_code_reruns_its_step_and_a_comment_does_not(toy_run: Project, tmp_path: Path):
    """Snakemake runs from a copy of the code whose matte step is edited."""
    code = tmp_path / "code"
    names = ["Snakefile", "rules", "workflow", "profiles", "envs", "artifacts", "assets"]
    names += [
        "head_geometry",
        "image_similarity",
        "preprocessing",
        "avatar_models",
        "evaluation",
        "media",
    ]
    code.mkdir()
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, code / name, symlinks=True)
        elif source.is_file():
            shutil.copy(source, code / name)
    project = copy_of(toy_run, tmp_path / "copy")
    matte = code / "preprocessing/matte.py"
    original = matte.read_text(encoding="utf-8")

    def planned() -> str:
        command = project.command("--dry-run", "--quiet", "host")
        command[command.index(str(ROOT / "Snakefile"))] = str(code / "Snakefile")
        done = subprocess.run(
            command,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(code)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    matte.write_text(original.replace('"""', '"""Edited: ', 1) + "\n# A comment.\n")
    assert "Nothing to be done" in planned()
    matte.write_text(original + "\nEDITED = True\n")
    assert "rule matte:" in planned()
    assert "rule landmarks:" not in planned()


def test_snakemakes_own_report(toy_run: Project, tmp_path: Path):
    done = toy_run.run("--report", str(tmp_path / "report.html"))
    assert done.returncode == 0, done.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "render_self.mp4" in page
    assert "scores.csv" in page


def test_dry_run_shows_the_plan(new_project: Callable[..., Project]):
    done = new_project().run("--dry-run")
    assert done.returncode == 0
    for rule in ("frames", "head_model", "train_avatar", "render_avatar", "report"):
        assert f"rule {rule}:" in done.stdout


def test_two_subjects_drive_each_other(new_project: Callable[..., Project]):
    clip = {"video": "carphone_pristine.mp4"}
    project = new_project(subjects={"a": clip, "b-2": clip}, modes=["self", "orbit", "cross"])
    done = project.run("--dry-run")
    assert done.returncode == 0, done.stdout
    for name in ("a/nearest_frame/render_cross_b-2.h5", "b-2/monoavatar_d/render_cross_a.mp4"):
        assert f"results/{name}" in done.stdout
    assert "render_cross_a" not in "".join(
        line for line in done.stdout.splitlines() if "results/a/nearest" in line and "all" in line
    )


def test_recordings_drive_every_subject(new_project: Callable[..., Project]):
    project = new_project(modes=["cross"], drivers={"phone": {"arkit": "phone 1.csv"}})
    (project.folder / "phone 1.csv").write_text("")
    done = project.run("--dry-run")
    assert done.returncode == 0, done.stdout
    for name in (
        "drivers/phone/face_fit.h5",
        "toy/nearest_frame/render_cross_phone.mp4",
        "toy/monoavatar_d/render_cross_phone.h5",
    ):
        assert f"results/{name}" in done.stdout


def test_networks_that_measure_are_fetched_where_they_are_wanted(
    new_project: Callable[..., Project],
):
    clip = {"video": "carphone_pristine.mp4"}
    wanted = {"lpips": ["squeeze"], "fid": True}
    modes = ["self", "cross"]
    project = new_project(subjects={"a": clip, "b": clip}, modes=modes, scores=wanted)
    done = project.run("--dry-run")
    assert done.returncode == 0, done.stdout
    for name in (
        "assets/squeezenet1_1-b8a52dc0.pth",
        "assets/pt_inception-2015-12-05-6726825d.pth",
        "a/picture_features.h5",
        "a/nearest_frame/render_self_features.h5",
        "a/nearest_frame/cross/b/features.h5",
        "b/monoavatar_d/cross/a/scores.h5",
    ):
        assert f"results/{name}" in done.stdout
    assert "vgg16" not in done.stdout
    # Nothing of it without the wish.
    project = new_project(subjects={"a": clip, "b": clip}, modes=modes)
    planned = project.run("--dry-run").stdout
    assert "picture_features.h5" not in planned
    assert "self_features.h5" not in planned
    assert "a/nearest_frame/cross/b/scores.h5" in planned


def test_csim_is_refused_until_its_network_was_fetched_by_hand(
    new_project: Callable[..., Project], tmp_path: Path
):
    cache = tmp_path / "cache"
    project = new_project(scores={"csim": True})
    done = project.run("--dry-run", LIKENESS_CACHE=str(cache))
    assert done.returncode != 0
    assert f"there is no {cache / 'w600k_r50.onnx'}" in done.stdout
    assert "non-commercial research" in done.stdout
    cache.mkdir()
    (cache / "w600k_r50.onnx").write_bytes(b"")
    done = project.run("--dry-run", LIKENESS_CACHE=str(cache))
    assert done.returncode == 0, done.stdout


def test_an_export_is_a_target(new_project: Callable[..., Project]):
    project = new_project()
    done = project.run("--dry-run", "results/toy/export/gltf")
    assert done.returncode == 0, done.stdout
    assert "rule export:" in done.stdout
    assert "rule train_avatar:" not in done.stdout


def test_list_reads_as_a_table_of_contents():
    done = Project(ROOT).run("--list")
    assert done.returncode == 0, done.stdout
    rules = [line for line in done.stdout.splitlines() if "(" in line]
    assert len(rules) >= 15
    for line in rules:
        assert line.endswith(".)"), line


def test_lint_is_clean():
    done = Project(ROOT).run("--lint")
    assert done.returncode == 0, done.stdout


def test_rules_follow_the_conventions():
    """Every rule has log, benchmark, conda, threads, resources; no script or run blocks; def only where all rules look."""
    for path in sorted((ROOT / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        # A rule made from another one has its environment, resources and command.
        kinds = re.findall(r"^(use rule|rule) ", text, flags=re.M)
        blocks = re.split(r"^(?:use rule|rule) ", text, flags=re.M)[1:]
        for kind, block in zip(kinds, blocks, strict=True):
            name = block.split(":")[0]
            if "output:" not in block:
                continue  # only names files of other rules
            own = ("log", "benchmark")
            if kind == "rule":
                own += ("conda", "threads", "resources", "params", "shell")
                assert "mem_mb" in block, name
                assert "runtime" in block, name
            for part in own:
                assert f"\n    {part}:" in block, f"{path.name}: rule {name} has no {part}"
            assert "\n    script:" not in block, name
            assert "\n    run:" not in block, name
        assert path.name in ("checks.smk", "common.smk") or "def " not in text
    assert len((ROOT / "Snakefile").read_text(encoding="utf-8").splitlines()) <= 40
    assert not list((ROOT / "workflow").rglob("*.py"))


def test_environments_have_the_versions_of_constraints():
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    pins = {name.lower(): version for name, version in pins.items()}
    used = set()
    for path in sorted((ROOT / "rules").glob("*.smk")):
        used |= set(part.split('"')[0] for part in path.read_text().split("../envs/")[1:])
    files = {path.name: path for path in (ROOT / "envs").glob("*.yaml")}
    # The environment of a package that results are only compared with (benchmarks) has versions of its own.
    files.pop("deepspeech.yaml")
    assert used == files.keys()
    for name, path in files.items():
        packages = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"][-1]["pip"]
        for package in packages:
            library, version = package.split("==")
            assert pins[library.lower()] == version, f"{name}: {library}"


def test_references_are_not_stale():
    """`make docs` makes them again."""
    from artifacts.document import artifact_reference

    assert (ROOT / "docs/artifacts.md").read_text(encoding="utf-8") == artifact_reference()
    sys.path.insert(0, str(ROOT / "docs"))
    from make_config_page import config_reference
    from make_metrics_page import metrics_page

    assert (ROOT / "docs/config.md").read_text(encoding="utf-8") == config_reference()
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == metrics_page()


@pytest.mark.parametrize(
    ("arguments", "device", "threads"),
    [
        (("--cores", "8", "--resources", "gpu=4"), "auto", 2),
        (("--cores", "8", "--resources", "gpu=1"), "auto", 8),
        (("--cores", "8"), "auto", 8),
        # Without a limit of GPUs.
        (("--workflow-profile", "none", "--cores", "8"), "auto", 8),
        (("--cores", "8", "--resources", "gpu=4"), "cpu", 8),
    ],
)
def test_gpus_share_the_cores(new_project, arguments, device, threads):
    done = new_project(device=device).run("--dry-run", *arguments)
    assert done.returncode == 0, done.stdout
    jobs = [job for job in done.stdout.split("rule ") if job.startswith("train_avatar:")]
    assert jobs
    for job in jobs:
        assert f"threads: {threads}\n" in job
        assert ("gpu=1" in job) == (device == "auto")


def test_the_slurm_profile_asks_for_gpus(new_project):
    profile = str(ROOT / "workflow/profiles/slurm")
    done = new_project(device="auto").run("--dry-run", "--workflow-profile", profile)
    assert done.returncode == 0, done.stdout
    jobs = [job for job in done.stdout.split("rule ") if job.startswith("train_avatar:")]
    assert jobs
    assert all("gpu=1" in job for job in jobs)


def test_no_group_of_the_slurm_profile_waits_for_itself(new_project):
    """A step outside a group that needs a step of it, and that another step of it needs, would never start."""
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    project = new_project(
        modes=["self", "cross"],
        scores={"fid": True},
        subjects={name: {"video": "carphone_pristine.mp4"} for name in ("ann", "bob")},
    )
    done = subprocess.run(
        project.command("--rulegraph"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)', done.stdout, re.MULTILINE))
    edges = re.findall(r"^\s*(\d+) -> (\d+)", done.stdout, re.MULTILINE)
    assert {"cross_features", "render_features"} <= set(names.values())
    assert set(profile["groups"]) <= {*names.values()}
    before: dict[str, set[str]] = {}
    for first, second in edges:
        one, other = (profile["groups"].get(names[n], names[n]) for n in (first, second))
        if one != other:
            before.setdefault(other, set()).add(one)
    # Raises where a group waits for itself.
    order = list(TopologicalSorter(before).static_order())
    assert order.index("clip") < order.index("measurement") < order.index("tables")


def test_a_long_run_does_not_look_at_its_jobs_again_and_again(toy_run, tmp_path):
    """Snakemake's limit of jobs a second would add a look a second for every job that has finished."""
    project = copy_of(toy_run, tmp_path / "copy")
    for name in ("licences.md", "records.json", "tables/scores.csv", "toy/sync.h5"):
        project.path(name).unlink()
    done = project.run("--cores", "1", "--verbose")
    assert done.returncode == 0, done.stdout
    jobs = done.stdout.count("Finished jobid: ")
    assert jobs >= 6
    assert done.stdout.count("Resources before job selection") <= jobs + 1
