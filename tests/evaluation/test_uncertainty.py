import numpy as np
import pytest

from benchmarks.interval_coverage import coverage, process
from evaluation.metrics.uncertainty import (
    block_length,
    bootstrap_frames,
    bootstrap_subjects,
    independent_frames,
)


def test_interval_of_independent_values_matches_the_normal_one():
    values = np.random.default_rng(0).normal(3, 2, 400)
    half = 1.96 * values.std() / 20
    for interval in (bootstrap_subjects(values), bootstrap_frames(values)):
        assert interval.mean == pytest.approx(values.mean())
        assert interval.high - interval.low == pytest.approx(2 * half, rel=0.25)
        assert interval.low < values.mean() < interval.high


def test_blocks_widen_the_interval_of_values_that_resemble_their_neighbours():
    slow = np.repeat(np.random.default_rng(0).normal(0, 1, 20), 20)
    blocks, plain = bootstrap_frames(slow), bootstrap_subjects(slow)
    assert block_length(400) == 20
    assert blocks.high - blocks.low > 2.5 * (plain.high - plain.low)


def test_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(7)
    trials = 60
    covered = 0
    for trial in range(trials):
        interval = bootstrap_subjects(generator.normal(1, 1, 60), seed=trial)
        covered += interval.low <= 1 <= interval.high
    assert 0.85 <= covered / trials <= 1


@pytest.mark.parametrize(
    ("frames", "autocorrelation", "least"),
    [(20, 0.0, 0.9), (20, 0.5, 0.85), (50, 0.8, 0.85), (300, 0.95, 0.85), (1000, 0.5, 0.9)],
)
def test_the_interval_of_frames_that_resemble_each_other_covers_the_truth(
    frames, autocorrelation, least
):
    draws = process(np.random.default_rng(3), 100, frames, autocorrelation)
    found = coverage(draws, bootstrap_frames)
    assert found["coverage"] >= least
    assert found["share_with_interval"] > 0.8


@pytest.mark.parametrize("subjects", [3, 6])
def test_the_interval_of_few_subjects_covers_the_truth(subjects):
    draws = np.random.default_rng(3).standard_normal((200, subjects))
    assert coverage(draws, bootstrap_subjects)["coverage"] >= 0.9


def test_frames_that_repeat_each_other_count_less():
    draws = process(np.random.default_rng(5), 20, 2000, 0.8)
    assert np.mean([independent_frames(values) for values in draws]) == pytest.approx(
        2000 / 9, rel=0.1
    )
    chance = process(np.random.default_rng(5), 20, 2000, 0.0)
    assert np.mean([independent_frames(values) for values in chance]) > 1800


def test_the_seed_decides():
    values = np.random.default_rng(0).random(50)
    assert bootstrap_frames(values, seed=3) == bootstrap_frames(values, seed=3)
    assert bootstrap_frames(values, seed=3) != bootstrap_frames(values, seed=4)


@pytest.mark.parametrize(
    "values", [[2.0], np.random.default_rng(0).random(19), np.arange(25.0)], ids=["1", "19", "line"]
)
def test_too_few_frames_have_no_interval(values):
    """One frame, few frames, and frames that only drift: as one long movement they say nothing of the next."""
    interval = bootstrap_frames(np.asarray(values))
    assert interval.mean == np.mean(values)
    assert not interval.is_known
    assert not interval.excludes_zero


def test_equal_frames_have_an_interval_without_width():
    interval = bootstrap_frames(np.full(30, 0.7))
    assert (interval.low, interval.high) == pytest.approx((0.7, 0.7))


def test_two_subjects_have_no_interval():
    few = bootstrap_subjects(np.array([1.0, 2.0]))
    assert few.mean == 1.5
    assert not few.is_known
