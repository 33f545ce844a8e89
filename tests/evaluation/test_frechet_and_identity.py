import numpy as np
import pytest
from scipy.linalg import sqrtm

from evaluation.metrics.frechet import fit_gaussian, frechet_distance
from evaluation.metrics.identity import cosine, identity_drift, mean_direction


def distance(first, second):
    return frechet_distance(fit_gaussian(first), fit_gaussian(second))


def by_the_book(first, second):
    """The formula as published, with the root of a matrix."""
    root = sqrtm(np.cov(first.T) @ np.cov(second.T)).real
    means = ((first.mean(0) - second.mean(0)) ** 2).sum()
    return means + np.trace(np.cov(first.T) + np.cov(second.T) - 2 * root)


@pytest.mark.parametrize(("n_first", "n_second"), [(40, 70), (6, 50), (5, 7)])
def test_frechet_distance_is_the_published_formula(n_first, n_second):
    generator = np.random.default_rng(0)
    mix = generator.standard_normal((12, 12))
    first = generator.standard_normal((n_first, 12)) @ mix
    second = generator.standard_normal((n_second, 12)) + 0.5
    # With fewer samples than features the published root of a singular matrix is less exact.
    expected = by_the_book(first, second)
    assert distance(first, second) == pytest.approx(expected, rel=1e-4)


def test_frechet_distance_of_a_shift_and_of_a_scale():
    features = np.random.default_rng(1).standard_normal((500, 8))
    assert distance(features, features) == pytest.approx(0, abs=1e-9)
    assert distance(features, features + 2.0) == pytest.approx(8 * 4)
    spread = np.trace(np.cov(features.T))
    assert distance(features, (features - features.mean(0)) * 3 + features.mean(0)) == (
        pytest.approx(4 * spread)
    )


def test_sets_fitted_one_after_the_other_are_one_set():
    features = np.random.default_rng(2).standard_normal((90, 8)) * np.arange(1, 9) + 50
    fit = None
    for part in np.split(features, [3, 4, 40]):
        fit = fit_gaussian(part, fit)
    whole = fit_gaussian(features)
    assert fit.n == 90
    assert fit.root.shape == (8, 8)
    np.testing.assert_allclose(fit.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(fit.root.T @ fit.root, whole.root.T @ whole.root, rtol=1e-9)
    assert frechet_distance(fit, whole) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="no features"):
        fit_gaussian(features[:0])


def test_one_sample_has_no_covariance():
    with pytest.raises(ValueError, match="two samples"):
        distance(np.zeros((1, 4)), np.zeros((5, 4)))


def test_cosine_and_mean_direction():
    first = np.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(cosine(first, first[::-1]), 0)
    np.testing.assert_allclose(cosine(first, first), 1)
    np.testing.assert_allclose(mean_direction(first), [2**-0.5, 2**-0.5])


def test_drift_is_the_turn_from_the_first_to_the_last_quarter():
    angle = np.repeat([0.0, 0.3, 0.6, 1.2], 5)
    embeddings = np.stack([np.cos(angle), np.sin(angle)], 1)
    valid = np.ones(20, bool)
    assert identity_drift(embeddings, valid) == pytest.approx(1 - np.cos(1.2))
    assert identity_drift(embeddings, valid & (np.arange(20) >= 5)) is None
    assert identity_drift(embeddings[:3], valid[:3]) is None
