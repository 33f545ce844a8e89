import numpy as np
import pytest

from artifacts.stretches import name_frames, runs


def marked(*frames, count=60):
    flags = np.zeros(count, bool)
    flags[list(frames)] = True
    return flags


def test_stretches_are_from_the_first_to_one_past_the_last():
    assert runs(marked(0, 1, 5, 58, 59)) == [(0, 2), (5, 6), (58, 60)]
    assert runs(marked()) == []
    assert runs(np.ones(3, bool)) == [(0, 3)]


@pytest.mark.parametrize(("frames", "words"), [
    ((), "no frame"), ((7,), "frame 7"), ((3, *range(40, 56)), "frames 3, 40 to 55"),
    (range(0, 18, 2), "frames 0, 2, 4, 6, 8, 10, 12, 14 and 1 more stretch"),
    (range(0, 20, 2), "frames 0, 2, 4, 6, 8, 10, 12, 14 and 2 more stretches"),
])  # fmt: skip
def test_frames_are_named(frames, words):
    assert name_frames(marked(*frames)) == words
