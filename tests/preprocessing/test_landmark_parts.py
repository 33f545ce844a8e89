"""Sampling, MediaPipe's geometric operators and the cut of a network, each against a second implementation."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from artifacts.errors import InputError
from assets.fetch import fetch_asset
from preprocessing.detection.operators import (
    MESH_OPERATORS,
    landmarks_to_transform_matrix,
    transform_landmarks,
    transform_tensor_bilinear,
)
from preprocessing.detection.roi import RotatedSquare, sample_square, square_around
from preprocessing.detection.tflite_graph import SplitNetwork

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    "square",
    [
        RotatedSquare(40.3, 30.8, 25.0, 0.4),
        RotatedSquare(4.0, 55.0, 60.0, -0.7),
        RotatedSquare(-50.0, 20.0, 30.0),
        RotatedSquare(40.0, 30.0, 300.0, 2.0),
    ],
)
def test_samples_equal_spline_interpolation_with_repeated_edges(square):
    image = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    size = 17
    sampled = sample_square(image, square, size, gain=0.5, offset=3.0)
    cos, sin = np.cos(square.angle_rad), np.sin(square.angle_rad)
    v, u = np.mgrid[:size, :size] / size - 0.5
    x = square.center_x + square.side_px * (cos * u - sin * v)
    y = square.center_y + square.side_px * (sin * u + cos * v)
    where = [np.clip(y, 0, 59), np.clip(x, 0, 79)]
    wanted = [map_coordinates(image[..., c].astype(float), where, order=1) for c in range(3)]
    np.testing.assert_allclose(sampled, np.stack(wanted, -1) * 0.5 + 3, atol=0.02)


def test_black_border_is_black():
    image = np.full((20, 30, 3), 255, np.uint8)
    sampled = sample_square(image, RotatedSquare(15.0, 10.0, 60.0), 60, border="black")
    np.testing.assert_array_equal(sampled[:18], 0)
    np.testing.assert_array_equal(sampled[22:38, 17:43], 255)


def test_square_around_a_tilted_face_is_tilted():
    low, high = np.array([10.0, 20.0]), np.array([30.0, 60.0])
    level = np.array([[15.0, 30.0], [25.0, 40.0]])
    square = square_around(low, high, level)
    assert (square.center_x, square.center_y, square.side_px) == (20, 40, 60)
    assert square.angle_rad == pytest.approx(np.pi / 4)
    corner = square.image_from_unit() @ [0.5, 0.5, 1]
    np.testing.assert_allclose(corner, [20, 40])


def _matrix_options(**others):
    options = {
        "left_rotation_idx": 0,
        "right_rotation_idx": 1,
        "target_rotation_radians": 0.0,
        "subset_idxs": [0, 1, 2, 3],
        "scale_x": 1.5,
        "scale_y": 2.0,
        "output_width": 16,
        "output_height": 8,
    }
    return options | others


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2])
def test_grid_lies_level_around_a_turned_rectangle(angle):
    # A rectangle of 12 by 6 around (20, 10), turned; the last point is not covered.
    flat = np.array([[-6, 0], [6, 0], [0, -3], [0, 3], [50, 50]], float)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.zeros((1, 5, 3), np.float32)
    points[0, :, :2] = flat @ turn.T + [20, 10]
    matrix = landmarks_to_transform_matrix(_matrix_options(), [points])[0]

    def corner(x, y):
        return matrix[:2] @ [x, y, 0, 1]

    np.testing.assert_allclose(corner(8, 4), [20, 10], atol=1e-4)
    np.testing.assert_allclose(corner(0, 0), turn @ [-9, -6] + [20, 10], atol=1e-4)
    np.testing.assert_allclose(corner(16, 0), turn @ [9, -6] + [20, 10], atol=1e-4)


def test_feature_samples_equal_a_plain_loop():
    features = RNG.normal(size=(1, 6, 7, 3)).astype(np.float32)
    matrix = np.eye(4, dtype=np.float32)[None]
    matrix[0, :2] = [[0.9, 0.35, 0, -0.6], [-0.3, 0.8, 0, 1.7]]
    options = {"output_width": 9, "output_height": 5}
    sampled = transform_tensor_bilinear(options, [features, matrix])
    assert sampled.shape == (1, 5, 9, 3)
    outside = 0
    for row in range(5):
        for column in range(9):
            x, y = matrix[0, :2] @ [column + 0.5, row + 0.5, 0, 1] - 0.5
            wanted = np.zeros(3)
            if 0 <= x <= 6 and 0 <= y <= 5:
                i, j = min(int(y), 4), min(int(x), 5)
                a, b = y - i, x - j
                block = features[0, i : i + 2, j : j + 2]
                upper, lower = block[0, 0] * (1 - b) + block[0, 1] * b, block[1, 0] * (1 - b) + block[1, 1] * b  # fmt: skip
                wanted = upper * (1 - a) + lower * a
            else:
                outside += 1
            np.testing.assert_allclose(sampled[0, row, column], wanted, atol=1e-5)
    assert 5 < outside < 40


def test_points_move_by_the_matrix():
    matrix = np.eye(4, dtype=np.float32)[None]
    matrix[0, :2] = [[0, -2, 0, 5], [3, 0, 0, 7]]
    points = np.array([[[1, 2], [0, 0]]], np.float32)
    np.testing.assert_array_equal(transform_landmarks({}, [points, matrix]), [[[1, 10], [5, 7]]])


def test_an_operator_without_a_function_is_refused():
    path = fetch_asset("face_landmark_with_attention.tflite")
    functions = {k: f for k, f in MESH_OPERATORS.items() if k != "TransformTensorBilinear"}
    with pytest.raises(InputError, match="TransformTensorBilinear"):
        SplitNetwork(path, functions)


def test_a_damaged_network_is_named(tmp_path):
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(fetch_asset("face_landmark_with_attention.tflite").read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"cut\.tflite"):
        SplitNetwork(cut, MESH_OPERATORS)


def test_transposed_convolution_equals_torch():
    from preprocessing.matting.segmenter import transposed_convolution

    features = RNG.normal(size=(1, 5, 6, 4)).astype(np.float32)
    kernel = RNG.normal(size=(1, 2, 3, 4)).astype(np.float32)
    bias = np.array([0.3], np.float32)
    made = transposed_convolution({"stride_x": 3, "stride_y": 2}, [features, kernel, bias])
    wanted = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(features).permute(0, 3, 1, 2),
        torch.from_numpy(kernel).permute(3, 0, 1, 2),
        torch.from_numpy(bias),
        stride=(2, 3),
    )
    np.testing.assert_allclose(made[..., 0], wanted[:, 0].numpy(), atol=1e-5)
