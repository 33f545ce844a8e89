"""What was found in chosen frames of a clip or a render: landmarks, expression and pose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from artifacts.errors import InputError
from artifacts.kinds import LANDMARKS
from artifacts.store import open_artifact
from head_geometry.images import resize_points
from head_geometry.landmark_sets import LandmarkSet, landmark_set_of


@dataclass(frozen=True)
class LandmarkTracks:
    """Landmarks of the scored frames, pixels of the render's size."""

    landmarks: LandmarkSet
    points: Float[np.ndarray, "frame landmark 2"]
    valid: Bool[np.ndarray, " frame"]


def read_tracks(path: Path, rows: Int[np.ndarray, " row"], size: tuple[int, int]) -> LandmarkTracks:
    """Rows of a ``landmarks`` artifact, moved to images of ``size`` (width, height).

    Raises:
        InputError: it has fewer frames than asked for, or an unknown set of points.
    """
    with open_artifact(path, LANDMARKS) as reader:
        n_frames = reader.shape("valid")[0]
        if rows.max() >= n_frames:
            raise InputError(
                f"{path}: {n_frames} frames, but frame {rows.max()} is needed; run landmarks again"
            )
        points = reader.read("points")[rows, :, :2].astype(np.float64)
        width, height = (int(side) for side in reader.read("image_size"))
        return LandmarkTracks(
            landmark_set_of(points.shape[1], path),
            resize_points(points, (width, height), size),
            reader.read("valid")[rows],
        )


@dataclass(frozen=True)
class FitTracks:
    """Expression and pose of the scored frames."""

    expression: Float[np.ndarray, "frame expression"]
    joint_rotation: Float[np.ndarray, "frame joint 3"]
    camera_from_head: Float[np.ndarray, "frame 4 4"]
    valid: Bool[np.ndarray, " frame"]

    @classmethod
    def of(cls, fit: dict[str, np.ndarray], rows: Int[np.ndarray, " row"]) -> FitTracks:
        """The given rows of a ``face_fit`` artifact."""
        return cls(
            fit["expression"][rows],
            fit["joint_rotation"][rows],
            (fit["camera_from_world"] @ fit["world_from_head"])[rows],
            fit["valid"][rows],
        )
