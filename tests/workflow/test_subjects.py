"""Subjects from a sheet: each with its own split, head model and role, and only its own jobs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from workflow_project import Project, copy_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

CLIP = "carphone_pristine.mp4"
HEADER = "name\tclip\trole\tsplit\thead_model\tduration_s\n"


def with_sheet(project: Project, *rows: str, **changes: object) -> Project:
    (project.folder / "my people.tsv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    project.config |= {"subject_sheet": "my people.tsv", **changes}
    project.write_config()
    return project


def commands(project: Project, *arguments: str, **environment: str) -> dict[str, str]:
    """Command of each planned job, by what it writes."""
    done = project.run("--dry-run", "--printshellcmds", *arguments, **environment)
    assert done.returncode == 0, done.stdout
    lines = re.findall(r"^(?:Shell command:)? *(python -m .*)$", done.stdout, re.MULTILINE)
    return {out: line for line in lines for out in re.findall(r"--out (\S+)", line)}


@pytest.fixture
def planned(new_project: Callable[..., Project], tmp_path: Path) -> dict[str, str]:
    """Anna and Bob get avatars, Cid only drives, Dora is fitted with another head model."""
    (tmp_path / "cache/FaceXModel").mkdir(parents=True)
    project = with_sheet(
        new_project(),
        f"anna\t{CLIP}\t\tinsta-350\t\t4",
        f"bob\t{CLIP}",
        f"cid\t{CLIP}\tdriver",
        f"dora\t{CLIP}\t\t\tict",
        subjects={},
        modes=["self", "cross"],
    )
    return commands(project, LIKENESS_CACHE=str(tmp_path / "cache"))


def test_each_has_its_own_split_and_length(planned: dict[str, str]):
    for step in ("avatar", "render_self"):
        assert "--split insta-350" in planned[f"results/anna/nearest_frame/{step}.h5"]
        assert "--split tail-20" in planned[f"results/bob/nearest_frame/{step}.h5"]
    assert "--duration-s 4.0" in planned["results/anna/frames.h5"]
    assert "--split insta-350" in planned["results/report/fit_anna.html"]


def test_a_driver_drives_and_gets_no_avatar(planned: dict[str, str]):
    assert "results/cid/face_fit.h5" in planned
    assert not [name for name in planned if name.startswith("results/cid/nearest_frame")]
    assert "results/anna/nearest_frame/render_cross_cid.h5" in planned
    assert "--subjects anna bob dora --drivers cid" in planned["results/report/index.html"]


def test_each_has_its_own_head_model_and_drives_those_of_the_same(planned: dict[str, str]):
    assert "--head-model results/head_models/ict.h5" in planned["results/dora/face_fit.h5"]
    assert "--head-model results/head_models/anny.h5" in planned["results/bob/face_fit.h5"]
    assert "cache/FaceXModel" in planned["results/head_models/ict.h5"]
    assert "cache" not in planned["results/head_models/anny.h5"]
    renders = [name for name in planned if "render_cross" in name and "nearest_frame" in name]
    assert {name for name in renders if "dora" in name} == set()
    assert len(renders) == 4  # anna and bob, each by the other and by cid
    models = " ".join(f"results/head_models/{name}.h5" for name in ("anny", "anny", "ict"))
    assert f"--head-models {models}" in planned["results/report/index.html"]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("results/zoe/frames.h5", "there is no subject 'zoe'; there are anna, dora"),
        ("results/zoe/nearest_frame/avatar.h5", "there is no subject 'zoe'"),
        (
            "results/anna/nearest_frame/render_cross_zoe.h5",
            "there is no subject 'zoe'",
        ),
        (
            "results/anna/nearest_frame/render_cross_dora.h5",
            "anna is fitted with the head model anny, dora with ict; give both the same",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(
    new_project: Callable[..., Project], tmp_path: Path, target: str, sentence: str
):
    (tmp_path / "cache/FaceXModel").mkdir(parents=True)
    rows = (f"anna\t{CLIP}", f"dora\t{CLIP}\t\t\tict")
    project = with_sheet(new_project(), *rows, subjects={})
    done = project.run("--dry-run", target, LIKENESS_CACHE=str(tmp_path / "cache"))
    assert done.returncode != 0
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout


def test_the_records_read_the_sheet_and_every_configuration(planned, new_project, tmp_path):
    line = planned["results/records.json"]
    assert "--config config.yaml --split tail-20 --head-model anny" in line
    assert "--subject-sheet 'my people.tsv'" in line
    project = new_project()
    own, more = (project.folder / name for name in ("config.yaml", "more.yaml"))
    more.write_text("subjects: {toy: {consent: form 1}}")
    line = commands(project, "--configfile", str(more))["results/records.json"]
    assert f"--config config.yaml {more} --split" in line
    alone = ("--configfile", str(own), "--replace-workflow-config")
    line = commands(project, *alone)["results/records.json"]
    assert f"--config {own} --split" in line


@pytest.mark.parametrize(
    "given", ['subjects={"toy": {"video": "x"}}', 'drivers={"a": {"wav": "x"}}']
)
def test_people_are_refused_on_the_command_line(new_project: Callable[..., Project], given: str):
    done = new_project().run("--dry-run", "--config", given)
    assert done.returncode != 0
    assert (
        f"error: config: {given.split('=', maxsplit=1)[0]} cannot be given with --config"
        in done.stdout
    )


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("bob\tnone.mp4", "column clip: there is no file 'none.mp4'"),
        (f"bob\t{CLIP}\tboss", 'column role is "boss", but must be one of avatar, driver'),
        (f"bob\t{CLIP}\t\t\t\t-1", "column duration_s is -1.0, but must be at least 0"),
        (f"bob\t{CLIP}\t\t\t\tnan", "column duration_s is nan, but must be a finite number"),
        (f"b ob\t{CLIP}", 'has the impossible name "b ob"'),
    ],
)
def test_a_value_that_cannot_be_is_named_with_row_and_column(
    new_project: Callable[..., Project], row: str, sentence: str
):
    done = with_sheet(new_project(), f"anna\t{CLIP}", "", row).run("--dry-run")
    assert done.returncode != 0
    where = "error: config: subject_sheet my people.tsv, row 4"
    assert where in done.stdout
    assert sentence in done.stdout.split(where)[1].splitlines()[0]


def test_nobody_has_two_places(new_project: Callable[..., Project]):
    done = with_sheet(new_project(), f"toy\t{CLIP}").run("--dry-run")
    assert done.returncode != 0
    assert "error: config: subjects/toy is in the subject_sheet my people.tsv too" in done.stdout


def test_a_new_subject_brings_its_own_jobs_alone(toy_run: Project, tmp_path: Path):
    project = with_sheet(copy_of(toy_run, tmp_path / "copy"), f"anna\t{CLIP}")
    planned = commands(project)
    assert "results/anna/monoavatar_d/scores.h5" in planned
    others = {name for name in planned if "anna" not in name}
    assert others == {"results/records.json", "results/report/index.html"}
    assert "results/report/index.html" in others


@pytest.mark.parametrize(("n_people", "has_pages"), [(6, False), (7, True)])
def test_many_people_have_pages_of_their_own(
    new_project: Callable[..., Project], n_people: int, has_pages: bool
):
    rows = [f"p{number}\t{CLIP}" for number in range(n_people)]
    project = with_sheet(new_project(), *rows, subjects={}, models=["nearest_frame"])
    done = project.run("--dry-run", "--printshellcmds", "results/report/index.html")
    assert done.returncode == 0, done.stdout
    assert ("results/report/subject_p3.html" in done.stdout) == has_pages
    assert (" --subject-pages" in done.stdout) == has_pages
    assert (" --no-subject-pages" in done.stdout) != has_pages


def test_declared_tables_and_those_of_the_papers_are_planned(new_project: Callable[..., Project]):
    project = new_project(tables=["my tables/mine.yaml"])
    path = project.folder / "my tables/mine.yaml"
    path.parent.mkdir()
    path.write_text(
        "title: t\ncolumns: [{name: c, metric: psnr_person}]\nrows: [{name: r, model: nearest_frame}]\n"
    )
    outputs = " ".join(project.run("--dry-run").stdout.split())
    assert "results/tables/mine.csv, results/tables/mine.md, results/tables/mine.tex" in outputs
    assert "results/tables/nofa_1" not in outputs
    outputs = project.run("--dry-run", "paper_tables").stdout
    for name in ("monoavatar_1", "monoavatar_2", "nofa_1", "nofa_5"):
        assert f"results/tables/{name}.tex" in outputs
