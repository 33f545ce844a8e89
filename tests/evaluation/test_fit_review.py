from dataclasses import replace

import numpy as np
import pytest
from fit_toy import N_FRAMES, add_photometry, change_fit, toy_options, toy_review, write_sync
from scipy.ndimage import gaussian_filter
from scored_toy import BY_TEST
from toy import make_toy_subject, with_classic_68

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES, LANDMARKS
from artifacts.store import read_artifact, write_artifact
from evaluation.face_openings import eye_opening, mouth_opening
from evaluation.fit_report import clip_facts
from evaluation.fit_review import (
    clip_values,
    count_blinks,
    light_change,
    measure,
    picture_values,
    worst_frames,
)
from evaluation.fit_verdict import CRITERIA


@pytest.fixture
def options(tmp_path):
    return toy_options(tmp_path / "ann")


@pytest.mark.parametrize(
    ("kind", "n_frames", "size", "sentence"),
    [
        (
            "landmarks",
            20,
            64,
            r"landmarks\.h5: has 20 frames, but .*frames\.h5 has 24; run landmarks",
        ),
        ("matte", 20, 64, r"matte\.h5: has 20 frames, but .*run matte again on this clip"),
        ("face_fit", 20, 64, r"face_fit\.h5: has 20 frames, but .*run face_fit again"),
        ("landmarks", 24, 48, r"landmarks\.h5: is of 48×48 px pictures, but .* has 64×64 px"),
        ("matte", 24, 48, r"matte\.h5: is of 48×48 px pictures"),
        ("face_fit", 24, 48, r"face_fit\.h5: is of 48×48 px pictures"),
    ],
)
def test_files_of_another_clip_are_refused(options, tmp_path, kind, n_frames, size, sentence):
    other = make_toy_subject(tmp_path / "other", n_frames, size)
    with pytest.raises(InputError, match=sentence):
        toy_review(replace(options, **{kind: getattr(other, kind)}))


def test_sync_and_light_of_another_clip_are_refused(options, tmp_path):
    sync = write_sync(tmp_path / "sync.h5", 0.0, n_frames=5)
    with pytest.raises(InputError, match=r"sync\.h5: has 5 frames, but .*run sync again"):
        toy_review(replace(options, sync=sync))
    change_fit(
        options.face_fit,
        light=np.zeros((7, 9, 3), np.float32),
        photometric_error=np.zeros(7, np.float32),
    )
    with pytest.raises(InputError, match=r"face_fit\.h5: has the light of 7 of 24 frames"):
        toy_review(options)


def test_a_fit_of_another_head_model_is_refused(options):
    fit = read_artifact(options.face_fit, FACE_FIT)
    change_fit(options.face_fit, joint_rotation=np.zeros((N_FRAMES, 5, 3), np.float32))
    with pytest.raises(InputError, match=r"5 joints and 6 identities, but the head model has 5, 4"):
        toy_review(options)
    write_artifact(
        options.face_fit, FACE_FIT, fit | {"expression": fit["expression"][:, :3]}, BY_TEST
    )
    with pytest.raises(InputError, match=r"3 expressions, .* but the head model has 5"):
        toy_review(options)


def test_landmarks_whose_mouth_is_not_known_are_refused(options):
    arrays = read_artifact(options.landmarks, LANDMARKS)
    arrays["points"] = np.ascontiguousarray(arrays["points"][:, :100])
    write_artifact(options.landmarks, LANDMARKS, arrays, BY_TEST)
    with pytest.raises(InputError, match=r"landmarks\.h5: has 100 landmarks, but only sets of"):
        toy_review(options)


def test_a_fit_of_other_landmarks_is_refused(options, tmp_path):
    subject = make_toy_subject(tmp_path / "whole", N_FRAMES, 64)
    other = with_classic_68(subject, tmp_path / "other")
    with pytest.raises(
        InputError, match=r"follows 478 landmarks, but .*landmarks68\.h5 has 68; run"
    ):
        toy_review(replace(options, landmarks=other.landmarks))


def test_the_classic_68_points_are_measured_as_well(tmp_path):
    subject = make_toy_subject(tmp_path / "whole", 12, 64)
    review = toy_review(with_classic_68(subject, tmp_path / "classic"))
    measures = measure(review)
    # The same inner lips and eye corners of the same detection; the toy's mesh has no place of its own for them.
    whole = measure(toy_review(subject))
    np.testing.assert_allclose(measures.mouth_detected, whole.mouth_detected, atol=1e-6)
    assert set(clip_values(review, measures)) >= {"mouth", "blinks", "face_size"}


def test_openings_are_shares_of_the_face():
    points = np.zeros((2, 478, 2))
    points[:, 263, 0] = 100  # outer corners 33 and 263
    points[:, 14, 1] = (0, 30)
    points[1, 145, 1], points[1, 374, 1] = 4, 6
    np.testing.assert_allclose(mouth_opening(points), [0, 0.3])
    np.testing.assert_allclose(eye_opening(points), [0, 0.05])
    sparse = np.zeros((1, 68, 2))
    sparse[:, 45, 0], sparse[:, 66, 1] = 50, 10
    np.testing.assert_allclose(mouth_opening(sparse), [0.2])


