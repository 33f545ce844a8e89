"""Faults in the middle of the workflow: one sentence that names the file, and nothing finished is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import imageio_ffmpeg
import pytest
import skimage
from workflow_project import Project, copy_of

from evaluation.records import read_records

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def make_clip(path: Path, *arguments: str) -> None:
    """Let ffmpeg make a clip."""
    subprocess.run([FFMPEG, "-v", "error", "-y", *arguments, str(path)], check=True)


def make_bad_clips(folder: Path, clip: Path) -> dict[str, Path]:
    """Clips that cannot be used, by name of the subject."""
    folder.mkdir()
    paths = {
        name: folder / f"{name} ü.{suffix}"
        for name, suffix in (
            *(("empty", "mp4"), ("truncated", "mp4"), ("sound", "m4a")),
            *(("faceless", "mp4"), ("photo", "png")),
        )
    }
    paths["empty"].touch()
    # The index of this file is at its end, so that nothing of the first half can be shown.
    paths["truncated"].write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    make_clip(paths["sound"], "-f", "lavfi", "-i", "sine=duration=1")
    make_clip(paths["faceless"], "-f", "lavfi", "-i", "testsrc=duration=1:size=160x120:rate=25")
    shutil.copy(Path(skimage.__file__).parent / "data/astronaut.png", paths["photo"])
    return paths


def error_of(log: Path) -> str:
    """The one sentence at the end of a log, which must not hold a traceback."""
    lines = log.read_text(encoding="utf-8").splitlines()
    assert "Traceback" not in "\n".join(lines)
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0] == lines[-1]
    return errors[0]


@pytest.fixture(scope="module")
def bad_run(toy_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One run of good and bad clips together; the good ones have paths with spaces and umlauts."""
    project = copy_of(toy_run, tmp_path_factory.mktemp("faults") / "copy")
    clip = project.path("assets/carphone_pristine.mp4")
    paths = make_bad_clips(project.folder / "bad clips", clip)
    good = project.folder / "Filme von Zoë" / "clip 'ä' $1.mp4"
    good.parent.mkdir()
    shutil.copy(clip, good)
    paths["good"] = good
    project.config["subjects"] |= {
        name: {"video": str(path), "duration_s": 0.6} for name, path in paths.items()
    }
    project.write_config()
    targets = [f"results/{name}/frames.h5" for name in paths]
    done = project.run("--cores", "2", *targets)
    assert done.returncode != 0
    (project.folder / "output.txt").write_text(done.stdout, encoding="utf-8")
    return project


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", ["empty ü.mp4"]),
        ("truncated", ["truncated ü.mp4"]),
        ("sound", ["sound ü.m4a"]),
        ("faceless", ["faceless ü.mp4", "face"]),
        ("photo", ["photo ü.png"]),
    ],
)
def test_a_clip_that_cannot_be_used(bad_run: Project, name: str, words: list[str]):
    error = error_of(bad_run.path(f"logs/{name}/frames.log"))
    for word in words:
        assert word in error
    # The log is shown where the run ends, so that nobody has to look for it.
    assert error in (bad_run.folder / "output.txt").read_text(encoding="utf-8")
    assert not list(bad_run.path(name).glob("*"))


def test_the_others_go_on_and_their_paths_may_be_strange(bad_run: Project):
    assert bad_run.path("good/frames.h5").is_file()


def test_nothing_that_was_finished_is_lost(bad_run: Project, toy_run: Project):
    for name in ("toy/frames.h5", "toy/monoavatar_d/scores.h5", "head_models/anny.h5"):
        assert bad_run.path(name).read_bytes() == toy_run.path(name).read_bytes()


