import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evaluation.metrics.coefficients import FRONTAL, expression_distances, pose_distances
from evaluation.metrics.landmarks import (
    area_under_curve,
    box_error,
    jitter,
    landmark_distance,
    normalised_mean_error,
)
from head_geometry.images import resize_points
from head_geometry.landmark_sets import MEDIAPIPE, SPARSE68


def test_landmark_distance_of_a_shift():
    points = np.random.default_rng(0).random((3, 478, 2)) * 100
    np.testing.assert_allclose(landmark_distance(points, points + np.array([3.0, 4.0])), 5)


def test_nme_is_scale_free_and_uses_the_truths_eye_corners():
    generator = np.random.default_rng(0)
    truth = generator.random((2, 478, 2)) * 100
    truth[:, 33], truth[:, 263] = [20, 50], [70, 50]
    render = truth + np.array([0.0, 5.0])
    face = MEDIAPIPE.face
    np.testing.assert_allclose(normalised_mean_error(render, truth, MEDIAPIPE, face), 0.1)
    np.testing.assert_allclose(normalised_mean_error(render * 3, truth * 3, MEDIAPIPE, face), 0.1)


def test_nme_of_the_classic_68():
    truth = np.random.default_rng(0).random((2, 68, 2)) * 100
    truth[:, 36], truth[:, 45] = [20, 50], [70, 50]
    error = normalised_mean_error(truth + np.array([3.0, 4.0]), truth, SPARSE68, [0, 1])
    np.testing.assert_allclose(error, 0.1)


def test_error_over_the_box_of_the_face():
    truth = np.array([[[0.0, 0.0], [8.0, 2.0], [4.0, 1.0]]])
    np.testing.assert_allclose(box_error(truth + np.array([3.0, 4.0]), truth), 5 / 4)


def test_area_under_the_curve_of_errors():
    valid = np.ones(1000, bool)
    spread = np.linspace(0, 0.16, 1000)
    # Half the errors are below the threshold, where their share grows in a straight line.
    assert area_under_curve(spread, valid, 0.08) == pytest.approx(0.25, abs=1e-3)
    assert area_under_curve(np.zeros(1000), valid, 0.08) == 1
    assert area_under_curve(np.zeros(1000), np.arange(1000) < 250, 0.08) == 0.25
    grid = np.linspace(0, 0.08, 2001)
    errors = np.random.default_rng(0).gamma(2, 0.02, 1000)
    curve = (errors[:, None] <= grid).mean(0)
    assert area_under_curve(errors, valid, 0.08) == pytest.approx(
        np.trapezoid(curve, grid) / 0.08, abs=1e-3
    )


def test_resized_points_stay_at_the_same_place_of_the_picture():
    corners = np.array([[[-0.5, -0.5], [449.5, 449.5]]])
    np.testing.assert_allclose(
        resize_points(corners, (450, 450), (128, 128)), [[[-0.5, -0.5], [127.5, 127.5]]]
    )


def test_jitter_of_constant_acceleration_and_of_steady_motion():
    time = np.arange(10.0)
    valid, frame = np.ones(10, bool), np.arange(10)
    curve = np.stack([0.5 * 3 * time**2, 0.5 * 4 * time**2], -1)[:, None].repeat(5, 1)
    assert jitter(curve, valid, frame) == pytest.approx(5)
    line = np.stack([2 * time, -time], -1)[:, None]
    assert jitter(line, valid, frame) == pytest.approx(0, abs=1e-12)


def test_jitter_of_white_noise_is_root_six_times_its_spread():
    noise = np.random.default_rng(0).normal(0, 0.5, (4000, 20, 2))
    measured = jitter(noise, np.ones(4000, bool), np.arange(4000))
    assert measured == pytest.approx(np.sqrt(2 * 6) * 0.5, rel=0.01)


def test_jitter_skips_gaps_and_missing_frames():
    points = np.zeros((9, 1, 2))
    points[4] = 1000.0
    valid = np.ones(9, bool)
    valid[4] = False
    assert jitter(points, valid, np.arange(9)) == 0
    assert jitter(points[:3], np.ones(3, bool), np.array([0, 5, 6])) is None


def test_expression_distances():
    distances = expression_distances(np.zeros((2, 4)), np.array([[0.0, 0, 0, 2], [1, -1, 1, -1]]))
    np.testing.assert_allclose(distances["aed_l1_mean"], [0.5, 1])
    np.testing.assert_allclose(distances["aed_l1_sum"], [2, 4])
    np.testing.assert_allclose(distances["aed_rmse"], [1, 1])


def test_pose_distances_near_the_frontal_view():
    first = np.tile(np.eye(4), (1, 1, 1))
    first[:, :3, :3] = FRONTAL
    second = first.copy()
    turn = Rotation.from_rotvec([0, 0.3, 0]).as_matrix()
    second[:, :3, :3] = FRONTAL @ turn
    second[:, :3, 3] = [0.03, 0, -0.06]
    distances = pose_distances(first, second)
    assert distances["apd_geodesic_rad"][0] == pytest.approx(0.3)
    assert distances["apd_rotation_l1_rad"][0] == pytest.approx(0.1)
    assert distances["apd_translation_l1_m"][0] == pytest.approx(0.03)
