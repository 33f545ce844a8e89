"""The whole tracking path on a head that turns to both profiles."""

import logging

import numpy as np
import pytest
from filmed_person import film_person, track

SIDE = 128


@pytest.mark.slow
def test_a_turn_to_both_profiles_is_marked_and_comes_back(small_head, tmp_path, caplog):
    half = 95 * (0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, 30)))
    yaw = np.concatenate([np.zeros(4), half, -half, np.zeros(4)])
    person = film_person(small_head, yaw, SIDE)
    with caplog.at_level(logging.INFO):
        turned = track(person, person.image, tmp_path)
    found, valid = turned.landmarks["valid"], turned.fit["valid"]
    true_yaw = np.abs(np.degrees(np.arctan2(*person.camera_from_head[:, [0, 2], 2].numpy().T)))
    true_yaw = 180 - true_yaw  # the face looks against the camera's z
    assert f"face found in {found.sum()} of {len(found)} frames" in caplog.text
    assert not found[true_yaw > 88].any()
    assert not valid[true_yaw > 75].any()
    assert valid[true_yaw < 35].all()
    assert not (valid & ~found).any()
    # It is lost and found again, and what is believed is right.
    assert np.median(turned.rotation_errors_deg()[valid & (true_yaw < 30)]) < 4
    assert np.median(turned.landmark_errors()[valid]) < 0.06
