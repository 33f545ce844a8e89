"""Which MediaPipe points say what: groups of the 478 points, their weights in the fit, pairs that open and close."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

POINTS = 478
# Outer corners of the subject's right and left eye: their distance is the unit of the error.
EYE_CORNERS = (33, 263)
# The outline of the face slides over the skin when the head turns, so that it has no place on a mesh.
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
)  # fmt: skip
EYELIDS = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
    263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
)  # fmt: skip
IRISES = tuple(range(468, 478))
# Upper and lower point of each pair; the distance between them is the opening.
LIP_PAIRS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))
EYELID_PAIRS = (
    (159, 145), (158, 153), (160, 144), (157, 154), (161, 163),
    (386, 374), (385, 380), (387, 373), (384, 381), (388, 390),
)  # fmt: skip

_GROUP_WEIGHT = ((FACE_OVAL, 0.15), (LIPS, 2.0), (EYELIDS, 2.0), (IRISES, 2.0))
_LIP_PAIR_WEIGHT = 8.0
_EYELID_PAIR_WEIGHT = 16.0


def landmark_weights() -> Float[np.ndarray, " mediapipe"]:
    """Weight of each of the 478 points in the fit, before the model's own trust in it.

    Source: own. Lips, eyelids and irises are few and carry the expression; the oval slides.
    """
    weights = np.ones(POINTS)
    for points, weight in _GROUP_WEIGHT:
        weights[list(points)] = weight
    return weights


def opening_pairs() -> tuple[Int[np.ndarray, "pair 2"], Float[np.ndarray, " pair"]]:
    """Upper and lower MediaPipe point of each pair of lids and lips, and the weight of its opening."""
    pairs = np.array(LIP_PAIRS + EYELID_PAIRS)
    weights = [_LIP_PAIR_WEIGHT] * len(LIP_PAIRS) + [_EYELID_PAIR_WEIGHT] * len(EYELID_PAIRS)
    return pairs, np.array(weights)


def eye_corner_distance_px(
    points: Float[np.ndarray, "frame mediapipe axis"],
) -> Float[np.ndarray, " frame"]:
    """Distance in the image between the outer eye corners of each frame, pixels."""
    right, left = (points[:, corner, :2] for corner in EYE_CORNERS)
    return np.linalg.norm(right - left, axis=1)
