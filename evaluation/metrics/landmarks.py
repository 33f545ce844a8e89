"""Distances and jitter of 2D landmarks, in pixels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from head_geometry.landmark_sets import LandmarkSet

Points = Float[np.ndarray, "frame landmark 2"]


def landmark_distance(first: Points, second: Points) -> Float[np.ndarray, " frame"]:
    """LMD: mean Euclidean distance of corresponding points in each frame, pixels; no alignment before."""
    return np.linalg.norm(first - second, axis=-1).mean(-1)


def normalised_mean_error(
    first: Points, truth: Points, landmarks: LandmarkSet, chosen: list[int]
) -> Float[np.ndarray, " frame"]:
    """NME: mean distance of the ``chosen`` points over the truth's outer-eye-corner distance, both in 2D."""
    right, left = landmarks.eye_corners
    span = np.linalg.norm(truth[:, right] - truth[:, left], axis=-1)
    return landmark_distance(first[:, chosen], truth[:, chosen]) / span


def box_error(first: Points, truth: Points) -> Float[np.ndarray, " frame"]:
    """NME: mean distance of the points over the square root of the area of the box around the truth's, both in 2D."""
    sides = truth.max(axis=1) - truth.min(axis=1)
    return landmark_distance(first, truth) / np.sqrt(sides.prod(-1))


def area_under_curve(
    errors: Float[np.ndarray, " frame"], valid: Bool[np.ndarray, " frame"], threshold: float
) -> float:
    """AUC: area under the cumulative distribution of errors from 0 to ``threshold``, over its largest value; 1 is best.

    Args:
        errors: Of each frame, such as an NME.
        valid: False where nothing was detected; such a frame counts as failed.
        threshold: Errors above it count as failed, whatever they are.

    Source: the measure of the 300-W challenge (Sagonas et al. 2016); computed exactly, without bins.
    """
    below = np.clip(1 - errors / threshold, 0, None)
    return float(np.where(valid, below, 0).mean())


def jitter(points: Points, valid: Bool[np.ndarray, " frame"], frame: np.ndarray) -> float | None:
    """RMS landmark acceleration, pixels per frame squared.

    Args:
        points: x, y in pixels.
        valid: Frames without landmarks are left out, with both their neighbours.
        frame: Index of each row in the clip; only three consecutive frames give an acceleration.

    Returns:
        The root of the mean, over frames and points, of |p(t-1) - 2 p(t) + p(t+1)|²; None where no
        three consecutive frames are valid.
    """
    acceleration = points[:-2] - 2 * points[1:-1] + points[2:]
    usable = valid[:-2] & valid[1:-1] & valid[2:] & (frame[2:] - frame[:-2] == 2)
    if not usable.any():
        return None
    return float(np.sqrt((acceleration[usable] ** 2).sum(-1).mean()))
