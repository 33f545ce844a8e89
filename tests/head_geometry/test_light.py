import numpy as np
import pytest
import torch

from head_geometry.colours import linear_from_srgb, srgb_from_linear
from head_geometry.rotations import matrix_from_axis_angle
from head_geometry.spherical_harmonics import (
    even_directions,
    harmonics,
    irradiance_basis,
    turn_light,
)


@pytest.fixture
def light():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(9, 3))).float()


def test_harmonics_are_orthonormal():
    values = harmonics(even_directions(20000)).double()
    gram = 4 * np.pi / len(values) * values.mT @ values
    torch.testing.assert_close(gram, torch.eye(9, dtype=torch.float64), atol=2e-3, rtol=0)


def test_matt_shading_is_the_mean_of_light_weighted_by_the_cosine(light):
    sky = even_directions(50000)
    normal = torch.nn.functional.normalize(
        torch.tensor([[0.3, -0.8, 0.5], [0.0, 0.0, -1.0]]), dim=1
    )
    cosine = (normal @ sky.mT).clamp_min(0)
    # The integral of cosine times radiance over the sphere, divided by pi.
    expected = 4 / len(sky) * cosine @ (harmonics(sky) @ light)
    torch.testing.assert_close(irradiance_basis(normal) @ light, expected, atol=5e-3, rtol=0)


def test_a_turned_light_shines_from_turned_directions(light):
    rotation = matrix_from_axis_angle(torch.tensor([0.4, -1.1, 0.3]))
    direction = even_directions(50)
    turned = harmonics(direction) @ turn_light(light, rotation)
    expected = harmonics(direction @ rotation.mT) @ light
    torch.testing.assert_close(turned, expected, atol=1e-4, rtol=0)


def test_srgb_and_linear_undo_each_other():
    levels = torch.arange(256) / 255
    torch.testing.assert_close(
        srgb_from_linear(linear_from_srgb(levels)), levels, atol=1e-5, rtol=0
    )
    # Middle grey of the standard.
    assert float(linear_from_srgb(torch.tensor(0.5))) == pytest.approx(0.21404, abs=1e-4)
    assert srgb_from_linear(torch.tensor([-1.0, 2.0])).tolist() == pytest.approx([0, 1], abs=1e-6)
