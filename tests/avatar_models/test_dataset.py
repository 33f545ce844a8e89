"""What models see of a subject."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy import make_toy_subject

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES, LANDMARKS
from artifacts.store import read_artifact
from avatar_models.dataset import DrivingClip, SubjectData, resize_similarity


def load(toy, size=64, **options) -> SubjectData:
    clip = DrivingClip.load(toy.head_model, toy.face_fit, (size, size))
    return SubjectData(clip, toy.frames, toy.matte, "tail-20", **options)


def test_driving_signals_project_onto_the_landmarks(toy, toy_data):
    points = read_artifact(toy.landmarks, LANDMARKS)["points"][..., :2]
    for frame in range(0, 20, 5):
        found = toy_data.driving(frame).landmarks.numpy()
        # The toy's landmarks carry noise of 0.05 px.
        assert np.abs(found - points[frame]).mean() < 0.06


def test_driving_signals_are_those_of_the_fit(toy, toy_data):
    fit = read_artifact(toy.face_fit, FACE_FIT)
    driving = toy_data.driving(7)
    np.testing.assert_array_equal(
        driving.code, np.concatenate([fit["expression"][7], fit["joint_rotation"][7].ravel()])
    )
    torch.testing.assert_close(driving.displacement, driving.vertices - toy_data.neutral)
    np.testing.assert_allclose(driving.camera_from_head, fit["world_from_head"][7], atol=1e-7)
    assert driving.frame == 7


def test_held_out_pixels_cannot_be_read(toy_data):
    assert toy_data.train_frames.tolist() == list(range(16))
    assert toy_data.test_frames.tolist() == [16, 17, 18, 19]
    for read in (toy_data.image, toy_data.alpha, toy_data.head_region):
        with pytest.raises(KeyError, match="frame 16 is not a training frame"):
            read(16)


def test_frames_without_a_face_do_not_train(tmp_path):
    toy = make_toy_subject(tmp_path, invalid_frames=(0, 3))
    assert load(toy).train_frames.tolist() == [1, 2, *range(4, 16)]
    nobody = make_toy_subject(tmp_path / "nobody", invalid_frames=tuple(range(16)))
    with pytest.raises(InputError, match="face was found in none of the training frames"):
        load(nobody)


def test_images_and_cameras_shrink_together(toy):
    full, half = load(toy), load(toy, size=32)
    stored = read_artifact(toy.frames, FRAMES)["image"][5].astype(float) / 255
    np.testing.assert_allclose(full.image(5), stored, atol=1e-6)
    mean = stored.reshape(32, 2, 32, 2, 3).mean((1, 3))
    np.testing.assert_allclose(half.image(5), mean, atol=0.51 / 255)
    large, small = full.driving(5), half.driving(5)
    torch.testing.assert_close(small.landmarks, (large.landmarks + 0.5) / 2 - 0.5)
    # The similarity moves the same point of the torso.
    point = torch.tensor([30.0, 50.0, 1.0])
    moved = (large.torso_from_reference @ point)[:2]
    shrunk = torch.tensor([(30 + 0.5) / 2 - 0.5, (50 + 0.5) / 2 - 0.5, 1.0])
    torch.testing.assert_close(
        (small.torso_from_reference @ shrunk)[:2], (moved + 0.5) / 2 - 0.5, atol=1e-5, rtol=0
    )


def test_resizing_a_similarity_and_back_is_no_change():
    matrix = np.array([[0.9, -0.1, 3.0], [0.1, 0.9, -2.0], [0, 0, 1]])
    there = resize_similarity(matrix, (64, 48), (100, 75))
    np.testing.assert_allclose(resize_similarity(there, (100, 75), (64, 48)), matrix, atol=1e-12)


def test_head_region_and_matte_make_the_head(toy, toy_data):
    found = (toy_data.head_region(4) * toy_data.alpha(4)).numpy()
    # The toy draws the neck with the head; above the cut both agree.
    rows = slice(0, 40)
    assert np.abs(found[rows] - toy.head_alpha[4][rows]).mean() < 0.01
    assert found[60:].max() < 0.01


def test_memory_stays_bounded(toy):
    small = load(toy, cache_bytes=5 * 64 * 64 * 3)
    whole = load(toy)
    for frame in [*range(16), *range(16)]:
        assert torch.equal(small.image(frame), whole.image(frame))
        assert small._cache.used_bytes <= 5 * 64 * 64 * 3
    assert len(whole._cache) == 16


def test_files_of_different_clips_are_refused(toy, tmp_path):
    other = make_toy_subject(tmp_path, n_frames=12)
    with pytest.raises(InputError, match=r"12 frames, but the face fit has 20; run face_fit again"):
        SubjectData.load(other.frames, toy.matte, toy.head_model, toy.face_fit, "tail-20", (64, 64))
