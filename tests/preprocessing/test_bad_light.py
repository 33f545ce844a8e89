"""The whole tracking path on clips whose light jumps."""

import numpy as np
import pytest
import torch
from filmed_person import film_person, track

from head_geometry.spherical_harmonics import even_directions, irradiance_basis

pytestmark = pytest.mark.slow
SIDE, COUNT = 128, 36
PARTS = {"own": slice(0, 12), "half and warm": slice(12, 24), "from the other side": slice(24, 36)}
WARM = torch.tensor([0.62, 0.48, 0.3])
# Harmonics that change sign when left and right do.
MIRROR = torch.tensor([1.0, 1, 1, -1, -1, 1, 1, -1, 1])


def jumping(frame, own):
    """Half as bright and warm from one frame to the next; then as bright as at first, but from the other side."""
    if frame < 12:
        return own
    return own * WARM if frame < 24 else own * MIRROR[:, None]


@pytest.fixture(scope="module")
def steady(small_head, tmp_path_factory):
    person = film_person(small_head, np.zeros(COUNT), SIDE)
    return track(person, person.image, tmp_path_factory.mktemp("steady"))


@pytest.fixture(scope="module")
def switched_and_lights(small_head, tmp_path_factory):
    lights = []

    def light_of(frame, own):
        lights.append(jumping(frame, own))
        return lights[-1]

    person = film_person(small_head, np.zeros(COUNT), SIDE, light_of)
    return track(person, person.image, tmp_path_factory.mktemp("switched")), lights


@pytest.fixture(scope="module")
def switched(switched_and_lights):
    return switched_and_lights[0]


def sideways(light):
    """What the harmonics that tell left from right show on surfaces that face the camera; one alone is not well determined."""
    normals = even_directions(500)
    odd = MIRROR < 0
    towards_camera = irradiance_basis(normals[normals[:, 2] < -0.3])
    return towards_camera[:, odd].numpy() @ np.asarray(light)[odd].mean(1)


def test_no_frame_is_lost_and_the_head_stays_where_it_is(steady, switched):
    assert switched.fit["valid"].all()
    before, after = steady.landmark_errors(), switched.landmark_errors()
    rotation = steady.rotation_errors_deg(), switched.rotation_errors_deg()
    for part in PARTS.values():
        assert np.median(after[part]) < np.median(before[part]) + 0.008
        assert np.median(rotation[1][part]) < np.median(rotation[0][part]) + 1.2


@pytest.mark.parametrize("part", PARTS)
def test_the_light_of_each_frame_takes_up_the_jump(steady, switched, part):
    error = np.median(switched.fit["photometric_error"][PARTS[part]])
    assert error < 2.2 * np.median(steady.fit["photometric_error"])


def test_the_lights_are_those_that_shone(switched_and_lights):
    switched, shone = switched_and_lights
    light = switched.fit["light"]
    own, half, other = (np.median(light[part], 0) for part in PARTS.values())
    np.testing.assert_allclose(half[0] / own[0], WARM, rtol=0.25)
    np.testing.assert_allclose(other[0] / own[0], 1, rtol=0.1)
    for seen, true in ((own, shone[0]), (other, shone[-1])):
        assert np.corrcoef(sideways(seen), sideways(true))[0, 1] > 0.8
