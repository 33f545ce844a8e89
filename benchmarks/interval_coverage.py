"""How often the 95 % intervals of the tables hold the mean: drawn from processes whose mean is known.

    python -m benchmarks.interval_coverage --out results/benchmarks/interval_coverage.csv

Frames are a Gaussian first-order autoregressive process: each resembles the one before it (autocorrelation; 0 is chance alone).
Subjects are independent, normal or exponential (skewed).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from artifacts.step import run_step
from artifacts.text_files import write_whole
from evaluation.metrics.uncertainty import Interval, bootstrap_frames, bootstrap_subjects

LOGGER = logging.getLogger(__name__)
# Frames before the first one that counts, so that the process has forgotten how it began.
_RUN_IN = 300


@dataclass(frozen=True)
class Options:
    """Count how often the mean is in its interval."""

    out: Path
    """CSV file for the numbers."""
    trials: int = 500
    """Draws of each kind."""
    frames: tuple[int, ...] = (20, 50, 100, 300, 1000)
    """Numbers of frames."""
    autocorrelations: tuple[float, ...] = (0.0, 0.5, 0.8, 0.95)
    """Of neighbouring frames."""
    subjects: tuple[int, ...] = (3, 6, 20)
    """Numbers of subjects."""
    seed: int = 0
    """Seed of the draws."""


def process(
    generator: np.random.Generator, trials: int, frames: int, autocorrelation: float
) -> np.ndarray:
    """Values of mean 0 and variance 1, trial by frame."""
    noise = generator.standard_normal((trials, frames + _RUN_IN))
    values = np.zeros_like(noise)
    for frame in range(1, noise.shape[1]):
        values[:, frame] = autocorrelation * values[:, frame - 1] + noise[:, frame]
    return values[:, _RUN_IN:] * (1 - autocorrelation**2) ** 0.5


def coverage(
    draws: np.ndarray, interval: Callable[[np.ndarray], Interval]
) -> dict[str, float | None]:
    """Share of the draws that have an interval, and of those the share whose interval holds 0; None where there are none."""
    known = [found for found in map(interval, draws) if found.is_known]
    held = [not found.excludes_zero for found in known]
    return {
        "coverage": round(float(np.mean(held)), 3) if held else None,
        "share_with_interval": round(len(known) / len(draws), 3),
    }


def main(options: Options) -> None:
    """Measure and write the table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    generator = np.random.default_rng(options.seed)
    rows = []
    for n in options.frames:
        for autocorrelation in options.autocorrelations:
            draws = process(generator, options.trials, n, autocorrelation)
            kind = {"of": "frames", "n": n, "drawn": f"autocorrelation {autocorrelation}"}
            rows.append({**kind, **coverage(draws, bootstrap_frames)})
            LOGGER.info("%s", rows[-1])
    for n in options.subjects:
        size = (options.trials, n)
        drawn = {
            "normal": generator.standard_normal(size),
            "skewed": generator.exponential(1, size) - 1,
        }
        for name, draws in drawn.items():
            kind = {"of": "subjects", "n": n, "drawn": name}
            rows.append({**kind, **coverage(draws, bootstrap_subjects)})
            LOGGER.info("%s", rows[-1])
    write_whole(options.out, pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    run_step(Options, main)
