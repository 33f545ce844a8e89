"""Accuracy of the track against the whole truth, over synthetic people.

    python -m benchmarks.synthetic_accuracy --head-model H --assets results/assets --work W --out accuracy

Makes every clip (``preprocessing.synthesize``), runs the real steps on it (frames, landmarks, matte, face_fit) and
compares with the truth. What a run has finished is used by the next one, unless the code of its step has changed.
Writes ``<out>.csv`` (one row per person, head model and fit) and ``<out>.md`` (mean, median and 90 % quantile).
"""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from artifacts.code_digest import code_digest
from artifacts.errors import ArtifactError, InputError
from artifacts.step import run_step
from artifacts.store import read_provenance
from benchmarks.synthetic_measures import Clip, measure_clip, measure_fit
from head_geometry.head_model import HeadModel

log = logging.getLogger(__name__)
DETECTOR = "face_detection_short_range.tflite"
MESH = "face_landmark_with_attention.tflite"
SEGMENTER = "selfie_segmentation.tflite"
CONDITIONS = ("head model", "fit")


@dataclass(frozen=True)
class Options:
    """Measure the face fit on synthetic people."""

    head_model: Path
    """head_model artifact that the people are made of, and that is fitted."""
    assets: Path
    """Folder with the network files (results/assets of a run)."""
    work: Path
    """Folder for clips and fits; kept, so that a run that was cut off goes on."""
    out: Path
    """Path of the tables without its suffix."""
    other_head_model: Path | None = None
    """A second head_model artifact that is fitted as well: what the wrong model costs."""
    people: int = 20
    """Number of synthetic people."""
    first_seed: int = 1000
    """Seed of the first one."""
    duration_s: float = 3.0
    """Length of each clip, seconds."""
    size_px: int = 256
    """Width and height of the clips, pixels."""
    fits: tuple[str, ...] = ("landmarks=",)
    """Fits to compare, each a name and options of preprocessing.face_fit, such as "rigid=--no-landmark-offsets"."""


def parse_fits(words: tuple[str, ...]) -> dict[str, list[str]]:
    """Options of face_fit by the name of the fit.

    Raises:
        InputError: a word is no name with options, or a name comes twice.
    """
    fits: dict[str, list[str]] = {}
    for word in words:
        name, equals, options = word.partition("=")
        if not equals or not name.isidentifier() or name in fits:
            raise InputError(
                f"--fits {word!r}: give each fit a name of its own and options, such as landmarks= "
                "or rigid=--no-landmark-offsets"
            )
        fits[name] = shlex.split(options)
    return fits


def run_module(module: str, out: Path, options: Mapping[str, object], extra: list[str]) -> None:
    """Run a step unless its file was made by the code of today.

    Raises:
        InputError: the step fails; the sentence ends with its own.
    """
    if _is_current(module, out):
        return
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", module, "--out", str(out), *words, *extra]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise InputError(f"{module} failed for {out}: {said[-1].removeprefix('error: ')}")


def _is_current(module: str, out: Path) -> bool:
    try:
        return read_provenance(out)["code"] == code_digest(module)
    except ArtifactError:
        return False


def make_clip(options: Options, seed: int, model: HeadModel) -> Clip:
    """Clip, frames, landmarks and matte of one person."""
    name = f"{options.head_model.stem}_{seed}_{options.size_px}px_{options.duration_s:g}s"
    folder = options.work / name
    truth, frames, landmarks, matte = (
        folder / f"{kind}.h5" for kind in ("truth", "frames", "landmarks", "matte")
    )
    video, detector = folder / "clip.mp4", options.assets / DETECTOR
    made_from = {"head-model": options.head_model, "video": video, "seed": seed}
    size = {"duration-s": options.duration_s, "size-px": options.size_px}
    if not video.is_file():
        truth.unlink(missing_ok=True)
    run_module("preprocessing.synthesize", truth, made_from | size, [])
    run_module("preprocessing.frames", frames, {"video": video, "detector": detector}, [])
    nets = {"detector": detector, "mesh": options.assets / MESH}
    run_module("preprocessing.landmarks", landmarks, {"images": frames} | nets, [])
    seen = {"frames": frames, "landmarks": landmarks}
    segmenter = {"segmenter": options.assets / SEGMENTER}
    run_module("preprocessing.matte", matte, seen | segmenter, [])
    return Clip(model, truth, frames, landmarks, matte)


def measure_person(
    options: Options, seed: int, models: dict[Path, HeadModel], fits: dict[str, list[str]]
) -> list[dict[str, object]]:
    """One row per head model and fit."""
    clip = make_clip(options, seed, models[options.head_model])
    inputs = {"frames": clip.frames, "landmarks": clip.landmarks, "matte": clip.matte}
    rows = []
    for path, model in models.items():
        for name, words in fits.items():
            fit = clip.truth.with_name(f"face_fit_{path.stem}_{name}.h5")
            run_module("preprocessing.face_fit", fit, inputs | {"head-model": path}, words)
            row: dict[str, object] = {"seed": seed, "head model": path.stem, "fit": name}
            rows.append(row | measure_fit(clip, fit, model) | measure_clip(clip, fit))
    return rows


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, median and 90 % quantile over the people of every number, per head model and fit."""
    numbers = table.drop(columns=["seed"]).groupby(list(CONDITIONS), sort=False)
    parts = {"mean": numbers.mean(), "median": numbers.median(), "p90": numbers.quantile(0.9)}
    return (
        pd.concat(parts, names=["over people"])
        .reorder_levels([1, 2, 0])
        .sort_index(sort_remaining=False)
    )


def write_tables(out: Path, table: pd.DataFrame) -> None:
    """Write the CSV and the Markdown table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out.with_suffix(".csv"), index=False)
    summary = summarise(table).T
    text = f"{table['seed'].nunique()} synthetic people; rows: see benchmarks/synthetic_measures.py.\n\n"
    summary.columns = [", ".join(map(str, column)) for column in summary.columns]
    out.with_suffix(".md").write_text(text + summary.to_markdown(floatfmt=".4g") + "\n")


def main(options: Options) -> None:
    """Make, fit, measure, write.

    Raises:
        InputError: a file is missing, a step fails, or no person is wanted.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fits = parse_fits(options.fits)
    if options.people < 1 or not fits:
        raise InputError(
            "nothing to measure: give at least one person (--people) and one of --fits"
        )
    missing = [
        name for name in (DETECTOR, MESH, SEGMENTER) if not (options.assets / name).is_file()
    ]
    if missing:
        raise InputError(
            f"{options.assets}: has no {', '.join(missing)}; run python -m assets.fetch first"
        )
    paths = [options.head_model, options.other_head_model]
    models = {path: HeadModel.load(path).to(dtype=torch.float64) for path in paths if path}
    rows: list[dict[str, object]] = []
    seeds = range(options.first_seed, options.first_seed + options.people)
    for seed in tqdm(seeds, desc="people", unit="person"):
        rows += measure_person(options, seed, models, fits)
        # After every person: a long run shows early what it will say.
        write_tables(options.out, pd.DataFrame(rows))
    print(options.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    run_step(Options, main)
