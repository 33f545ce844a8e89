"""Pictures and sound as driving signals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import toy_media
from toy import make_toy_subject

from artifacts.errors import InputError
from artifacts.kinds import AUDIO_FEATURES, FRAMES, MATTE
from artifacts.store import read_artifact, write_artifact
from avatar_models.dataset import DrivingClip
from avatar_models.driver_media import DriverMedia, DriverPictures, DriverSound, open_pictures
from avatar_models.driving import (
    cross_driving,
    orbit_driving,
    rest_pose,
    self_driving,
    sound_driving,
    there_and_back,
)
from avatar_models.driving_signals import PICTURE_SIDE, WINDOWS
from avatar_models.frame_images import FrameImages
from avatar_models.registry import driven_by, register

PROVENANCE = {"step": "tests", "options": {}}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return make_toy_subject(tmp_path_factory.mktemp("other"), n_frames=30, seed=5)


def clip_of(subject, signal) -> DrivingClip:
    clip = DrivingClip.load(subject.head_model, subject.face_fit, (64, 64))
    clip.media = toy_media(subject, signal)
    return clip


def over_white(toy, frame) -> np.ndarray:
    """The person over white at the size of the clip, 0..1."""
    image = read_artifact(toy.frames, FRAMES)["image"][frame] / 255
    alpha = read_artifact(toy.matte, MATTE)["alpha"][frame, ..., None] / 255
    return image * alpha + 1 - alpha


def small(picture) -> np.ndarray:
    """A picture of 256 px at 64 px."""
    return picture.numpy().reshape(64, 4, 64, 4, 3).mean((1, 3))


def test_a_picture_is_the_person_over_white(toy):
    picture = open_pictures(toy.frames, toy.matte).picture(5)
    assert picture.shape == (PICTURE_SIDE, PICTURE_SIDE, 3)
    # Four times larger by interpolation: the mean of a pixel is nearly that pixel.
    assert np.abs(small(picture) - over_white(toy, 5)).mean() < 0.01
    assert (picture[:8, :8] == 1).all()


def test_a_larger_frame_is_averaged_after_it_is_laid_over_white(tmp_path):
    """In closed form: the mean of every two by two pixels."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 512, 512, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (1, 512, 512), dtype=np.uint8)
    toy = make_toy_subject(tmp_path, n_frames=1)
    frames = read_artifact(toy.frames, FRAMES) | {"image": image}
    write_artifact(toy.frames, FRAMES, frames, PROVENANCE)
    write_artifact(toy.matte, MATTE, {"alpha": alpha}, PROVENANCE)
    share = alpha[0, ..., None] / 255
    expected = (image[0] * share / 255 + 1 - share).reshape(256, 2, 256, 2, 3).mean((1, 3))
    picture = open_pictures(toy.frames, toy.matte).picture(0)
    np.testing.assert_allclose(picture.numpy(), expected, atol=0.51 / 255)


def test_memory_for_pictures_stays_bounded(toy):
    images = FrameImages(toy.frames, FRAMES, "image"), FrameImages(toy.matte, MATTE, "alpha")
    size = PICTURE_SIDE**2 * 3
    bounded, whole = DriverPictures(*images, cache_bytes=3 * size), DriverPictures(*images)
    for frame in [*range(8), *range(8)]:
        assert torch.equal(bounded.picture(frame), whole.picture(frame))
        assert bounded._cache.used_bytes <= 3 * size
    assert len(whole._cache) == 8


def test_training_sees_pictures_of_training_frames_alone(toy_data):
    toy_data.drive_by("picture")
    assert toy_data.driving(3).picture is not None
    assert toy_data.driving(3).sound is None
    for give in (toy_data.driving, toy_data.clip.driving):
        with pytest.raises(KeyError, match="frame 16 is not a training frame"):
            give(16)
    # What the fit says of held-out frames is no pixel.
    assert toy_data.clip.tracked(16).picture is None