def test_the_tables_of_the_others_say_who_is_missing_and_why(
    bad_run: Project, toy_run: Project, tmp_path: Path
):
    project = copy_of(toy_run, tmp_path / "copy")
    clip = bad_run.folder / "bad clips/faceless ü.mp4"
    project.config["subjects"] = {**project.config["subjects"], "faceless": {"video": str(clip)}}
    project.write_config()
    done = project.run("--cores", "2", "results/tables/scores.csv")
    assert done.returncode != 0
    page = project.path("tables/partial.md").read_text(encoding="utf-8")
    assert "2 of its 4 scores are missing" in page
    (reason,) = [line for line in page.splitlines() if line.startswith("- faceless / ")]
    error = error_of(project.path("logs/faceless/frames.log"))
    assert reason.endswith(f"frames: {error.removeprefix('error: ')}")
    assert "## toy" in page
    partial_records = project.path("records_partial.json")
    records = read_records(partial_records)
    assert records.subjects["faceless"].files == ()
    assert len(records.subjects["toy"].files) > 10
    # Without the bad clip everything is whole again, once the tables are made.
    project.path("tables/scores.csv").unlink()
    del project.config["subjects"]["faceless"]
    project.write_config()
    done = project.run("--cores", "2", "results/tables/scores.csv")
    assert done.returncode == 0, done.stdout
    assert not list(project.path("tables").glob("partial*"))
    assert not partial_records.exists()


def truncate(path: Path) -> None:
    """Cut a file to a half."""
    os.truncate(path, path.stat().st_size // 2)


def from_the_future(path: Path) -> None:
    """Say that the file has a newer version."""
    with h5py.File(path, "r+") as file:
        file.attrs["artifact_version"] = "1.9"


@pytest.mark.parametrize(
    ("damage", "words"),
    [(truncate, ["delete it"]), (from_the_future, ["1.9", "1.0", "update likeness"])],
)
@pytest.mark.parametrize(
    ("name", "target", "log"),
    [
        ("toy/landmarks.h5", "toy/matte.h5", "toy/matte.log"),
        ("toy/face_fit.h5", "toy/nearest_frame/avatar.h5", "toy/nearest_frame/train_avatar.log"),
        (
            "toy/nearest_frame/avatar.h5",
            "toy/nearest_frame/render_self.h5",
            "toy/nearest_frame/render_self.log",
        ),
    ],
)
def test_a_damaged_or_newer_artifact(
    toy_run: Project,
    tmp_path: Path,
    damage: Callable[[Path], None],
    words: list[str],
    name: str,
    target: str,
    log: str,
):
    project = copy_of(toy_run, tmp_path / "copy")
    damage(project.path(name))
    done = project.run("--cores", "2", "--retries", "0", f"results/{target}")
    assert done.returncode != 0
    error = error_of(project.path(f"logs/{log}"))
    for word in (Path(name).name, *words):
        assert word in error


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk for the test can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(toy_run: Project, tmp_path: Path, small_disk: Path):
    project = copy_of(toy_run, tmp_path / "copy")
    folder = project.path("toy")
    shutil.rmtree(folder)
    folder.symlink_to(small_disk)
    done = project.run("--cores", "2", "results/toy/frames.h5")
    assert done.returncode != 0
    error = error_of(project.path("logs/toy/frames.log"))
    assert "disk" in error or "space" in error
    assert not list(small_disk.glob("*.h5"))
    folder.unlink()
    done = project.run("--cores", "2", "results/toy/frames.h5")
    assert done.returncode == 0, done.stdout
    assert project.path("toy/frames.h5").read_bytes() == toy_run.path("toy/frames.h5").read_bytes()


def test_a_folder_that_may_not_be_written(toy_run: Project, tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    project = copy_of(toy_run, tmp_path / "copy")
    project.path("toy/frames.h5").unlink()
    project.path("toy").chmod(0o500)
    done = project.run("--cores", "2", "results/toy/frames.h5")
    project.path("toy").chmod(0o700)
    assert done.returncode != 0
    assert "choose a folder you may write to" in error_of(project.path("logs/toy/frames.log"))
