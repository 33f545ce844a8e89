"""The soft cut between head and torso."""

import math

import pytest
import torch
from synthetic_head import make_synthetic_head

from head_geometry.cameras import project, transform
from head_geometry.head_region import cut_height_m, head_region, vertices_above_cut
from head_geometry.rotations import matrix_from_axis_angle

SIZE = (96, 128)
INTRINSICS = torch.tensor([[260.0, 0, 47.5], [0, 260.0, 50.0], [0, 0, 1]])


def camera_from_head(axis_angle):
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.diag(torch.tensor([1.0, -1, -1])) @ matrix_from_axis_angle(
        torch.tensor(axis_angle)
    )
    matrix[2, 3] = 0.7
    return matrix


@pytest.fixture(scope="module")
def model():
    return make_synthetic_head()


def at(mask, pixels):
    x, y = pixels.round().long().unbind(-1)
    return mask[y.clamp(0, SIZE[1] - 1), x.clamp(0, SIZE[0] - 1)]


@pytest.mark.parametrize(
    "turn", [(0.0, 0, 0), (0.5, 0, 0), (-0.3, 0, 0), (0, 0.6, 0), (0.2, 0.3, 0.3)]
)
def test_head_vertices_are_head_and_neck_base_is_torso(model, turn):
    matrix = camera_from_head([float(a) for a in turn])
    mask = head_region(model, model.template, matrix, INTRINSICS, SIZE)
    assert mask.shape == (SIZE[1], SIZE[0])
    assert float(mask.min()) >= 0
    assert float(mask.max()) <= 1
    pixels = project(transform(matrix, model.template), INTRINSICS)
    well_above = model.template[:, 1] > cut_height_m(model) + 0.02
    assert float(at(mask, pixels[well_above]).min()) > 0.4
    below = torch.tensor([[0.0, cut_height_m(model) - 0.05, 0.04]])
    assert float(at(mask, project(transform(matrix, below), INTRINSICS))) < 0.05


def test_cut_is_straight_and_soft_for_a_frontal_head(model):
    mask = head_region(model, model.template, camera_from_head([0.0, 0, 0]), INTRINSICS, SIZE)
    assert torch.allclose(mask[:, 0], mask[:, -1], atol=1e-3)
    half = (mask[:, 48] > 0.5).sum() - 0.5
    expected = 50.0 - 260 * cut_height_m(model) / (0.7 - 0.03)
    assert abs(float(half) - expected) < 4
    assert ((mask[:, 48] > 0.05) & (mask[:, 48] < 0.95)).sum() >= 2


def test_shoulders_above_the_line_are_torso_and_hair_is_head(model):
    mask = head_region(model, model.template, camera_from_head([0.0, 0, 0]), INTRINSICS, SIZE)
    cut_row = 50.0 - 260 * cut_height_m(model) / (0.7 - 0.03)
    assert float(mask[round(cut_row) - 6, 2]) < 0.05
    assert float(mask[round(cut_row) - 60, 14]) > 0.95


def test_a_collar_beside_the_neck_is_torso_and_the_neck_is_head(model):
    matrix = camera_from_head([0.0, 0, 0])
    mask = head_region(model, model.template, matrix, INTRINSICS, SIZE)
    height = cut_height_m(model) + 0.01
    neck = model.template[(model.template[:, 1] - height).abs() < 0.015]
    edge = neck[neck[:, 0].argmax()]
    outside, inside = edge.clone(), edge.clone()
    outside[0], inside[0] = edge[0] + 0.018, edge[0] - 0.008
    outside[1] = inside[1] = height
    values = at(mask, project(transform(matrix, torch.stack([outside, inside])), INTRINSICS))
    assert float(values[0]) < 0.1
    assert float(values[1]) > 0.9


def test_line_follows_roll(model):
    mask = head_region(model, model.template, camera_from_head([0.0, 0, 0.3]), INTRINSICS, SIZE)
    left, right = (float((mask[:, column] > 0.5).sum()) for column in (44, 68))
    assert abs(abs(left - right) - 24 * math.tan(0.3)) < 3


def test_opened_chin_stays_head(model):
    vertices = model.template.clone()
    chin = vertices_above_cut(model) & (vertices[:, 1] < -0.08) & (vertices[:, 2] > 0)
    vertices[chin, 1] -= 0.05
    matrix = camera_from_head([0.0, 0, 0])
    pixels = project(transform(matrix, vertices), INTRINSICS)
    assert (
        float(at(head_region(model, vertices, matrix, INTRINSICS, SIZE), pixels[chin]).min()) > 0.3
    )


def test_a_head_without_a_neck_is_refused(model):
    from dataclasses import replace

    lifted = model.template.clone()
    lifted[:, 1] = lifted[:, 1].clamp_min(cut_height_m(model) + 0.02)
    with pytest.raises(ValueError, match="no neck"):
        head_region(replace(model, template=lifted), lifted, camera_from_head([0.0, 0, 0]), INTRINSICS, SIZE)  # fmt: skip
