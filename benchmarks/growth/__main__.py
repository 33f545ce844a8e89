"""How cost grows: every step and every model measured on this machine, with frames, image side, subjects and workers.

    python -m benchmarks.growth --out results/growth
    python -m benchmarks.growth --out results/growth --what steps --frames 100 1000 --sides 64 128

Writes ``growth.csv`` (a row per measurement, after each of them), ``growth.md`` (tables, and beside them the quoted figures of
other systems) and plots. What ``growth.csv`` holds already is not measured again: a run that was cut off, or has more
points to do, goes on with the same folder. See docs/growth.md.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from artifacts.errors import InputError
from artifacts.step import run_step
from assets.cache import locked
from avatar_models.registry import registered_models
from benchmarks.growth.ledger import Ledger
from benchmarks.growth.measuring import (
    Settings,
    measure_models,
    measure_steps,
    measure_workflows,
)
from benchmarks.growth.page import write_page
from benchmarks.growth.points import Point

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Measure how cost grows."""

    out: Path
    """Folder of the tables and plots; projects lie in it too, some gigabytes."""
    what: tuple[Literal["steps", "models", "subjects", "workers"], ...] = (
        "steps",
        "models",
        "subjects",
        "workers",
    )
    """What to measure."""
    frames: tuple[int, ...] = (100, 1000, 10000)
    """Lengths of the clip, frames at 25 per second."""
    sides: tuple[int, ...] = (64, 128, 256, 512)
    """Sides of the head crop and of the avatars' pictures, even; pixels."""
    side: int = 128
    """Side with which the frames grow; the sides grow with the smallest number of frames."""
    steps: tuple[str, ...] = ()
    """Rules to measure; empty for all."""
    models: tuple[str, ...] = ()
    """Models to train and render; empty for all that are registered."""
    subjects: tuple[int, ...] = (1, 3, 10, 30, 100)
    """Toy subjects of a whole workflow, on all cores."""
    workers: tuple[int, ...] = (1, 2)
    """Cores of a whole workflow."""
    worker_subjects: int = 3
    """Its toy subjects."""
    minutes: float = 0.5
    """Longest training of a model; minutes."""
    limit_minutes: float = 240
    """Longest command; one that takes longer is stopped and says so; minutes."""
    device: str = "auto"
    """auto, cpu or cuda."""


def check_options(options: Options) -> None:
    """Refuse impossible values.

    Raises:
        InputError: naming the option.
    """
    for name, least, why in (
        (
            "frames",
            30,
            "the toy clip, the shortest that is known to train and test an avatar, has 30",
        ),
        ("sides", 64, "smaller head crops are refused by the step frames"),
        ("subjects", 1, "it takes at least one"),
        ("workers", 1, "it takes at least one"),
    ):
        values = getattr(options, name)
        if not values or min(values) < least:
            raise InputError(
                f"--{name} {' '.join(map(str, values))} must be {least} or more each: {why}"
            )
    if options.side < 64 or any(side % 2 for side in (options.side, *options.sides)):
        raise InputError("--side and --sides must be even, and 64 pixels or more")
    if options.worker_subjects < 1 or options.minutes <= 0 or options.limit_minutes <= 0:
        raise InputError("--worker-subjects, --minutes and --limit-minutes must be above 0")
    unknown = sorted(set(options.models) - set(registered_models()))
    if unknown:
        known = ", ".join(sorted(registered_models()))
        raise InputError(f"--models {' '.join(unknown)}: not registered; there are {known}")


def measure_all(options: Options, ledger: Ledger) -> None:
    """All that was asked for, the smallest points first."""
    cores = os.cpu_count() or 1
    settings = Settings(
        folder=options.out,
        minutes=options.minutes,
        limit_s=60 * options.limit_minutes,
        cores=cores,
        device=options.device,
    )
    fewest = min(options.frames)
    by_side = [Point(fewest, side) for side in sorted(options.sides)]
    by_frames = [Point(frames, options.side) for frames in sorted(options.frames)]
    if "steps" in options.what:
        measure_steps(settings, ledger, dict.fromkeys([*by_side, *by_frames]), options.steps)
    if "models" in options.what:
        models = options.models or tuple(sorted(registered_models()))
        measure_models(settings, ledger, by_side, models)
    if "workers" in options.what:
        sizes = [(options.worker_subjects, workers) for workers in sorted(options.workers)]
        measure_workflows(settings, ledger, sizes)
    if "subjects" in options.what:
        sizes = [(subjects, cores) for subjects in sorted(options.subjects)]
        measure_workflows(settings, ledger, sizes)


def main(options: Options) -> None:
    """Measure, and write what was measured however the measuring ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    check_options(options)
    # Commands run in the folders of projects.
    out = options.out.resolve()
    # A second run with this folder waits: it would disturb the times, and write over the rows.
    with locked(out / "growth.lock"):
        ledger = Ledger.open(out / "growth.csv")
        try:
            measure_all(replace(options, out=out), ledger)
        except KeyboardInterrupt:
            sys.exit(
                f"stopped; what was measured is in {out}, and the same command goes on from there"
            )
        finally:
            write_page(ledger.table(), out)
    LOGGER.info("written: %s", out / "growth.md")


if __name__ == "__main__":
    # kill, and Ctrl-C where a shell has switched it off for what runs in the background, end it in the same way.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    run_step(Options, main)
