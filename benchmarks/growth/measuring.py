"""Run the points one after the other and keep what each took; a point that fails keeps its reason, and the others go on."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from artifacts.errors import InputError
from artifacts.kinds import AVATAR, KINDS
from artifacts.store import open_artifact
from benchmarks.growth.jobs import Job, Usage, last_line, measure, plan_jobs, run_job, snakemake
from benchmarks.growth.ledger import Key, Ledger, Row
from benchmarks.growth.points import Point, write_config, write_toy

LOGGER = logging.getLogger(__name__)
TRAIN, RENDERING = "train_avatar", "render_avatar"
# These depend on no clip; files are fetched once and not timed, since that times a network.
_OF_NO_CLIP, _NOT_TIMED = ("head_model", "licences"), "asset"
# Their results have no frames of their own, but hold something of every frame of the clip.
_OF_WHOLE_CLIP = ("sync", "fit_report")


@dataclass(frozen=True)
class Settings:
    """What all points have in common.

    Attributes:
        folder: Where projects and results lie.
        minutes: Longest training.
        limit_s: Longest command.
        cores: Of every command but a workflow's.
        device: auto, cpu or cuda.
    """

    folder: Path
    minutes: float
    limit_s: float
    cores: int
    device: str


def measure_steps(
    settings: Settings, ledger: Ledger, points: Iterable[Point], only: Sequence[str]
) -> None:
    """Every step from the clip to the report, with the baseline; where ``only`` names some, no others."""
    targets = ["results/{s}/" + f"{step}.h5" for step in ("sync", "audio_features")]
    targets += ["results/tables/scores.csv", "results/report/index.html", "results/licences.md"]
    for point in points:
        run_point(settings, ledger, point, ["nearest_frame"], targets, only)


def measure_models(
    settings: Settings, ledger: Ledger, points: Iterable[Point], models: Sequence[str]
) -> None:
    """Training and rendering of each model, and the steps before them where they are not there."""
    for point in points:
        targets = ["results/{s}/" + f"{model}/render_self.h5" for model in models]
        run_point(settings, ledger, point, models, targets, ())


def run_point(
    settings: Settings,
    ledger: Ledger,
    point: Point,
    models: Sequence[str],
    targets: Sequence[str],
    only: Sequence[str],
) -> None:
    """Run the jobs of one point that have no row, or no result that others need."""
    project = settings.folder / "project"
    try:
        write_config(project, point, models, settings.minutes, settings.device)
        wanted = [target.replace("{s}", point.subject) for target in targets]
        jobs = plan_jobs(project, settings.cores, wanted)
    except InputError as error:
        key = Key("step", "plan", "", point.frames, point.side, 0, settings.cores)
        keep(ledger, Row(key, problem=str(error)))
        return
    known = {job.name for job in jobs} - {_NOT_TIMED}
    if unknown := set(only) - known:
        raise InputError(
            f"--steps {' '.join(sorted(unknown))}: no such step leads to the report; there are {', '.join(sorted(known))}"
        )
    for job in jobs:
        if only and job.name not in (*only, *_OF_NO_CLIP, _NOT_TIMED):
            continue
        key = key_of(job, point, settings.cores)
        made = all((project / output).exists() for output in job.outputs)
        if made and (job.name == _NOT_TIMED or ledger.has(key)):
            continue
        row = run_one(settings, job, key, project)
        if job.name != _NOT_TIMED or row.problem:
            keep(ledger, row)


def key_of(job: Job, point: Point, cores: int) -> Key:
    """Which measurement a job is."""
    if job.name in (*_OF_NO_CLIP, _NOT_TIMED):
        return Key("step", job.name, cores=cores)
    what = "model" if job.name in (TRAIN, RENDERING) else "step"
    return Key(what, job.name, job.model, point.frames, point.side, 0, cores)


def run_one(settings: Settings, job: Job, key: Key, project: Path) -> Row:
    """Run one job; what it took, or why not."""
    for path in job.inputs:
        if not (project / path).exists():
            return Row(key, problem=f"not run: {path} is missing")
    load = os.getloadavg()[0]
    usage = run_job(job, project, settings.limit_s)
    if usage.status != 0:
        return Row(key, load=load, problem=why_failed(usage, project / job.log, settings.limit_s))
    row = Row(key, seconds=usage.seconds, cpu_s=usage.cpu_s, peak_mb=usage.peak_mb, load=load)
    return with_contents(row, project / job.outputs[0])


def why_failed(usage: Usage, log: Path, limit_s: float) -> str:
    """One line: the end of the log, or that the time was up."""
    if usage.status < 0 and usage.seconds >= limit_s:
        return f"stopped after {limit_s / 60:g} minutes"
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return f"exit status {usage.status}: {last_line(text)}"


def with_contents(row: Row, output: Path) -> Row:
    """Add what the result itself says: its frames, iterations and times."""
    values: dict[str, float] = {}
    if row.key.name in _OF_WHOLE_CLIP:
        values["handled"] = row.key.frames
    elif output.suffix == ".h5" and row.key.name not in (TRAIN, *_OF_NO_CLIP):
        with open_artifact(output, *KINDS.values()) as artifact:
            values["handled"] = artifact.sizes["frame"]
            if row.key.name == RENDERING:
                values["s_per_frame"] = float(np.median(artifact.read("render_time_s")))
    elif row.key.name == TRAIN:
        with open_artifact(output, AVATAR) as avatar:
            iterations = int(avatar.read("loss_step")[-1])
            spent_s = float(avatar.read("training_time_s"))
        values |= {"iterations": iterations, "s_per_iteration": spent_s / iterations}
    if "handled" in values:
        values["frames_per_s"] = values["handled"] / row.seconds
    return replace(row, **values)


def measure_workflows(settings: Settings, ledger: Ledger, sizes: Iterable[tuple[int, int]]) -> None:
    """Snakemake's whole run of toy subjects from nothing, for each (subjects, cores)."""
    for subjects, cores in sizes:
        key = Key("workflow", "workflow", "nearest_frame", 30, 64, subjects, cores)
        if ledger.has(key):
            continue
        folder = settings.folder / f"toy_{subjects}_{cores}"
        shutil.rmtree(folder, ignore_errors=True)
        write_toy(folder, subjects)
        load, log = os.getloadavg()[0], folder / "run.txt"
        usage = measure(snakemake(folder, cores), folder, settings.limit_s, log=log)
        if usage.status != 0:
            keep(ledger, Row(key, load=load, problem=why_failed(usage, log, settings.limit_s)))
            continue
        handled = subjects * key.frames
        keep(
            ledger,
            Row(
                key,
                handled=handled,
                seconds=usage.seconds,
                cpu_s=usage.cpu_s,
                peak_mb=usage.peak_mb,
                frames_per_s=handled / usage.seconds,
                load=load,
            ),
        )
        shutil.rmtree(folder)


def keep(ledger: Ledger, row: Row) -> None:
    """Write a row down and say so."""
    ledger.put(row)
    key = row.key
    words = [f"{name} {value}" for name, value in asdict(key).items() if value and name != "what"]
    LOGGER.info(
        "%s: %s", ", ".join(words), row.problem or f"{row.seconds:.1f} s, {row.peak_mb:.0f} MB"
    )