def test_windows_are_those_of_four_frames_before_to_three_after(toy):
    stored = read_artifact(toy.audio_features, AUDIO_FEATURES)["feature"]
    sound = DriverSound.load(toy.audio_features)
    assert sound.windows(9).shape == (WINDOWS, 16, 29)
    np.testing.assert_array_equal(sound.windows(9), stored[5:13])
    # The ends are repeated.
    np.testing.assert_array_equal(sound.windows(1), stored[[0, 0, 0, 0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(sound.windows(18), stored[[14, 15, 16, 17, 18, 19, 19, 19]])


def test_training_hears_the_subject(toy, toy_data):
    toy_data.drive_by("sound", toy.audio_features)
    driving = toy_data.driving(18)
    assert driving.picture is None
    assert torch.equal(driving.sound, DriverSound.load(toy.audio_features).windows(18))


def test_models_driven_by_expression_get_neither(toy, toy_data):
    toy_data.drive_by("expression", toy.audio_features)
    assert toy_data.driving(3).picture is None
    assert toy_data.driving(3).sound is None


@pytest.mark.parametrize("signal", ["picture", "sound"])
def test_each_mode_has_the_signal_of_who_drives(toy, other, signal):
    subject, driver = clip_of(toy, signal), clip_of(other, signal)

    def of(driving):
        return getattr(driving, signal)

    (own,) = self_driving(subject, np.array([17]))
    assert torch.equal(of(own), of(subject.driving(17)))
    rest = rest_pose(subject).frame
    for turned in orbit_driving(subject, 3):
        assert torch.equal(of(turned), of(subject.driving(rest)))
    (crossed,) = cross_driving(subject, driver, np.array([25]))
    assert torch.equal(of(crossed), of(driver.driving(25)))
    assert crossed.frame == 25


def test_there_and_back():
    assert there_and_back(4, 10).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert there_and_back(5, 3).tolist() == [0, 1, 2]
    assert there_and_back(1, 3).tolist() == [0, 0, 0]
    assert there_and_back(2, 4).tolist() == [0, 1, 0, 1]


def test_a_sound_moves_the_face_and_the_clip_moves_the_head(toy, other):
    subject = clip_of(toy, "expression")
    sound = DriverMedia(sound=DriverSound.load(other.audio_features))
    signals = list(sound_driving(subject, sound, 30))
    assert [driving.frame for driving in signals] == list(range(30))
    rest = rest_pose(subject)
    for index, driving in enumerate(signals):
        own = subject.driving(int(there_and_back(20, 30)[index]))
        assert torch.equal(driving.sound, sound.sound.windows(index))
        assert torch.equal(driving.camera_from_head, own.camera_from_head)
        assert torch.equal(driving.torso_from_reference, own.torso_from_reference)
        # Neck and eyes move, the face does not.
        assert torch.equal(driving.code[5:], own.code[5:])
        assert torch.equal(driving.code[:5], rest.expression)


def test_a_sound_leaves_a_jaw_joint_at_rest(toy, other):
    subject = clip_of(toy, "expression")
    subject.head_model = replace(subject.head_model, joint_name=("neck", "jaw", "a", "b"))
    sound = DriverMedia(sound=DriverSound.load(other.audio_features))
    for driving in sound_driving(subject, sound, 3):
        torch.testing.assert_close(driving.code[8:11], rest_pose(subject).joint_rotation[1])


# --- bad input ----------------------------------------------------------------------------------


def test_a_recording_has_no_pictures(toy, tmp_path):
    frames = read_artifact(toy.frames, FRAMES)
    frames["image"] = np.zeros((20, 0, 0, 3), np.uint8)
    write_artifact(tmp_path / "frames.h5", FRAMES, frames, PROVENANCE)
    with pytest.raises(InputError, match=r"frames.h5: holds no pictures .*; give a filmed clip"):
        open_pictures(tmp_path / "frames.h5", toy.matte)


def test_frames_and_matte_of_two_clips_are_refused(toy, other):
    with pytest.raises(InputError, match=r"30 frames of 64x64 px, but .* has 20 frames of 64x64"):
        open_pictures(toy.frames, other.matte)


def test_a_clip_without_sound_neither_trains_nor_drives(toy, toy_data, tmp_path):
    arrays = {"feature": np.zeros((20, 16, 80), np.float32), "valid": np.zeros(20, bool)}
    silent = tmp_path / "audio_features.h5"
    write_artifact(silent, AUDIO_FEATURES, arrays, PROVENANCE)
    with pytest.raises(InputError, match=r"audio_features.h5: the clip has no sound, so it can"):
        toy_data.drive_by("sound", silent)


def test_sound_of_another_clip_is_refused(other, toy_data):
    with pytest.raises(
        InputError, match=r"frames.h5: 20 frames, but the driver's audio features have 30; give"
    ):
        toy_data.drive_by("sound", other.audio_features)


def test_a_model_says_what_it_is_driven_by():
    assert driven_by("nearest_frame") == "expression"
    with pytest.raises(ValueError, match="'smeller' is driven by 'smell'"):
        register("smeller")(type("Smeller", (), {"driven_by": "smell"}))
    with pytest.raises(InputError, match="unknown model 'smeller'"):
        driven_by("smeller")