def test_angles_and_openings_of_the_toy_are_those_it_was_made_with(options):
    measures = measure(toy_review(options))
    fit = read_artifact(options.face_fit, FACE_FIT)
    facing = fit["world_from_head"][:, :3, 2]  # camera axes, since the camera is the world
    np.testing.assert_allclose(measures.yaw, np.degrees(np.arctan2(facing[:, 0], -facing[:, 2])))
    assert abs(measures.roll).max() < 4  # yaw after pitch leans a little
    np.testing.assert_allclose(measures.mouth_fitted, measures.mouth_detected, atol=0.03)
    opened = fit["expression"][:, 0]
    assert np.corrcoef(measures.mouth_fitted, opened)[0, 1] > 0.9


def test_roll_of_a_head_that_leans_to_the_pictures_left(options):
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pose = np.diag([1.0, -1, -1, 1]) @ turn
    pose[2, 3] = 0.6
    crown = pose @ [0, 1, 0, 0]
    assert crown[0] < 0  # left in the picture
    change_fit(options.face_fit, world_from_head=np.tile(pose, (N_FRAMES, 1, 1)))
    np.testing.assert_allclose(measure(toy_review(options)).roll, 20)


def test_blinks_are_counted_once_each_and_only_where_a_face_is_seen():
    opening = np.full(40, 0.3)
    opening[[5, 6, 7, 20, 30]] = 0.05
    seen = np.ones(40, bool)
    assert count_blinks(opening, seen) == 3
    seen[30] = False
    assert count_blinks(opening, seen) == 2


def test_light_that_doubles_is_told_and_a_flash_is_not():
    light = np.zeros((100, 9, 3), np.float32)
    light[:, 0] = 3
    assert light_change(light) == 0
    flash = light.copy()
    flash[50:53] *= 4
    assert light_change(flash) == 0
    cloud = light.copy()
    cloud[70:] *= 2
    assert light_change(cloud) == pytest.approx(1)
    # A lamp at the side changes one side only.
    lamp = light.copy()
    lamp[70:, 3] = 1
    assert light_change(lamp) > 0.2


def test_every_value_has_its_criterion_and_a_landmark_fit_lacks_what_it_does_not_know(options):
    review = toy_review(options)
    values = clip_values(review, measure(review))
    assert set(CRITERIA) - set(values) == {"outline", "photometric", "light"}
    add_photometry(options.face_fit)
    review = toy_review(options)
    values = clip_values(review, measure(review))
    assert set(values) == set(CRITERIA)
    assert values["tracked"] == pytest.approx(21 / 24)
    assert values["length"] == pytest.approx(24 / 25)
    assert values["light"] == 0
    assert values["outline"] == pytest.approx(0.96)


def test_frames_with_a_face_that_the_fit_did_not_believe_are_told(options):
    valid = read_artifact(options.face_fit, FACE_FIT)["valid"]
    assert not toy_review(options).doubted.any()
    valid[15:18] = False
    change_fit(options.face_fit, valid=valid)
    review = toy_review(options)
    assert np.flatnonzero(review.doubted).tolist() == [15, 16, 17]
    assert clip_values(review, measure(review))["unexplained"] == 3 / N_FRAMES
    facts = clip_facts(review)
    assert facts["not explained by the head"] == "frames 15 to 17"
    assert facts["filled in"] == "frames 3 to 4, 9, 15 to 17"


def test_a_clip_without_a_face_has_little_to_say(options):
    change_fit(options.face_fit, valid=np.zeros(N_FRAMES, bool))
    review = toy_review(options)
    assert set(clip_values(review, measure(review))) == {"tracked", "length"}
    assert worst_frames(review) == {}


def test_test_poses_that_were_never_shown_are_told(options):
    before = toy_review(options)
    fit = read_artifact(options.face_fit, FACE_FIT)
    turned = fit["world_from_head"].copy()
    angle = np.radians(60)
    spin = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    turned[before.test_start :, :3, :3] = spin @ turned[before.test_start :, :3, :3]
    change_fit(options.face_fit, world_from_head=turned)
    after = toy_review(options)
    near, far = (clip_values(review, measure(review))["unseen"] for review in (before, after))
    assert far > 30 > near + 20


def test_blur_and_overexposure_are_seen_in_the_pictures(tmp_path):
    subject = make_toy_subject(tmp_path, 10, size=128)
    before = picture_values(toy_review(subject))
    frames = read_artifact(subject.frames, FRAMES)
    sharp = frames["image"]
    frames["image"] = gaussian_filter(sharp, (0, 4, 4, 0))
    write_artifact(subject.frames, FRAMES, frames, BY_TEST)
    assert picture_values(toy_review(subject))["blur"] > before["blur"] + 0.1
    frames["image"] = np.full_like(sharp, 255)
    write_artifact(subject.frames, FRAMES, frames, BY_TEST)
    assert picture_values(toy_review(subject)) == {"blur": 1, "white": 1, "black": 0}
    assert before["white"] < 0.5


def test_the_worst_frames_are_apart_tracked_and_say_why(options):
    add_photometry(options.face_fit)
    nme = np.full(N_FRAMES, 0.005, np.float32)
    nme[[3, 14, 15]] = (0.5, 0.05, 0.04)
    change_fit(options.face_fit, nme=nme)
    worst = worst_frames(toy_review(options), count=2)
    frames = list(worst)
    assert frames[0] == 14
    assert worst[14] == "NME 0.0500\n10.0 times the median"
    assert frames[1] == 23
    assert worst[23].startswith("photometric 0.0300")
    # Frame 3 was filled in; 15 is within a third of a second of 14.
    assert not {3, 15} & set(worst_frames(toy_review(options)))
