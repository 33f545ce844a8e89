"""Renders of a poor avatar may show no face at all; they are fitted, and every frame is marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy import make_toy_subject

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, LANDMARKS
from artifacts.store import read_artifact, write_artifact
from preprocessing.face_fit import Options, main

FRAMES = 3


@pytest.fixture
def faceless(tmp_path: Path) -> Path:
    """Landmarks in which no face was found."""
    arrays = {
        "points": np.zeros((FRAMES, 478, 3), np.float32),
        "confidence": np.zeros(FRAMES, np.float32),
        "valid": np.zeros(FRAMES, bool),
        "image_size": np.array([64, 64], np.int32),
    }
    write_artifact(tmp_path / "landmarks.h5", LANDMARKS, arrays, {})
    return tmp_path / "landmarks.h5"


def test_renders_without_a_face_are_marked(tmp_path: Path, faceless: Path):
    toy = make_toy_subject(tmp_path / "toy")
    main(Options(faceless, toy.head_model, tmp_path / "fit.h5", subject_fit=toy.face_fit))
    fit, subject = (read_artifact(path, FACE_FIT) for path in (tmp_path / "fit.h5", toy.face_fit))
    assert fit["valid"].shape == (FRAMES,)
    assert not fit["valid"].any()
    np.testing.assert_array_equal(fit["identity"], subject["identity"])
    np.testing.assert_array_equal(fit["world_from_head"][2], subject["world_from_head"][0])


def test_a_clip_without_a_face_is_refused(tmp_path: Path, faceless: Path):
    toy = make_toy_subject(tmp_path / "toy")
    with pytest.raises(InputError, match="no frame shows a face"):
        main(Options(faceless, toy.head_model, tmp_path / "fit.h5", frames=toy.frames))
