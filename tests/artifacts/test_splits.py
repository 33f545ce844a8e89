"""Named splits: one name, one definition."""

from __future__ import annotations

import numpy as np
import pytest

from artifacts.errors import InputError
from artifacts.splits import split_frames, split_names

# name, frames of the clip, training frames
DEFINITIONS = [
    ("tail-20", 100, 80),
    ("tail-20", 5, 4),
    ("tail-20", 1003, 802),
    ("insta-350", 1000, 650),
    ("insta-100", 1000, 900),
    ("adnerf-10-1", 1100, 1000),
    ("monoavatar-tail", 1600, 1000),
    ("monoavatar-tail", 2000, 1500),
    ("nerface-1k", 1300, 1000),
]


@pytest.mark.parametrize(("name", "frames", "train_frames"), DEFINITIONS)
def test_definitions(name: str, frames: int, train_frames: int):
    train, test = split_frames(name, frames)
    np.testing.assert_array_equal(train, np.arange(train_frames))
    np.testing.assert_array_equal(test, np.arange(train_frames, frames))


def test_every_name_is_defined_here():
    assert {name for name, _, _ in DEFINITIONS} == set(split_names())


@pytest.mark.parametrize(
    ("name", "frames"), [("insta-350", 350), ("nerface-1k", 900), ("tail-20", 1)]
)
def test_a_clip_that_is_too_short_is_refused(name: str, frames: int):
    with pytest.raises(InputError) as raised:
        split_frames(name, frames)
    assert name in str(raised.value)
    assert str(frames) in str(raised.value)


def test_an_unknown_split_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="tail-20"):
        split_frames("tail-30", 100)
