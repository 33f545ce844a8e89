import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from head_geometry.rotations import (
    axis_angle_from_matrix,
    matrix_from_axis_angle,
    quaternion_from_matrix,
    shortest_turn,
    skew,
)

component = st.floats(-1, 1, allow_nan=False)


@settings(deadline=None, max_examples=60)
@given(st.tuples(component, component, component), st.floats(0, np.pi - 1e-6))
def test_matrix_and_axis_angle_agree_with_scipy(axis, angle):
    length = np.linalg.norm(axis)
    vector = np.array(axis) / length * angle if length > 1e-3 else np.zeros(3)
    matrix = matrix_from_axis_angle(torch.tensor(vector))
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(axis_angle_from_matrix(matrix), vector, atol=1e-7)


def test_quaternions_agree_with_scipy_on_all_four_branches():
    turns = np.array([[0.1, 0.2, 0.3], [3.1, 0, 0], [0, 3.1, 0.1], [0.1, 0, -3.1], [0, 0, 0]])
    matrices = Rotation.from_rotvec(turns).as_matrix()
    expected = Rotation.from_matrix(matrices).as_quat(canonical=True)[:, [3, 0, 1, 2]]
    found = quaternion_from_matrix(torch.tensor(matrices)).numpy()
    found *= np.sign((found * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_half_turn_survives_the_round_trip():
    vector = torch.tensor(
        [[0.0, np.pi, 0.0], [np.pi / np.sqrt(2), 0.0, np.pi / np.sqrt(2)]]
    ).double()
    again = matrix_from_axis_angle(axis_angle_from_matrix(matrix_from_axis_angle(vector)))
    torch.testing.assert_close(again, matrix_from_axis_angle(vector), atol=1e-9, rtol=0)


def test_gradient_at_zero_is_the_cross_product():
    vector = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(matrix_from_axis_angle, vector)
    for axis in range(3):
        torch.testing.assert_close(jacobian[..., axis], skew(torch.eye(3).double()[axis]))


@pytest.mark.parametrize("angle", [1e-9, 1e-5, 1e-3])
def test_small_angles_in_single_precision(angle):
    vector = torch.tensor([angle, 0.0, 0.0])
    matrix = matrix_from_axis_angle(vector)
    assert matrix[2, 1].item() == pytest.approx(np.sin(angle), rel=1e-5)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3), atol=1e-6, rtol=0)


def test_shortest_turn_takes_one_direction_to_another_about_their_normal():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(2, 20, 3, generator=generator, dtype=torch.float64)
    first, second = torch.nn.functional.normalize(drawn, dim=-1)
    turn = shortest_turn(first, second)
    torch.testing.assert_close((turn @ first[..., None])[..., 0], second)
    angle = torch.linalg.vector_norm(axis_angle_from_matrix(turn), dim=-1)
    torch.testing.assert_close(angle, torch.acos((first * second).sum(-1)))
    torch.testing.assert_close(shortest_turn(first, first), torch.eye(3).to(turn).expand(20, 3, 3))
