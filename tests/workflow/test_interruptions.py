"""`kill -9` at random moments, and equal results of equal seeds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from workflow_project import Project, copy_of

from artifacts.kinds import AVATAR, KINDS, RENDER, SCORES
from artifacts.store import open_artifact, read_artifact
from media.probe import probe

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

KILLS = 20
# Short steps die while Python starts, long ones in the middle of their work.
SHORTEST_S, LONGEST_S = 1.5, 7.0
BEFORE_TRAINING = ["frames", "landmarks", "matte", "face_fit", "audio_features"]


def everything_visible_is_whole(project: Project) -> int:
    """Read every file that has its final name, completely; returns how many artifacts there are."""
    artifacts = sorted(project.path("toy").rglob("*.h5"))
    for path in artifacts:
        with h5py.File(path) as file:
            kind = file.attrs["artifact_kind"]
        with open_artifact(path, KINDS[kind]) as reader:
            for name in KINDS[kind].arrays:
                reader.read(name)
    for path in project.path("toy").rglob("*.mp4"):
        assert probe(path)
    return len(artifacts)


def run_and_kill(project: Project, after_s: float) -> bool:
    """Start a run and kill all its processes; returns whether it was still running."""
    process = subprocess.Popen(
        project.command("--cores", "2"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def test_a_run_that_is_killed_again_and_again_ends_well(toy_run: Project, tmp_path: Path):
    moments = np.random.default_rng(0)
    project = copy_of(toy_run, tmp_path / "copy")
    after = [path.relative_to(project.path("toy")) for path in project.path("toy").glob("*/*.h5")]
    before = [Path(f"{name}.h5") for name in BEFORE_TRAINING]
    for kill in range(KILLS):
        # First what follows the fit, then what comes before it: a run that is killed early never gets past a fit.
        candidates = sorted(after) if kill < KILLS // 2 else before
        delete(project.path("toy") / candidates[moments.integers(len(candidates))])
        run_and_kill(project, moments.uniform(SHORTEST_S, LONGEST_S))
        everything_visible_is_whole(project)
    done = project.run("--cores", "2")
    assert done.returncode == 0, done.stdout[-6000:]
    assert everything_visible_is_whole(project) == everything_visible_is_whole(toy_run)
    assert not list(project.folder.rglob("*.checkpoint*"))
    for name in BEFORE_TRAINING:
        assert same_bytes(project, toy_run, f"toy/{name}.h5"), name
    assert "Nothing to be done" in project.run("--cores", "2").stdout


def delete(path: Path) -> None:
    """Delete a file, or a folder with what is in it."""
    if path.is_dir():
        for inner in path.iterdir():
            delete(inner)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def same_bytes(one: Project, other: Project, name: str) -> bool:
    """Whether a result is equal in both projects."""
    return one.path(name).read_bytes() == other.path(name).read_bytes()


def test_the_same_seed_gives_the_same_numbers(toy_run: Project, tmp_path: Path):
    """Equal networks, pictures and scores to the last bit (timings apart); all before training: see the test above."""
    project = copy_of(toy_run, tmp_path / "copy")
    for model in project.config["models"]:
        delete(project.path(f"toy/{model}"))
    done = project.run("--cores", "2")
    assert done.returncode == 0, done.stdout[-6000:]
    for model in project.config["models"]:
        avatars, renders, scores = (
            [run.path(f"toy/{model}/{name}.h5") for run in (project, toy_run)]
            for name in ("avatar", "render_self", "scores")
        )
        with open_artifact(avatars[0], AVATAR) as one, open_artifact(avatars[1], AVATAR) as other:
            tensors, expected = one.tensors(), other.tensors()
        assert tensors.keys() == expected.keys()
        for name in tensors:
            np.testing.assert_array_equal(tensors[name], expected[name], f"{model}: {name}")
        made, before = (read_artifact(path, RENDER) for path in renders)
        for name in ("image", "person", "head", "person_alpha", "head_alpha"):
            np.testing.assert_array_equal(made[name], before[name], f"{model}: {name}")
        made, before = (read_artifact(path, SCORES) for path in scores)
        timeless = before["frame_metric_unit"] != "s"
        for name in ("frame_metric", "frame_value", "frame_valid"):
            np.testing.assert_array_equal(
                made[name][timeless], before[name][timeless], f"{model}: {name}"
            )


def test_an_interrupted_run_needs_no_unlocking(toy_run: Project, tmp_path: Path):
    project = copy_of(toy_run, tmp_path / "copy")
    delete(project.path("toy/frames.h5"))
    started = time.monotonic()
    while not list((project.folder / ".snakemake/locks").glob("*.lock")):
        assert time.monotonic() - started < 60, "no run came as far as its lock"
        assert run_and_kill(project, 3.0 + moments_later(started))
    done = project.run("--cores", "2", "results/toy/frames.h5")
    assert done.returncode == 0, done.stdout


def moments_later(started: float) -> float:
    """A little longer with every attempt, for a busy machine."""
    return 0.2 * (time.monotonic() - started)


def test_two_runs_at_once_do_not_meet(toy_run: Project, tmp_path: Path):
    project = copy_of(toy_run, tmp_path / "copy")
    # A step of some length, so that nothing changes while the second run looks at the files.
    delete(project.path("toy/face_fit.h5"))
    process = subprocess.Popen(
        project.command("--cores", "1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        started = time.monotonic()
        while not list((project.folder / ".snakemake/locks").glob("*.lock")):
            assert time.monotonic() - started < 60
            time.sleep(0.05)
        second = project.run("--cores", "1")
        assert second.returncode != 0
        assert "locked" in second.stdout
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
