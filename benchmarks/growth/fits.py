"""How a number grows: a line through the points, and whether memory stays flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

# A frame's 478 landmarks are 6 kB, and 8 to 11 as double precision; its picture of 128 pixels would be 49.
FLAT_MB_PER_1000 = 20.0
# Buffers fill up over the first frames of a clip: a shorter span says nothing about a long clip.
LEAST_SPAN = 900


@dataclass(frozen=True)
class Line:
    """``fixed + per_unit * x``."""

    fixed: float
    per_unit: float


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The line with the least sum of squared relative errors; None through fewer than two different x.

    Source: own; times of a shared machine scatter in proportion to their size.
    """
    x_values, y_values = np.asarray(x, float), np.asarray(y, float)
    if len(np.unique(x_values)) < 2 or (y_values <= 0).any():
        return None
    slope, fixed = np.polyfit(x_values, y_values, 1, w=1 / y_values)
    return Line(float(fixed), float(slope))


def number(value: float) -> str:
    """Three digits, or a dash where there is none."""
    if not np.isfinite(value):
        return "—"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def measured(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """The rows of one kind that have numbers."""
    return table[(table["what"] == what) & (table["problem"] == "")]


def clip_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of rules that were run on a clip: the steps, and the baseline's training and rendering."""
    rows = pd.concat([measured(table, "step"), measured(table, "model")])
    return rows[(rows["frames"] > 0) & rows["model"].isin(["", "nearest_frame"])]


def usual_side(steps: pd.DataFrame) -> int:
    """The side with the most different lengths of the clip; the largest of several."""
    lengths = steps.groupby("side")["frames"].nunique()
    return int(lengths[lengths == lengths.max()].index.max())


def usual_frames(steps: pd.DataFrame) -> int:
    """The length of the clip with the most different sides; the smallest of several."""
    sides = steps.groupby("frames")["side"].nunique()
    return int(sides[sides == sides.max()].index.min())


@dataclass(frozen=True)
class Memory:
    """Peak memory of one step over the length of the clip.

    Attributes:
        name: Of the step.
        frames: Of the clips, from the shortest.
        peak_mb: Memory with each, megabyte.
    """

    name: str
    frames: tuple[int, ...]
    peak_mb: tuple[float, ...]

    @property
    def mb_per_1000(self) -> float:
        """Megabyte that each 1000 frames add to the second longest clip: what works in windows first fills one."""
        return 1000 * (self.peak_mb[-1] - self.peak_mb[-2]) / (self.frames[-1] - self.frames[-2])

    @property
    def verdict(self) -> str:
        """Whether it stays flat."""
        if self.frames[-1] - self.frames[-2] < LEAST_SPAN:
            return "clips too short to tell"
        return "flat" if self.mb_per_1000 < FLAT_MB_PER_1000 else "NOT flat"


def memory_growth(steps: pd.DataFrame) -> list[Memory]:
    """Each step that was run on clips of different lengths and one side."""
    found = []
    for name, of_step in steps.groupby("name", sort=False):
        rows = of_step.sort_values("frames").drop_duplicates("frames")
        if len(rows) > 1:
            frames = tuple(int(value) for value in rows["frames"])
            found.append(Memory(str(name), frames, tuple(map(float, rows["peak_mb"]))))
    return found
