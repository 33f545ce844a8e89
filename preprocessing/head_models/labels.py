"""Parts of the skin: guessed from the eyes alone, or from the places of the face points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from skimage.measure import points_in_poly

from preprocessing.head_models.published import ALL_PARTS, TO_LABEL, PublishedHead
from preprocessing.head_models.rig import FacePlaces, neck_depth_m

FOREHEAD_ABOVE_EYES_M = 0.062
HAIR_BEHIND_EYES_M = 0.062
# The outer contour of the lips, in order.
LIP_CONTOUR = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    *(375, 321, 405, 314, 17, 84, 181, 91, 146),
)
LIP_DEPTH_M, MOUTH_DEPTH_M = 0.012, 0.06
# Ears stand out furthest beside the eyes: so far up and down from there, metres, and so much further than the skull.
EAR_SEARCH_M, EAR_RADIUS_M, EAR_STANDS_OUT_M = 0.05, 0.034, 0.02
# The middle of the ear below what stands out furthest, its upper rim.
EAR_MIDDLE_M = np.array([0, -0.014, 0.004])
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
        points: Rough places of the 478 face points on it; without them there are no lips.

    Source: own.
    """
    place, part = head.template, head.part.copy()
    skin = head.part == TO_LABEL
    eyes = places.eyes.mean(0)
    top = eyes[1] + FOREHEAD_ABOVE_EYES_M
    if points is not None:
        top = max(top, points[TOP_POINT, 1])
    ears = [_in_ear(place, skin, eyes[1], side) for side in (1, -1)]
    hairline = eyes[2] - HAIR_BEHIND_EYES_M + 0.35 * np.maximum(place[:, 1] - eyes[1], 0)
    behind = place[:, 2] < hairline

    def mark(name: str, where: Bool[np.ndarray, " vertex"]) -> None:
        part[skin & where] = ALL_PARTS.index(name)

    mark("face", skin)
    mark("scalp", (place[:, 1] > top) | behind)
    mark("neck", neck_depth_m(place, places.chin) > 0.012)
    mark("ear", ears[0] | ears[1])
    if points is not None:
        lips, cavity = _in_mouth(place, points)
        mark("lips", lips)
        mark("mouth_cavity", cavity)
    return part


def _in_ear(
    place: Float[np.ndarray, "vertex 3"],
    skin: Bool[np.ndarray, " vertex"],
    eye_height_m: float,
    side: int,
) -> Bool[np.ndarray, " vertex"]:
    """True around the outermost skin beside the eyes, as far as it stands out (+1: the subject's left side)."""
    outwards = side * place[:, 0]
    beside = skin & (np.abs(place[:, 1] - eye_height_m) < EAR_SEARCH_M)
    if not beside.any():
        return beside
    tip = np.where(beside, outwards, -np.inf).argmax()
    near = np.linalg.norm((place - place[tip] - EAR_MIDDLE_M)[:, 1:], axis=1) < EAR_RADIUS_M
    return near & (outwards > outwards[tip] - EAR_STANDS_OUT_M)


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
