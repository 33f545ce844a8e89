"""Step: what moving along each principal axis of a personal subspace changes: the expression, or the person."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from artifacts.errors import InputError
from artifacts.kinds import LANDMARKS, RENDER
from artifacts.step import run_step
from artifacts.store import open_artifact, read_artifact
from artifacts.text_files import write_whole
from evaluation.report_pictures import (
    Picture,
    encode,
    label_strip,
    tile_row,
    with_labels,
)
from head_geometry.landmark_sets import LandmarkSet, landmark_set_of

LOGGER = logging.getLogger(__name__)
COLUMNS = ("direction", "amount", "expression_change", "identity_drift", "colour_drift")
# Side of a picture of the grid, pixels.
TILE_PX = 96
# A pixel with more of the head than this is the head's.
HEAD_OPACITY = 250

Points = Float[np.ndarray, "point 2"]


@dataclass(frozen=True)
class Options:
    """Options of ``python -m evaluation.navigation``."""

    render: Path
    """``render`` artifact of mode navigation."""
    landmarks: Path
    """``landmarks`` found in its pictures of the head."""
    csv: Path
    """Table to write, one row per picture."""
    picture: Path
    """Grid to write (.png): a row per direction."""


def main(options: Options) -> None:
    """Measure every picture against the one in the middle of its row.

    Raises:
        InputError: the render is of another mode, or the landmarks are of other pictures.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = read_artifact(options.landmarks, LANDMARKS)
    with open_artifact(options.render, RENDER) as render:
        direction, amount = render.read("direction"), render.read("amount")
        if len(direction) == 0:
            raise InputError(f"{options.render}: moves along no direction; render mode navigation")
        if len(found["valid"]) != len(direction):
            raise InputError(
                f"{options.landmarks}: {len(found['valid'])} frames, but {options.render} has {len(direction)}"
            )
        head, opacity = render.read("head"), render.read("head_alpha")
    sweep = Sweep(direction, amount, head, opacity)
    rows = measure(sweep, found["points"][..., :2], found["valid"])
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [int(row[0]), *("" if np.isnan(x) else f"{x:.6g}" for x in row[1:])] for row in rows
    )
    write_whole(options.csv, table.getvalue())
    write_whole(options.picture, encode(draw_grid(sweep), "png"))
    found_rows = rows[~np.isnan(rows[:, 2])]
    LOGGER.info("a face was found in %d of %d pictures", len(found_rows), len(rows))
    if len(found_rows):
        change, drift = found_rows[:, 2:4].mean(0)
        LOGGER.info(
            "expression change %.4f, identity drift %.4f of the eye distance", change, drift
        )


@dataclass(frozen=True)
class Sweep:
    """Pictures along directions; as many for each, the middle one at amount 0."""

    direction: np.ndarray
    amount: np.ndarray
    head: UInt8[np.ndarray, "frame height width 3"]
    opacity: UInt8[np.ndarray, "frame height width"]

    def rest_of(self, frame: int) -> int:
        """The frame of the same direction at amount 0."""
        (found,) = np.flatnonzero((self.direction == self.direction[frame]) & (self.amount == 0))
        return int(found)


def measure(
    sweep: Sweep, points: Float[np.ndarray, "frame landmark 2"], valid: Bool[np.ndarray, " frame"]
) -> Float[np.ndarray, "row column"]:
    """Rows of :data:`COLUMNS`, without those of the middle pictures; NaN where no face was found.

    Expression change: RMS way of the points of lips and lids; identity drift: that of all other points but the
    outline, after the similarity that brings these onto their places; both in outer-eye-corner distances of the middle
    picture. Colour drift: median difference of the head's colours, 0..1.

    Source: own.
    """
    landmarks = landmark_set_of(points.shape[1], "landmarks")
    rows = []
    for frame in np.flatnonzero(sweep.amount != 0).tolist():
        rest = sweep.rest_of(frame)
        shown = np.minimum(sweep.opacity[frame], sweep.opacity[rest]) > HEAD_OPACITY
        difference = sweep.head[frame].astype(float) - sweep.head[rest]
        colour = float(np.median(np.abs(difference[shown]))) / 255 if shown.any() else np.nan
        moved = (np.nan, np.nan)
        if valid[frame] and valid[rest]:
            moved = displacements(points[frame], points[rest], landmarks)
        rows.append((sweep.direction[frame], sweep.amount[frame], *moved, colour))
    return np.array(rows)


def displacements(found: Points, rest: Points, landmarks: LandmarkSet) -> tuple[float, float]:
    """Expression change and identity drift of one picture, see :func:`measure`."""
    moving = sorted({*landmarks.lips, *landmarks.eyelids})
    still = sorted({*landmarks.face} - {*moving} - {*landmarks.outline})
    right, left = landmarks.eye_corners
    aligned = align(found, rest, still)
    way = np.linalg.norm(aligned - rest, axis=1) / np.linalg.norm(rest[right] - rest[left])
    change, drift = (float(np.sqrt(np.square(way[part]).mean())) for part in (moving, still))
    return change, drift


def align(found: Points, wanted: Points, chosen: list[int]) -> Points:
    """``found`` after the similarity that brings the chosen points closest to their places.

    Source: Umeyama 1991, in two dimensions, where points are complex numbers.
    """
    one, other = (points @ np.array([1, 1j]) for points in (found, wanted))
    centre, goal = one[chosen].mean(), other[chosen].mean()
    turn = np.vdot(one[chosen] - centre, other[chosen] - goal)
    scaled = (one - centre) * turn / np.square(np.abs(one[chosen] - centre)).sum() + goal
    return np.stack([scaled.real, scaled.imag], 1)


def draw_grid(sweep: Sweep) -> Picture:
    """A row per axis, from the smallest amount to the largest."""
    directions = np.unique(sweep.direction)
    rows, texts = [], []
    for direction in directions:
        frames = np.flatnonzero(sweep.direction == direction)
        frames = frames[np.argsort(sweep.amount[frames])]
        rows.append(tile_row(list(sweep.head[frames]), TILE_PX))
        texts.append(f"axis {direction}")
    labels = [
        f"{amount:+g} SD" for amount in np.sort(sweep.amount[sweep.direction == directions[0]])
    ]
    return with_labels([label_strip(labels, TILE_PX), *rows], ["", *texts])


if __name__ == "__main__":
    run_step(Options, main)
