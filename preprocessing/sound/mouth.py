"""How far the mouth is open, from landmarks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64

# MediaPipe points: middle of the inner upper and lower lip and its neighbours; outer corners of the eyes.
INNER_LIPS = ((13, 14), (82, 87), (312, 317))
EYE_CORNERS = (33, 263)


def mouth_opening(
    points: Float32[np.ndarray, "frame landmark 3"],
) -> Float64[np.ndarray, " frame"]:
    """Mean distance of the inner lips over the distance of the outer eye corners, both in space; 0 is closed.

    The width of the face is measured in three dimensions, so that turning the head does not open the mouth. Frames
    without a face (all points alike) give 0.
    """
    spots = points.astype(np.float64)
    gaps = [
        np.linalg.norm(spots[:, upper] - spots[:, lower], axis=1) for upper, lower in INNER_LIPS
    ]
    width = np.linalg.norm(spots[:, EYE_CORNERS[0]] - spots[:, EYE_CORNERS[1]], axis=1)
    return np.divide(np.mean(gaps, axis=0), width, out=np.zeros(len(width)), where=width > 0)
