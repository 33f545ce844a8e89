"""The toy subject that the model tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from toy import ToySubject, make_toy_subject

from avatar_models.dataset import DrivingClip, SubjectData
from avatar_models.driver_media import NO_MEDIA, DriverMedia, DriverSound, open_pictures
from avatar_models.registry import driven_by


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> ToySubject:
    return make_toy_subject(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def toy_data(toy) -> SubjectData:
    return SubjectData.load(
        toy.frames, toy.matte, toy.head_model, toy.face_fit, "tail-20", (64, 64)
    )


@pytest.fixture
def toy_data_of(toy_data, toy) -> Callable[[str], SubjectData]:
    """The toy subject as a model sees it in training, with what drives that model."""

    def make(model: str) -> SubjectData:
        toy_data.drive_by(driven_by(model), toy.audio_features)
        return toy_data

    return make


def toy_media(toy: ToySubject, signal: str) -> DriverMedia:
    """Pictures or sound of all frames of a toy clip."""
    if signal == "picture":
        return DriverMedia(pictures=open_pictures(toy.frames, toy.matte))
    if signal == "sound":
        return DriverMedia(sound=DriverSound.load(toy.audio_features))
    return NO_MEDIA


@pytest.fixture
def toy_clip_of(toy) -> Callable[[str], DrivingClip]:
    """The toy subject as a driver of a model."""

    def make(model: str) -> DrivingClip:
        clip = DrivingClip.load(toy.head_model, toy.face_fit, (64, 64))
        clip.media = toy_media(toy, driven_by(model))
        return clip

    return make
