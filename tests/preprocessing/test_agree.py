"""Differences of two detectors' points that are known by construction."""

import numpy as np
import pytest

from artifacts.errors import InputError
from artifacts.kinds import AGREE, LANDMARKS
from artifacts.store import read_artifact, write_artifact
from head_geometry.images import resize_points
from head_geometry.landmark_sets import MEDIAPIPE
from preprocessing import agree
from preprocessing.agree import REGIONS, conclude, describe_frames, distance_to_line
from preprocessing.head_models.points import JAW_17, STATIC_51

N_FRAMES, EYE_DISTANCE = 12, 100.0
SIZE = (400, 300)
OVAL_CENTER, OVAL_RADII = np.array([200.0, 150.0]), np.array([90.0, 120.0])


@pytest.fixture
def mediapipe():
    """478 points: an ellipse around scattered points, eye corners 100 px apart."""
    points = np.random.default_rng(0).uniform(150, 250, (N_FRAMES, 478, 3))
    points[:, list(MEDIAPIPE.eye_corners), :2] = [[150, 120], [250, 120]]
    # The list of the outline starts at the forehead and goes down the subject's left side.
    angle = 2 * np.pi * np.arange(36) / 36
    circle = np.stack([np.sin(angle), -np.cos(angle)], 1)
    points[:, list(MEDIAPIPE.outline), :2] = OVAL_CENTER + OVAL_RADII * circle
    return points.astype(np.float32)


def classic_of(mediapipe):
    points = mediapipe[:, list(JAW_17 + STATIC_51)].copy()
    points[..., 2] = 0
    return points


def save(path, points, valid=None, size=SIZE):
    valid = np.ones(len(points), bool) if valid is None else valid
    arrays = {
        "points": np.where(valid[:, None, None], points, 0).astype(np.float32),
        "confidence": valid.astype(np.float32),
        "valid": valid,
        "image_size": np.array(size, np.int32),
    }
    write_artifact(path, LANDMARKS, arrays, {"step": "test"})
    return path


@pytest.fixture
def run(tmp_path):
    def run(first, second, **options):
        out, markdown = tmp_path / "agree.h5", tmp_path / "agree.md"
        agree.main(agree.Options(first, second, out, markdown, **options))
        return read_artifact(out, AGREE), markdown.read_text()

    return run


def test_the_same_points_agree_in_any_order_and_size(mediapipe, run, tmp_path):
    classic = classic_of(mediapipe)
    first = save(tmp_path / "a.h5", mediapipe)
    second = save(tmp_path / "b.h5", classic)
    larger = classic.copy()
    larger[..., :2] = resize_points(classic[..., :2], SIZE, (800, 600))
    large = save(tmp_path / "c.h5", larger, size=(800, 600))
    for pair in (
        (first, second),
        (second, first),
        (first, large),
        (second, second),
        (first, first),
    ):
        found, text = run(*pair)
        assert found["difference"].max() < 1e-4
        assert not found["differs"].any()
        assert "The two agree: in none of 12 frames" in text


def test_a_shift_is_measured_in_eye_distances_in_its_region_and_frame(mediapipe, run, tmp_path):
    classic = classic_of(mediapipe)
    classic[4, REGIONS["mouth"], :2] += [6.0, 8.0]
    classic[7, REGIONS["nose"], :2] += [0.0, 4.0]
    found, text = run(save(tmp_path / "a.h5", mediapipe), save(tmp_path / "b.h5", classic))
    expected = np.zeros((N_FRAMES, 5))
    expected[4, list(REGIONS).index("mouth")] = 0.10
    expected[7, list(REGIONS).index("nose")] = 0.04
    np.testing.assert_allclose(found["difference"], expected, atol=1e-3)
    np.testing.assert_array_equal(found["differs"], expected > 0.05)
    assert "in 1 of 12 frames, most often at the mouth (1 of them)" in text
    assert text.index("|       4 |") < text.index("|       7 |")
    assert run(tmp_path / "a.h5", tmp_path / "b.h5", threshold=0.03)[0]["differs"].sum() == 2


