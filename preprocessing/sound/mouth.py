"""How far the mouth is open, from landmarks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64

from artifacts.errors import InputError

# By the number of landmarks (478 of MediaPipe, the classic 68): pairs of the inner upper and lower lip around the
# middle, and the outer corners of the eyes.
INNER_LIPS = {
    478: ((13, 14), (82, 87), (312, 317)),
    68: ((62, 66), (61, 67), (63, 65)),
}
EYE_CORNERS = {478: (33, 263), 68: (36, 45)}


def mouth_opening(
    points: Float32[np.ndarray, "frame landmark 3"],
) -> Float64[np.ndarray, " frame"]:
    """Mean distance of the inner lips over the distance of the outer eye corners, both in space; 0 is closed.

    The width of the face is measured in three dimensions, so that turning the head does not open the mouth. Frames
    without a face (all points alike) give 0.

    Raises:
        InputError: it is not known which of so many points are the lips.
    """
    n_points = points.shape[1]
    if n_points not in INNER_LIPS:
        raise InputError(
            f"the lips of a set of {n_points} landmarks are not known; use landmarks of 478 or 68 points"
        )

    # In double precision point by point: all points of a long clip are many.
    def distance(first: int, second: int) -> Float64[np.ndarray, " frame"]:
        apart = points[:, first].astype(np.float64) - points[:, second]
        return np.linalg.norm(apart, axis=1)

    gaps = [distance(*pair) for pair in INNER_LIPS[n_points]]
    width = distance(*EYE_CORNERS[n_points])
    return np.divide(np.mean(gaps, axis=0), width, out=np.zeros(len(width)), where=width > 0)
