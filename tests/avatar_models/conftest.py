"""The toy subject that the model tests share."""

from __future__ import annotations

import pytest
from toy import ToySubject, make_toy_subject

from avatar_models.dataset import SubjectData


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> ToySubject:
    return make_toy_subject(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def toy_data(toy) -> SubjectData:
    return SubjectData.load(
        toy.frames, toy.matte, toy.head_model, toy.face_fit, "tail-20", (64, 64)
    )