def test_jaw_points_may_slide_but_not_leave_the_outline(mediapipe, run, tmp_path):
    first = save(tmp_path / "a.h5", mediapipe)
    classic = classic_of(mediapipe)
    angle = np.linspace(0.02, np.pi - 0.1, 17)
    along = np.stack([-np.cos(angle), np.sin(angle)], 1)
    for factor, low, high in ((1.0, 0, 0.005), (1.1, 0.08, 0.13)):
        classic[:, :17, :2] = OVAL_CENTER + factor * OVAL_RADII * along
        found, _ = run(first, save(tmp_path / "b.h5", classic))
        jaw = found["difference"][:, 0]
        assert low <= jaw.min()
        assert jaw.max() <= high


def test_jaws_of_two_classic_sets_may_begin_elsewhere(mediapipe, run, tmp_path):
    first, second = classic_of(mediapipe), classic_of(mediapipe)
    height = np.linspace(0, 100, 17)
    first[:, :17, :2] = np.stack([np.full(17, 60.0), height], 1)
    second[:, :17, :2] = np.stack([np.full(17, 63.0), height + 40], 1)
    found, _ = run(save(tmp_path / "a.h5", first), save(tmp_path / "b.h5", second))
    np.testing.assert_allclose(found["difference"][:, 0], 0.03, atol=1e-4)


def test_frames_that_only_one_finds_are_named(mediapipe, run, tmp_path):
    valid = np.ones((2, N_FRAMES), bool)
    valid[0, 3:6] = False
    valid[1, [5, 9]] = False
    first = save(tmp_path / "a.h5", mediapipe, valid[0])
    second = save(tmp_path / "b.h5", classic_of(mediapipe), valid[1])
    found, text = run(first, second)
    np.testing.assert_array_equal(found["valid"], valid.all(0))
    np.testing.assert_array_equal(found["found"], valid.T)
    assert not found["difference"][~valid.all(0)].any()
    assert "in 1 more only the first (MediaPipe) finds the face" in text
    assert "in 2 more only the second (classic 68) finds the face" in text
    assert "No face for the first in frames 3 to 5." in text
    assert "No face for the second in frames 5, 9." in text


def test_nothing_in_common_is_a_result(mediapipe, run, tmp_path):
    nothing = np.zeros(N_FRAMES, bool)
    first = save(tmp_path / "a.h5", mediapipe)
    found, text = run(first, save(tmp_path / "b.h5", classic_of(mediapipe), nothing))
    assert not found["valid"].any()
    assert "There is no frame in which both find a face; in 12 more only the first" in text
    assert conclude(found) in text


@pytest.mark.parametrize(
    ("frames", "size", "words"),
    [(10, SIZE, "10 frames of 400x300 px"), (12, (300, 300), "12 frames of 300x300 px")],
)
def test_landmarks_of_other_frames_are_refused(mediapipe, run, tmp_path, frames, size, words):
    first = save(tmp_path / "a.h5", mediapipe)
    second = save(tmp_path / "b.h5", classic_of(mediapipe)[:frames], size=size)
    with pytest.raises(InputError, match=words + ".*give landmarks of the same frames"):
        run(first, second)


def test_an_unknown_set_is_refused(mediapipe, run, tmp_path):
    first = save(tmp_path / "a.h5", mediapipe)
    with pytest.raises(InputError, match=r"b\.h5: has 98 landmarks"):
        run(first, save(tmp_path / "b.h5", mediapipe[:, :98]))


def test_distance_to_a_line_with_a_corner():
    corners = np.array([[[0.0, 0], [10, 0], [10, 10]]])
    points = np.array([[[5.0, 2], [13, 5], [-3, -4], [10, 10]]])
    np.testing.assert_allclose(distance_to_line(points, corners), [[2, 3, 5, 0]])


def test_frames_in_words():
    assert describe_frames(np.array([4])) == "frame 4"
    assert describe_frames(np.array([1, 2, 3, 7, 9, 10])) == "frames 1 to 3, 7, 9 to 10"
