"""Which frames a fit does not believe."""

import numpy as np
import pytest

from preprocessing.fitting.doubt import Doubt, find_doubtful

DOUBT = Doubt(ratio=3.0, least=0.025)


def errors(n=30, usual=0.01, **changed):
    error = np.full(n, usual)
    for place, value in changed.items():
        error[int(place[1:])] = value
    return error


@pytest.mark.parametrize(("usual", "high", "is_doubtful"), [
    (0.01, 0.031, True), (0.01, 0.029, False), (0.004, 0.024, False), (0.004, 0.026, True)
])  # fmt: skip
def test_a_doubtful_frame_is_far_above_the_median_and_above_what_good_clips_reach(
    usual, high, is_doubtful
):
    doubtful = find_doubtful(np.ones(30, bool), errors(usual=usual, f7=high), DOUBT)
    assert np.flatnonzero(doubtful).tolist() == ([7] if is_doubtful else [])


def test_frames_without_landmarks_neither_count_nor_are_doubtful():
    valid = np.ones(30, bool)
    valid[:20] = False
    error = errors(f25=0.05)
    error[:20] = 9.0
    assert np.flatnonzero(find_doubtful(valid, error, DOUBT)).tolist() == [25]
    assert not find_doubtful(np.zeros(30, bool), error, DOUBT).any()


def test_the_few_frames_between_doubtful_ones_are_doubtful():
    valid = np.ones(30, bool)
    near = find_doubtful(valid, errors(f10=0.1, f15=0.1), DOUBT)
    assert np.flatnonzero(near).tolist() == [10, 11, 12, 13, 14, 15]
    apart = find_doubtful(valid, errors(f10=0.1, f16=0.1), DOUBT)
    assert np.flatnonzero(apart).tolist() == [10, 16]
    # Beside lost frames too, but not between lost frames alone.
    valid[[4, 20, 23]] = False
    beside = find_doubtful(valid, errors(f7=0.1), DOUBT)
    assert np.flatnonzero(beside).tolist() == [5, 6, 7]
