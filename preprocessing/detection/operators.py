"""MediaPipe's three geometric operators of the attention mesh, over arrays.

They look up the mouth and the two eyes in the network's feature map, level and at a fixed size, and carry
the points found there back into the network's input.

Source: Grishchenko et al., Attention Mesh: High-fidelity Face Mesh Prediction in Real-time, 2020; option names
and sampling conventions as MediaPipe documents them for version 2 of these operators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32


def landmarks_to_transform_matrix(
    options: Mapping[str, Any], inputs: Sequence[np.ndarray]
) -> Float32[np.ndarray, "1 4 4"]:
    """Map from the cells of a small level grid to the feature map it is to be cut from.

    Args:
        options: ``subset_idxs`` (the points that the grid must cover), ``left_rotation_idx`` and
            ``right_rotation_idx`` (two points that come to lie level), ``target_rotation_radians``,
            ``scale_x`` and ``scale_y`` (size of the grid over the box around the points),
            ``output_width`` and ``output_height`` (cells).
        inputs: One array (1, landmark, 3): points in feature-map units.
    """
    points = inputs[0][0]
    right, left = points[options["right_rotation_idx"]], points[options["left_rotation_idx"]]
    angle = math.atan2(right[1] - left[1], right[0] - left[0]) - options["target_rotation_radians"]
    cos, sin = math.cos(angle), math.sin(angle)
    covered = points[options["subset_idxs"]]
    level_x = covered[:, 0] * cos + covered[:, 1] * sin
    level_y = covered[:, 1] * cos - covered[:, 0] * sin
    low_x, high_x = float(level_x.min()), float(level_x.max())
    low_y, high_y = float(level_y.min()), float(level_y.max())
    width = (high_x - low_x) * options["scale_x"]
    height = (high_y - low_y) * options["scale_y"]
    step_x, step_y = width / options["output_width"], height / options["output_height"]
    # The level grid's first corner, turned back.
    x, y = (low_x + high_x - width) / 2, (low_y + high_y - height) / 2
    rows = [
        [cos * step_x, -sin * step_y, 0, cos * x - sin * y],
        [sin * step_x, cos * step_y, 0, sin * x + cos * y],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]
    return np.array([rows], np.float32)


def transform_tensor_bilinear(
    options: Mapping[str, Any], inputs: Sequence[np.ndarray]
) -> Float32[np.ndarray, "1 cell_row cell_column channel"]:
    """Bilinear samples of a feature map at the centres of a grid's cells; 0 outside the map.

    Args:
        options: ``output_width`` and ``output_height`` in cells.
        inputs: The feature map (1, row, column, channel) and the matrix (1, 4, 4) from grid to map; in both,
            the middle of the first cell lies at 0.5.
    """
    features, matrix = inputs[0], inputs[1][0, :2]
    height, width = options["output_height"], options["output_width"]
    limit = np.array(features.shape[2:0:-1], np.float32)
    positions = _cell_centers(width, height) @ matrix[:, [0, 1, 3]].T
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(features).permute(0, 3, 1, 2),
        torch.from_numpy(positions * (2 / limit) - 1).view(1, height, width, 2),
        align_corners=False,
    )
    # A sample beyond the middle of the outermost cells is 0, not a blend with 0 as torch has it.
    inside = ((positions >= 0.5) & (positions <= limit - 0.5)).all(axis=1)
    result = sampled[0].permute(1, 2, 0).numpy()
    return (result * inside.reshape(height, width, 1))[None]


@cache
def _cell_centers(width: int, height: int) -> Float32[np.ndarray, "cell 3"]:
    """Homogeneous centres (x, y, 1) of a grid's cells, row-major."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x.ravel() + 0.5, y.ravel() + 0.5, np.ones(x.size)], axis=1).astype(np.float32)


def transform_landmarks(
    options: Mapping[str, Any], inputs: Sequence[np.ndarray]
) -> Float32[np.ndarray, "1 landmark 2"]:
    """Move 2D points by a matrix.

    Args:
        options: None.
        inputs: Points (1, landmark, 2) and the matrix (1, 4, 4).
    """
    points, matrix = inputs[0][0], inputs[1][0]
    return (points @ matrix[:2, :2].T + matrix[:2, 3])[None]


MESH_OPERATORS = {
    "Landmarks2TransformMatrix": landmarks_to_transform_matrix,
    "TransformTensorBilinear": transform_tensor_bilinear,
    "TransformLandmarks": transform_landmarks,
}
