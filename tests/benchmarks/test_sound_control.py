import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from avatar_models.driving_signals import Driving
from benchmarks.sound_control import dealt_out, distances
from evaluation.tracks import LandmarkTracks
from head_geometry.landmark_sets import MEDIAPIPE


def moment(index):
    """Code and sound say which."""
    points, matrix = torch.zeros(1, 3), torch.eye(3)
    return Driving(
        frame=index,
        vertices=points,
        displacement=points,
        code=torch.tensor([float(index)]),
        camera_from_head=torch.eye(4),
        intrinsics=matrix,
        image_size=(8, 8),
        landmarks=points[:, :2],
        torso_from_reference=matrix,
        sound=torch.full((8, 16, 1), float(index)),
    )


def test_every_moment_gets_the_sound_of_another_and_keeps_the_rest():
    signals = [moment(index) for index in range(7)]
    for seed in range(3):
        dealt = list(dealt_out(signals, seed))
        assert [signal.frame for signal in dealt] == list(range(7))
        assert all(float(signal.code) == signal.frame for signal in dealt)
        sounds = [int(signal.sound[0, 0, 0]) for signal in dealt]
        assert sorted(sounds) == list(range(7))
        assert all(sound != index for index, sound in enumerate(sounds))


def test_distances_are_those_of_the_lips_where_both_have_a_face():
    random = np.random.default_rng(0)
    points = random.uniform(0, 100, (6, 478, 2))
    right, left = MEDIAPIPE.eye_corners
    points[:, right], points[:, left] = (10, 40), (60, 40)
    points[:, 13] = points[:, 14] + np.arange(6)[:, None] * [0, 1.0]
    valid = np.array([True] * 5 + [False])
    truth = LandmarkTracks(MEDIAPIPE, points, np.ones(6, bool))
    same = LandmarkTracks(MEDIAPIPE, points.copy(), valid)
    assert distances(same, truth) == pytest.approx((5, 0, 0, 1))
    moved = LandmarkTracks(MEDIAPIPE, points + np.array([3.0, 4.0]), valid)
    assert distances(moved, truth) == pytest.approx((5, 5, 0, 1))
    wider = points.copy()
    wider[:, 13, 1] += 2
    found = distances(LandmarkTracks(MEDIAPIPE, wider, valid), truth)
    assert found[2] == pytest.approx(2 / 50)
    assert found[3] == pytest.approx(1)
