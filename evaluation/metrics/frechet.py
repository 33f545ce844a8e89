"""The Fréchet distance between two sets of features, on which FID rests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Features = Float[np.ndarray, "_ feature"]


@dataclass(frozen=True)
class GaussianFit:
    """The Gaussian that fits a set of features, without the features: sets of any size fit one after the other.

    Attributes:
        n: Size of the set.
        mean: Of its rows.
        root: R^T R is the scatter of the rows about their mean, n - 1 times their covariance; at most as many rows as features.
    """

    n: int
    mean: Float[np.ndarray, " feature"]
    root: Float[np.ndarray, "_ feature"]


def fit_gaussian(features: Features, before: GaussianFit | None = None) -> GaussianFit:
    """Fit a set of features, together with those that are fitted already.

    Raises:
        ValueError: the set is empty.

    Source: Chan, Golub and LeVeque 1979 (means and scatters of joined sets); by QR instead of sums of squares, own.
    """
    if len(features) == 0:
        raise ValueError("no features to fit")
    n, mean = len(features), features.mean(0, dtype=np.float64)
    root = features.astype(np.float64) - mean
    if before is not None:
        step = mean - before.mean
        between = (before.n * n / (before.n + n)) ** 0.5 * step
        root = np.concatenate([before.root, root, between[None]])
        mean = before.mean + step * (n / (before.n + n))
        n += before.n
    if len(root) > root.shape[1]:
        # The same scatter from fewer rows.
        root = np.asarray(np.linalg.qr(root, mode="r"))
    return GaussianFit(n, mean, root)


def frechet_distance(first: GaussianFit, second: GaussianFit) -> float:
    """Squared Fréchet distance of the Gaussians that fit two sets of features, at least two of each.

    |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^(1/2)), with covariances over n - 1. The trace of the root is computed as the sum
    of the singular values of A B^T, where C1 = A^T A and C2 = B^T B: exact also where there are fewer samples than
    features, and no root of a nearly singular matrix is taken.

    Raises:
        ValueError: a set has fewer than two rows.

    Source: Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter 2017, eq. 6; the singular values own.
    """
    if min(first.n, second.n) < 2:
        raise ValueError("a covariance needs two samples")
    one, other = (fit.root / (fit.n - 1) ** 0.5 for fit in (first, second))
    shared = np.linalg.svd(one @ other.T, compute_uv=False).sum()
    traces = (one**2).sum() + (other**2).sum()
    distance = ((first.mean - second.mean) ** 2).sum() + traces - 2 * shared
    # Rounding must not make a distance of equal sets negative.
    return max(0.0, float(distance))
