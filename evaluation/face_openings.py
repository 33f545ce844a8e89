"""How far mouth and eyes are open, from landmarks in the picture; as shares of the outer-eye-corner distance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from head_geometry.landmark_sets import landmark_set_of

Points = Float[np.ndarray, "frame landmark channel"]


def mouth_opening(points: Points) -> Float[np.ndarray, " frame"]:
    """Distance of the inner lips at their middle; 0 is closed.

    Args:
        points: Landmarks of a known set, x and y first, any unit.
    """
    return _opening(points, landmark_set_of(points.shape[1], "landmarks").lip_pairs[:1])


def eye_opening(points: Points) -> Float[np.ndarray, " frame"]:
    """Distance of the lids at their middle, mean of both eyes; 0 is closed.

    Args:
        points: Landmarks of a known set, x and y first, any unit.
    """
    return _opening(points, landmark_set_of(points.shape[1], "landmarks").middle_lid_pairs)


def _opening(points: Points, pairs: tuple[tuple[int, int], ...]) -> Float[np.ndarray, " frame"]:
    right, left = landmark_set_of(points.shape[1], "landmarks").eye_corners
    span = _distance(points, right, left)
    gap = np.mean([_distance(points, upper, lower) for upper, lower in pairs], axis=0)
    return gap / np.maximum(span, 1e-6)


def _distance(points: Points, first: int, second: int) -> Float[np.ndarray, " frame"]:
    return np.linalg.norm(points[:, first, :2] - points[:, second, :2], axis=-1)
