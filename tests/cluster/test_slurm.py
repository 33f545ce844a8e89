"""The workflow on a real SLURM cluster of one node that the test starts itself."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from slurm_cluster import SlurmCluster
from workflow_project import ROOT, Project, copy_of

from artifacts.kinds import AVATAR, RENDER
from artifacts.store import open_artifact, read_artifact

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("cluster")]

# The profile, and what this cluster is: two cores, no accounting, nobody else's jobs.
ON_SLURM = (
    *("--workflow-profile", str(ROOT / "workflow/profiles/slurm")),
    *("--slurm-no-account", "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"),
    *("--max-threads", "2", "--slurm-keep-successful-logs"),
)
BEFORE_TRAINING = ["frames", "landmarks", "matte", "face_fit", "audio_features", "sync"]
# Long enough to be met in the middle.
LONG_TRAINING = {"steps": 100_000, "max_minutes": 0.6, "rays": 128}


def start(project: Project, *arguments: str) -> tuple[subprocess.Popen[str], Path]:
    """Start Snakemake in the background; its output goes to the file that comes with it."""
    log = project.folder / f"snakemake_{time.monotonic_ns()}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            project.command(*ON_SLURM, *arguments),
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return process, log


def jobs_of(cluster: SlurmCluster, log: str) -> dict[str, dict[str, str]]:
    """What the controller remembers of the jobs that a run of Snakemake has submitted."""
    known = cluster.jobs()
    ids = re.findall(r"SLURM job ?ID (\d+)", log, re.IGNORECASE)
    return {one: known[one] for one in ids if one in known}


def wait_for(ready: Callable[[], bool], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def training_log(project: Project) -> str:
    path = project.path("logs/toy/monoavatar_d/train_avatar.log")
    return path.read_text() if path.exists() else ""


def checkpoint_of(project: Project) -> Path:
    return project.path("toy/monoavatar_d/avatar.checkpoint.pt")


def long_training(local_run: Project, folder: Path) -> Project:
    """A copy with everything before a training that takes a while and writes checkpoints."""
    project = copy_of(local_run, folder)
    project.config = {**project.config, "models": ["monoavatar_d"], "modes": ["self"]}
    project.config["model_options"] = {"monoavatar_d": LONG_TRAINING}
    project.config["train_avatar"] = {"checkpoint_every_s": 3}
    project.write_config()
    return project


def same_results(one: Project, other: Project) -> None:
    """Equal to the last byte before training, and to the last number after it (times are recorded there)."""
    for name in BEFORE_TRAINING:
        path = f"toy/{name}.h5"
        assert one.path(path).read_bytes() == other.path(path).read_bytes(), name
    for model in one.config["models"]:
        with (
            open_artifact(one.path(f"toy/{model}/avatar.h5"), AVATAR) as left,
            open_artifact(other.path(f"toy/{model}/avatar.h5"), AVATAR) as right,
        ):
            tensors, expected = left.tensors(), right.tensors()
        assert tensors.keys() == expected.keys()
        for name in tensors:
            np.testing.assert_array_equal(tensors[name], expected[name], f"{model}: {name}")
        for view in ("self", "orbit"):
            name = f"toy/{model}/render_{view}.h5"
            made, before = (read_artifact(run.path(name), RENDER) for run in (one, other))
            np.testing.assert_array_equal(made["image"], before["image"])


def test_the_workflow_gives_the_same_as_on_one_machine(
    cluster: SlurmCluster, local_run: Project, tmp_path: Path
):
    project = Project(tmp_path / "project", dict(local_run.config))
    project.write_config()
    # The trainings of both models are one array; everything else is as the profile says.
    done = project.run(*ON_SLURM, "--slurm-array-jobs", "train_avatar")
    assert done.returncode == 0, done.stdout[-6000:]
    same_results(project, local_run)
    jobs = jobs_of(cluster, done.stdout)
    assert {job["JobState"] for job in jobs.values()} == {"COMPLETED"}
    # Not as many jobs as steps: those of a clip are one, as are the measurements of an avatar.
    comments = [job["Comment"] for job in jobs.values()]
    assert sum("clip" in comment for comment in comments) == 1
    assert sum("measurement" in comment for comment in comments) == 2
    assert "Submitted array job" in done.stdout
    assert not any("rule_asset" in comment for comment in comments)
    assert project.path("report/index.html").exists()


def test_a_cancelled_job_is_done_again_by_the_next_call(
    cluster: SlurmCluster, local_run: Project, tmp_path: Path
):
    project = long_training(local_run, tmp_path / "copy")
    target = "results/toy/monoavatar_d/avatar.h5"
    process, log = start(project, target)
    wait_for(checkpoint_of(project).exists)
    # What is cancelled is tried once more; that, too, is cancelled.
    while process.poll() is None:
        cluster.ask("scancel", *jobs_of(cluster, log.read_text()))
        time.sleep(1)
    assert process.returncode != 0
    assert len(jobs_of(cluster, log.read_text())) == 2
    assert checkpoint_of(project).exists()
    again, log = start(project, target)
    assert again.wait(300) == 0, log.read_text()[-6000:]
    assert "continuing from step" in training_log(project)
    assert project.path("toy/monoavatar_d/avatar.h5").exists()
    assert not checkpoint_of(project).exists()


def test_a_preempted_training_goes_on_from_its_checkpoint(
    cluster: SlurmCluster, local_run: Project, tmp_path: Path
):
    project = long_training(local_run, tmp_path / "copy")
    process, log = start(project, "results/toy/monoavatar_d/avatar.h5")
    wait_for(checkpoint_of(project).exists)
    (job,) = jobs_of(cluster, log.read_text())
    cluster.ask("scontrol", "requeue", job)
    assert process.wait(400) == 0, log.read_text()[-6000:]
    assert cluster.jobs()[job]["Restarts"] == "1"
    assert "continuing from step" in training_log(project)


def test_a_job_that_needs_more_memory_gets_it(
    cluster: SlurmCluster, local_run: Project, tmp_path: Path
):
    project = copy_of(local_run, tmp_path / "copy")
    project.path("toy/nearest_frame/avatar.h5").unlink()
    # Too little for Python with torch, twice of it is enough: 428 MB were measured.
    little = "train_avatar:mem_mb=attempt * 350"
    target = "results/toy/nearest_frame/avatar.h5"
    done = project.run(*ON_SLURM, target, "--set-resources", little)
    assert done.returncode == 0, done.stdout[-6000:]
    first, second = jobs_of(cluster, done.stdout).values()
    assert first["JobState"] in ("OUT_OF_MEMORY", "FAILED", "CANCELLED")
    assert second["JobState"] == "COMPLETED"
    assert "mem=350M" in first["TRES"]
    assert "mem=700M" in second["TRES"]


def test_a_drained_node_delays_and_does_not_fail(
    cluster: SlurmCluster, local_run: Project, tmp_path: Path
):
    project = copy_of(local_run, tmp_path / "copy")
    project.path("toy/nearest_frame/render_self.h5").unlink()
    node = cluster.ask("sinfo", "-h", "-o", "%n")
    cluster.ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    back = threading.Timer(
        60, cluster.ask, ["scontrol", "update", f"nodename={node}", "state=resume"]
    )
    back.start()
    started = time.monotonic()
    try:
        done = project.run(*ON_SLURM, "results/toy/nearest_frame/render_self.h5")
    finally:
        back.join()
    assert done.returncode == 0, done.stdout[-6000:]
    assert time.monotonic() - started > 60
    assert {job["JobState"] for job in jobs_of(cluster, done.stdout).values()} == {"COMPLETED"}
