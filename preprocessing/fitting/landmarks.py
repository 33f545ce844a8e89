"""How much each landmark counts in the fit, and the openings that are compared beside the points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from head_geometry.landmark_sets import LandmarkSet

_LIP_PAIR_WEIGHT = 8.0
_EYELID_PAIR_WEIGHT = 16.0


def landmark_weights(landmarks: LandmarkSet) -> Float[np.ndarray, " landmark"]:
    """Weight of each point of a set in the fit, before the model's own trust in it.

    Source: own. Lips, eyelids and irises are few and carry the expression; the outline slides.
    """
    weights = np.ones(landmarks.count)
    weights[list(landmarks.outline)] = 0.15
    for points in (landmarks.lips, landmarks.eyelids, landmarks.irises):
        weights[list(points)] = 2.0
    return weights


def opening_pairs(
    landmarks: LandmarkSet,
) -> tuple[Int[np.ndarray, "pair 2"], Float[np.ndarray, " pair"]]:
    """Upper and lower point of each pair of lids and lips, and the weight of its opening."""
    pairs = np.array(landmarks.lip_pairs + landmarks.eyelid_pairs)
    weights = [_LIP_PAIR_WEIGHT] * len(landmarks.lip_pairs)
    weights += [_EYELID_PAIR_WEIGHT] * len(landmarks.eyelid_pairs)
    return pairs, np.array(weights)


def eye_corner_distance_px(
    points: Float[np.ndarray, "frame landmark axis"], landmarks: LandmarkSet
) -> Float[np.ndarray, " frame"]:
    """Distance in the image between the outer eye corners of each frame, pixels."""
    right, left = (points[:, corner, :2].astype(np.float64) for corner in landmarks.eye_corners)
    return np.linalg.norm(right - left, axis=1)
