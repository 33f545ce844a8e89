"""Parts of the skin: guessed from the eyes alone, or from the places of the face points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from skimage.measure import points_in_poly

from preprocessing.head_models.published import ALL_PARTS, TO_LABEL, PublishedHead
from preprocessing.head_models.rig import FacePlaces, neck_depth_m

FOREHEAD_ABOVE_EYES_M = 0.062
EAR_BEHIND_EYES_M = 0.058
# The outer contour of the lips, in order.
LIP_CONTOUR = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    *(375, 321, 405, 314, 17, 84, 181, 91, 146),
)
LIP_DEPTH_M, MOUTH_DEPTH_M = 0.012, 0.06
EAR_POINT = {1: 454, -1: 234}
"""The outermost face point before each ear: +1 the subject's left."""
# The ear's box relative to that point, metres: up, and backwards.
EAR_BELOW_M, EAR_ABOVE_M, EAR_DEPTH_M, EAR_STANDS_OUT_M = 0.035, 0.045, 0.055, 0.002
UPPER_LID_POINTS = {"left": (386, 374, 263, 362), "right": (159, 145, 33, 133)}
EYE_BEHIND_LIDS_M = 0.0115
TOP_POINT, CHIN_POINT = 10, 152
Points = Float[np.ndarray, "478 3"]


def label_skin(
    head: PublishedHead, places: FacePlaces, points: Points | None
) -> Int[np.ndarray, " vertex"]:
    """Index into ALL_PARTS of every vertex.

    Args:
        head: The published model, whose skin is to be divided up.
        places: Eyes and chin of its mean head.
        points: Rough places of the 478 face points on it; without them there are only face, scalp and neck.

    Source: own.
    """
    place, part = head.template, head.part.copy()
    skin = head.part == TO_LABEL
    eyes = places.eyes.mean(0)
    top = eyes[1] + FOREHEAD_ABOVE_EYES_M
    ear_depth = eyes[2] - EAR_BEHIND_EYES_M
    if points is not None:
        top = max(top, points[TOP_POINT, 1])
        ear_depth = points[list(EAR_POINT.values()), 2].mean()
    behind = place[:, 2] < ear_depth + 0.35 * np.maximum(place[:, 1] - eyes[1], 0)

    def mark(name: str, where: Bool[np.ndarray, " vertex"]) -> None:
        part[skin & where] = ALL_PARTS.index(name)

    mark("face", skin)
    mark("scalp", (place[:, 1] > top) | behind)
    mark("neck", neck_depth_m(place, places.chin) > 0.012)
    if points is not None:
        for side, point in EAR_POINT.items():
            mark("ear", _in_ear(place, points[point], side))
        lips, cavity = _in_mouth(place, points)
        mark("lips", lips)
        mark("mouth_cavity", cavity)
    return part


def _in_ear(
    place: Float[np.ndarray, "vertex 3"], front: Float[np.ndarray, "3"], side: int
) -> Bool[np.ndarray, " vertex"]:
    """True in a box behind the outermost face point, where the mesh stands out further than that point."""
    up, back = place[:, 1] - front[1], front[2] - place[:, 2]
    inside = (up > -EAR_BELOW_M) & (up < EAR_ABOVE_M) & (back > 0) & (back < EAR_DEPTH_M)
    return inside & (side * place[:, 0] > side * front[0] + EAR_STANDS_OUT_M)


def _in_mouth(
    place: Float[np.ndarray, "vertex 3"], points: Points
) -> tuple[Bool[np.ndarray, " vertex"], Bool[np.ndarray, " vertex"]]:
    """True for the lips, and for what lies behind them inside the mouth."""
    contour = points[list(LIP_CONTOUR)]
    inside = points_in_poly(place[:, :2], contour[:, :2])
    # The lips' own depth there: the corners lie further back than the middle.
    x, z = np.abs(contour[:, 0]), contour[:, 2]
    slope, front = np.polyfit(x**2, z, 1)
    back = front + slope * place[:, 0] ** 2 - place[:, 2]
    return inside & (back < LIP_DEPTH_M), inside & (back >= LIP_DEPTH_M) & (back < MOUTH_DEPTH_M)


def found_places(guessed: FacePlaces, points: Points, has_eyeballs: bool) -> FacePlaces:
    """Eyes and chin from the face points; eyeballs know their own centres better."""
    eyes = guessed.eyes
    if not has_eyeballs:
        lids = [points[list(UPPER_LID_POINTS[side])].mean(0) for side in ("left", "right")]
        eyes = np.stack(lids) - [0, 0, EYE_BEHIND_LIDS_M]
    return FacePlaces(eyes, points[CHIN_POINT])


def describe_parts(part: Int[np.ndarray, " vertex"]) -> str:
    """Number of vertices of each part, for the log."""
    count = np.bincount(part, minlength=len(ALL_PARTS))
    return ", ".join(f"{name} {n}" for name, n in zip(ALL_PARTS, count, strict=True))
