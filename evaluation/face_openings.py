"""How far mouth and eyes are open, from landmarks in the picture."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# By the number of landmarks (478 of MediaPipe, the classic 68).
INNER_LIPS = {478: (13, 14), 68: (62, 66)}
OUTER_EYE_CORNERS = {478: (33, 263), 68: (36, 45)}
# Each eye: upper and lower lid at its middle, then its two corners.
EYES = {
    478: ((159, 145, 33, 133), (386, 374, 263, 362)),
    68: ((37, 41, 36, 39), (44, 46, 45, 42)),
}

Points = Float[np.ndarray, "frame landmark channel"]


def mouth_opening(points: Points) -> Float[np.ndarray, " frame"]:
    """Distance of the inner lips over the outer-eye-corner distance; 0 is closed.

    Args:
        points: 478 or 68 landmarks, x and y first, any unit.
    """
    n_points = points.shape[1]
    return _ratio(points, INNER_LIPS[n_points], OUTER_EYE_CORNERS[n_points])


def eye_opening(points: Points) -> Float[np.ndarray, " frame"]:
    """Distance of the lids over the width of the eye, mean of both eyes; 0 is closed.

    Args:
        points: 478 or 68 landmarks, x and y first, any unit.
    """
    ratios = [_ratio(points, eye[:2], eye[2:]) for eye in EYES[points.shape[1]]]
    return np.mean(ratios, axis=0)


def _ratio(
    points: Points, gap: tuple[int, ...], span: tuple[int, ...]
) -> Float[np.ndarray, " frame"]:
    lengths = [np.linalg.norm(points[:, a, :2] - points[:, b, :2], axis=-1) for a, b in (gap, span)]
    return lengths[0] / np.maximum(lengths[1], 1e-6)
