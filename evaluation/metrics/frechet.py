"""The Fréchet distance between two sets of features, on which FID rests."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Features = Float[np.ndarray, "_ feature"]


def frechet_distance(first: Features, second: Features) -> float:
    """Squared Fréchet distance of the Gaussians that fit two sets of features, at least two of each.

    |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^(1/2)), with covariances over n - 1. The trace of the root is computed as the sum
    of the singular values of A B^T, where C1 = A^T A and C2 = B^T B: exact also where there are fewer samples than
    features, and no root of a nearly singular matrix is taken.

    Raises:
        ValueError: a set has fewer than two rows.

    Source: Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter 2017, eq. 6; the singular values own.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError("a covariance needs two samples")
    means, roots, traces = [], [], []
    for features in (first.astype(np.float64), second.astype(np.float64)):
        mean = features.mean(0)
        root = (features - mean) / (len(features) - 1) ** 0.5
        if len(root) > root.shape[1]:
            # The same covariance from fewer rows.
            root = np.asarray(np.linalg.qr(root, mode="r"))
        means.append(mean)
        roots.append(root)
        traces.append((root**2).sum())
    shared = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    distance = ((means[0] - means[1]) ** 2).sum() + traces[0] + traces[1] - 2 * shared
    # Rounding must not make a distance of equal sets negative.
    return max(0.0, float(distance))
