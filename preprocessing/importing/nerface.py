"""Read NerFACE's ``transforms_*.json`` as a motion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifacts.errors import InputError
from head_geometry.camera_conventions import camera_from_opengl
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing.exporting.arkit import EXPRESSIONS
from preprocessing.importing.motion import Motion

# Of a file that does not say its scale: the distance that its mean camera is taken to have (metre).
DISTANCE_M = 0.6
LARGEST_DEVIATION = 0.01


def read_nerface(path: Path, source_rate_hz: float) -> Motion:
    """Read a list of frames; those without a time follow each other at an even rate.

    A negative fx (NerFACE's own files) means a mirrored camera: the motion is mirrored with it, left and right
    of the scene exchanged, so that it looks as in the pictures.

    Args:
        path: One of the three files.
        source_rate_hz: Frames per second; 0 to take the times or the rate that the file holds (only ours does).

    Raises:
        InputError: no such file, other content, matrices that are no rigid motion, or no known frame rate.

    Source: see :func:`preprocessing.exporting.nerface.write_nerface`.
    """
    content = _read(path)
    frames = content["frames"]
    matrices = _array(path, frames, "transform_matrix", (4, 4))
    expression = _array(path, frames, "expression", None)
    rotation = matrices[:, :3, :3]
    deviation = np.abs(rotation @ rotation.swapaxes(1, 2) - np.eye(3)).max()
    if deviation > LARGEST_DEVIATION or (np.linalg.det(rotation) < 0).any():
        raise InputError(f"{path}: a transform_matrix is no rigid motion; export it again")
    camera = camera_from_opengl(torch.from_numpy(matrices)).numpy()
    if float((content.get("intrinsics") or [1.0])[0]) < 0:
        mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
        camera = mirror @ camera @ mirror
    place = camera[:, :3, 3]
    units = float(
        content.get("scene_units_per_metre") or np.linalg.norm(place, axis=1).mean() / DISTANCE_M
    )
    names = tuple(content.get("expression_name") or ())
    return Motion(
        time_s=_times(path, content, source_rate_hz),
        valid=np.ones(len(frames), bool),
        expression_name=names or _unnamed(expression.shape[1]),
        expression=expression,
        rotation=camera[:, :3, :3],
        translation_m=place / units,
        joint_rotation=_joints(path, content),
    )


def _unnamed(count: int) -> tuple[str, ...]:
    """Names for coefficients that have none: ARKit's where there are as many, else names that no model has."""
    return EXPRESSIONS if count == len(EXPRESSIONS) else tuple(f"nerface_{i}" for i in range(count))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: is no JSON text ({error})") from error
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(f, dict) for f in frames):
        raise InputError(
            f"{path}: holds no list of frames; give NerFACE's transforms_train.json or one of its kind"
        )
    return content


def _array(
    path: Path, frames: list[dict[str, Any]], key: str, shape: tuple[int, ...] | None
) -> np.ndarray:
    """The values of ``key`` of all frames, float64; without ``shape`` a list of any length."""
    try:
        values = np.array([frame[key] for frame in frames], np.float64)
    except KeyError as error:
        raise InputError(
            f"{path}: a frame has no {key}; it is no file of NerFACE's kind"
        ) from error
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: {key} does not hold equally many numbers in every frame"
        ) from error
    if shape is None:
        shape = (values.size // len(frames),)
    if values.shape[1:] != shape or not np.isfinite(values).all():
        raise InputError(f"{path}: {key} holds other numbers than NerFACE's; export it again")
    return values


def _times(path: Path, content: dict[str, Any], source_rate_hz: float) -> np.ndarray:
    frames = content["frames"]
    if source_rate_hz == 0 and all("time_s" in frame for frame in frames):
        times = _array(path, frames, "time_s", ())
        return times - times[0]
    rate_hz = source_rate_hz or float(content.get("frame_rate_hz") or 0)
    if rate_hz <= 0:
        raise InputError(f"{path}: does not say its frame rate; give it with --source-rate-hz")
    return np.arange(len(frames)) / rate_hz


def _joints(path: Path, content: dict[str, Any]) -> dict[str, np.ndarray]:
    """Rotations of the joints, which only our own files hold."""
    names = content.get("joint_name")
    if not names or "joint_rotation" not in content["frames"][0]:
        return {}
    turns = _array(path, content["frames"], "joint_rotation", (len(names), 3))
    matrices = matrix_from_axis_angle(torch.from_numpy(turns)).numpy()
    return {name: matrices[:, index] for index, name in enumerate(names)}
