"""The CSV of Live Link Face (ARKit): 52 expressions and nine angles per row."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from head_geometry.camera_conventions import OPENCV_FROM_OPENGL
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing.exporting.clip import FittedClip
from preprocessing.exporting.folder import PictureWriter

log = logging.getLogger(__name__)

TIMECODE, COUNT = "Timecode", "BlendShapeCount"
# In the order of the app's columns, which begin with a capital letter.
EXPRESSIONS = (
    *("eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft"),
    *("eyeSquintLeft", "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight"),
    *("eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight", "jawForward"),
    *("jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRight"),
    *("mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft"),
    *("mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft"),
    *("mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft"),
    *("browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft"),
    *("noseSneerRight", "tongueOut"),
)
TURNING = ("Head", "LeftEye", "RightEye")
ANGLES = tuple(f"{part}{angle}" for part in TURNING for angle in ("Yaw", "Pitch", "Roll"))
# Signs of yaw, pitch and roll against turns about our y, x and z: Unreal counts yaw to the subject's right, pitch up
# and roll to the subject's right.
SIGNS = np.array([-1.0, -1.0, 1.0])


def column(expression: str) -> str:
    """The app's name of an expression."""
    return expression[0].upper() + expression[1:]


def write_arkit(clip: FittedClip, folder: Path, pictures: PictureWriter) -> None:
    """Write ``live_link_face.csv``.

    Expressions are in 0..1. Angles are radians: the head against a camera that it faces, the eyes against the head,
    turned by yaw, then pitch, then roll (intrinsic); positive yaw turns to the subject's right, positive pitch up, positive
    roll tilts to the subject's right. Frames that were not fitted have a count of 0 and no values, as the app
    writes them. The time code counts frames at the clip's rate.

    Source: column order as in the app's recordings; signs as in Unreal Engine's AppleARKit plugin (unmirrored face),
    radians as Faceit's importer reads them.
    """
    del pictures  # A table has none.
    missing = [name for name in EXPRESSIONS if name not in clip.head.expression_name]
    if missing:
        log.warning(
            "head model %s has no %s: these columns are 0", clip.head_name, ", ".join(missing)
        )
    others = [name for name in clip.head.expression_name if name not in EXPRESSIONS]
    if others:
        log.warning("ARKit has no %s: left out", ", ".join(others))
    values = expression_columns(clip).clip(0, 1)
    angles = turn_columns(clip)
    numbers = np.concatenate([values, angles], axis=1)
    with (folder / "live_link_face.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([TIMECODE, COUNT, *map(column, EXPRESSIONS), *ANGLES])
        for frame, time_s in enumerate(clip.time_s):
            code = timecode(float(time_s), clip.frame_rate_hz)
            if clip.fit["valid"][frame]:
                rows.writerow([code, numbers.shape[1], *(f"{x:.8f}" for x in numbers[frame])])
            else:
                rows.writerow([code, 0])


def expression_columns(clip: FittedClip) -> Float[np.ndarray, "frame 52"]:
    """The fit's coefficients by ARKit's names, 0 where the head model has none of the name."""
    known = {name: index for index, name in enumerate(clip.head.expression_name)}
    found = np.zeros((len(clip.time_s), len(EXPRESSIONS)))
    for place, name in enumerate(EXPRESSIONS):
        if name in known:
            found[:, place] = clip.fit["expression"][:, known[name]]
    return found


def turn_columns(clip: FittedClip) -> Float[np.ndarray, "frame 9"]:
    """Yaw, pitch and roll of head and eyes, radians."""
    motion, _ = clip.head.joint_motion(clip.joints, clip.joint_rotation)
    skull = motion[:, clip.head.joint_name.index("head")].double()
    head = OPENCV_FROM_OPENGL[:3, :3].double() @ clip.camera_from_head[:, :3, :3] @ skull
    turns = [angles_from_matrix(head)]
    for name in ("eye_left", "eye_right"):
        joint = clip.joint(name)
        eye = (
            matrix_from_axis_angle(torch.zeros(len(head), 3).double())
            if joint is None
            else skull.mT @ motion[:, joint].double()
        )
        turns.append(angles_from_matrix(eye))
    return np.concatenate(turns, axis=1)


def angles_from_matrix(rotation: Float[Tensor, "frame 3 3"]) -> Float[np.ndarray, "frame 3"]:
    """Yaw, pitch, roll with the app's signs, radians."""
    return Rotation.from_matrix(rotation.numpy()).as_euler("YXZ") * SIGNS


def matrix_from_angles(angles: Float[np.ndarray, "frame 3"]) -> Float[np.ndarray, "frame 3 3"]:
    """Inverse of :func:`angles_from_matrix`."""
    return Rotation.from_euler("YXZ", angles * SIGNS).as_matrix()


def timecode(time_s: float, rate_hz: float) -> str:
    """HH:MM:SS:FF.fff, as the app writes it; FF counts frames of the second."""
    # Thousandths of a frame, so that rounding carries over into the next second.
    per_second = round(1000 * rate_hz)
    seconds, thousandths = divmod(round(time_s * per_second), per_second)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    frame, part = divmod(thousandths, 1000)
    return f"{hour:02d}:{minute:02d}:{second:02d}:{frame:02d}.{part:03d}"
