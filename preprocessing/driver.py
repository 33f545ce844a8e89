"""Step ``driver``: a recording of another tool as a motion that can drive any avatar."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import write_artifact
from head_geometry.head_model import HeadModel
from head_geometry.rotations import axis_angle_from_matrix
from preprocessing.importing.arkit import read_arkit
from preprocessing.importing.frames import SIDE_PX, frames_without_pictures
from preprocessing.importing.motion import Motion, resample
from preprocessing.importing.nerface import read_nerface

log = logging.getLogger(__name__)

# The stand-in for pictures is seen with a usual focal length.
FOCAL_SIDES = 2.0


@dataclass(frozen=True)
class Options:
    """Make a driver from a recording: Live Link Face (ARKit) or NerFACE."""

    head_model: Path
    """``head_model`` artifact of the avatars to drive."""
    out: Path
    """``face_fit`` artifact to write: motion without a person (identity 0)."""
    frames: Path
    """``frames`` artifact to write: the times of the motion, no pixels, no sound."""
    arkit: Path | None = None
    """CSV file of Live Link Face."""
    nerface: Path | None = None
    """transforms_*.json of NerFACE."""
    frame_rate_hz: float = 25.0
    """Frames per second wanted, 0 for the recording's own (where it says one)."""
    source_rate_hz: float = 0.0
    """Frames per second of the recording, 0 to take what the file says."""
    radians_per_unit: float = 1.0
    """Unit of the angles in the CSV file: 1 for Live Link Face, 3.14159 for Unreal's recordings, where 1 is 180°."""
    expressions: bool = True
    """Take the expressions; without, only the motion of head and eyes."""


def main(options: Options) -> None:
    """Read, resample, write.

    Raises:
        InputError: not exactly one recording, an unreadable one, or expressions that the head model does not have.
    """
    given = [path for path in (options.arkit, options.nerface) if path is not None]
    if len(given) != 1:
        raise InputError("give one recording: --arkit FILE or --nerface FILE")
    if min(options.frame_rate_hz, options.source_rate_hz) < 0 or options.radians_per_unit <= 0:
        raise InputError("frame rates must be 0 or more, and radians_per_unit more than 0")
    if options.arkit is not None:
        recorded = read_arkit(options.arkit, options.source_rate_hz, options.radians_per_unit)
    else:
        recorded = read_nerface(given[0], options.source_rate_hz)
    head = HeadModel.load(options.head_model)
    rate_hz = options.frame_rate_hz or own_rate_hz(recorded)
    motion = resample(recorded, rate_hz)
    names = {"recording": given[0], "head_model": options.head_model}
    provenance = make_provenance("preprocessing.driver", options, names)
    fit = fit_arrays(motion, head, options)
    write_artifact(
        options.frames, FRAMES, frames_without_pictures(motion.time_s, rate_hz), provenance
    )
    write_artifact(options.out, FACE_FIT, fit, provenance)
    log.info(
        "%s: %d recorded frames, %d at %g Hz, %d of them guessed across gaps",
        given[0].name,
        len(recorded.time_s),
        len(motion.time_s),
        rate_hz,
        int((~motion.valid).sum()),
    )


def own_rate_hz(motion: Motion) -> float:
    """The recording's rate: from the median step between its frames."""
    if len(motion.time_s) < 2:
        raise InputError("the recording has a single frame; give --frame-rate-hz, or record more")
    return float(1 / np.median(np.diff(motion.time_s)))


def fit_arrays(motion: Motion, head: HeadModel, options: Options) -> dict[str, Any]:
    """Datasets of the ``face_fit``.

    Raises:
        InputError: the head model has none of the recording's expressions.
    """
    count = len(motion.time_s)
    expression = np.zeros((count, len(head.expression_name)), np.float32)
    if options.expressions:
        expression[:] = expressions_by_name(motion, head, options.head_model)
    joint_rotation = np.zeros((count, len(head.joint_name), 3), np.float32)
    for index, name in enumerate(head.joint_name):
        if name in motion.joint_rotation:
            turns = torch.from_numpy(motion.joint_rotation[name])
            joint_rotation[:, index] = axis_angle_from_matrix(turns).numpy()
    pose = np.tile(np.eye(4), (count, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = motion.rotation, motion.translation_m
    centre, focal_px = (SIDE_PX - 1) / 2, FOCAL_SIDES * SIDE_PX
    return {
        "identity": np.zeros(len(head.identity_std), np.float32),
        "expression": expression,
        "joint_rotation": joint_rotation,
        "world_from_head": pose,
        "camera_from_world": np.tile(np.eye(4), (count, 1, 1)),
        "intrinsics": np.array([[focal_px, 0, centre], [0, focal_px, centre], [0, 0, 1]]),
        "image_size": np.array([SIDE_PX, SIDE_PX], np.int32),
        "landmark_offset": np.zeros((len(head.mediapipe_weight), 3), np.float32),
        "nme": np.zeros(count, np.float32),
        "valid": motion.valid,
        "torso_from_reference": np.tile(np.eye(3), (count, 1, 1)),
        "torso_reference_frame": np.array(0, np.int32),
        "torso_valid": np.zeros(count, bool),
        "vertex_offset": np.zeros((len(head.template), 3), np.float32),
        "expression_offset": np.zeros((0, 0, 3), np.float32),
        "outline_iou": np.zeros(count, np.float32),
        "albedo": np.zeros((0, 0, 3), np.uint8),
        "albedo_seen": np.zeros((0, 0), np.uint8),
        "light": np.zeros((0, 9, 3), np.float32),
        "photometric_error": np.zeros(0, np.float32),
    }


def expressions_by_name(motion: Motion, head: HeadModel, path: Path) -> np.ndarray:
    """The recording's coefficients in the head model's order, within its limits.

    Raises:
        InputError: the head model has none of them.
    """
    known = {name: index for index, name in enumerate(motion.expression_name)}
    shared = [name for name in head.expression_name if name in known]
    if not shared:
        raise InputError(
            f"{path}: has none of the recording's {len(known)} expressions; use the head model that they belong to, "
            "or take only the motion of head and eyes with --no-expressions"
        )
    lost = [name for name in motion.expression_name if name not in head.expression_name]
    if lost:
        log.warning("head model %s has no %s: left out", path.stem, ", ".join(lost))
    rows = np.zeros((len(motion.time_s), len(head.expression_name)))
    for index, name in enumerate(head.expression_name):
        if name in known:
            rows[:, index] = motion.expression[:, known[name]]
    return rows.clip(head.expression_lower.numpy(), head.expression_upper.numpy())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_step(Options, main)
