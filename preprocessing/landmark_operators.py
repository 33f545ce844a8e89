"""MediaPipe's three geometric operators of the attention mesh, in numpy.

They look up the mouth and the two eyes in the network's feature map, level and at a fixed size, and carry
the points found there back into the network's input.

Source: Grishchenko et al., Attention Mesh: High-fidelity Face Mesh Prediction in Real-time, 2020; option names
and sampling conventions as MediaPipe documents them for version 2 of these operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
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
    points = inputs[0][0, :, :2].astype(np.float64)
    right, left = points[options["right_rotation_idx"]], points[options["left_rotation_idx"]]
    angle = np.arctan2(right[1] - left[1], right[0] - left[0]) - options["target_rotation_radians"]
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    level = points[options["subset_idxs"]] @ rotation
    low, high = level.min(axis=0), level.max(axis=0)
    cells = np.array([options["output_width"], options["output_height"]])
    scale = (high - low) * [options["scale_x"], options["scale_y"]] / cells
    matrix = np.eye(4, dtype=np.float32)
    matrix[:2, :2] = rotation * scale
    matrix[:2, 3] = rotation @ (low + high) / 2 - rotation @ (scale * cells / 2)
    return matrix[None]


def transform_tensor_bilinear(
    options: Mapping[str, Any], inputs: Sequence[np.ndarray]
) -> Float32[np.ndarray, "1 cell_row cell_column channel"]:
    """Bilinear samples of a feature map at the centres of a grid's cells; 0 outside the map.

    Args:
        options: ``output_width`` and ``output_height`` in cells.
        inputs: The feature map (1, row, column, channel) and the matrix (1, 4, 4) from grid to map; in both,
            the middle of the first cell lies at 0.5.
    """
    features, matrix = inputs[0][0], inputs[1][0].astype(np.float64)
    rows, columns, channels = features.shape
    height, width = options["output_height"], options["output_width"]
    u, v = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    x = (matrix[0, 0] * u + matrix[0, 1] * v + (matrix[0, 3] - 0.5)).ravel()
    y = (matrix[1, 0] * u + matrix[1, 1] * v + (matrix[1, 3] - 0.5)).ravel()
    inside = (x >= 0) & (x <= columns - 1) & (y >= 0) & (y <= rows - 1)
    column = np.clip(x, 0, columns - 2).astype(np.intp)
    row = np.clip(y, 0, rows - 2).astype(np.intp)
    right = ((x - column) * inside).astype(np.float32)[:, None]
    lower = (y - row).astype(np.float32)[:, None]
    left = inside.astype(np.float32)[:, None] - right
    flat = features.reshape(-1, channels)
    corner = row * columns + column
    upper_row = flat[corner] * left + flat[corner + 1] * right
    corner += columns
    lower_row = flat[corner] * left + flat[corner + 1] * right
    return (upper_row + (lower_row - upper_row) * lower).reshape(1, height, width, channels)


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
