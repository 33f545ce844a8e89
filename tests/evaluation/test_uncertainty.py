import numpy as np
import pytest

from evaluation.metrics.uncertainty import block_length, bootstrap_frames, bootstrap_subjects


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


def test_the_seed_decides_and_one_value_has_no_width():
    values = np.random.default_rng(0).random(50)
    assert bootstrap_frames(values, seed=3) == bootstrap_frames(values, seed=3)
    assert bootstrap_frames(values, seed=3) != bootstrap_frames(values, seed=4)
    single = bootstrap_frames(np.array([2.0]))
    assert (single.mean, single.low, single.high) == (2.0, 2.0, 2.0)


def test_few_subjects_have_no_interval():
    few = bootstrap_subjects(np.array([1.0, 2.0, 6.0]))
    assert few.mean == 3
    assert np.isnan([few.low, few.high]).all()
