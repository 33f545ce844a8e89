"""Confidence intervals of means: block bootstrap over the frames of a clip, plain bootstrap over subjects.

Both are percentile intervals, and too narrow where there are few independent values: drawn from 3 values, such an interval holds
the mean in 76 of 100 cases instead of 95, from 25 frames that follow each other closely (autocorrelation 0.8) in 60. So neither is
narrower than Student's interval of as many independent values (:func:`_widened`); how often the mean is in it then is measured by
``benchmarks/interval_coverage.py`` (docs/tables.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

RESAMPLES = 2000
LEVEL = 0.95
# Of fewer subjects there is no interval: that of two would be as wide as nothing said.
FEWEST_SUBJECTS = 3
# Of fewer frames there is none either, nor of frames so alike that they say less than so many independent ones.
FEWEST_FRAMES = 20
FEWEST_INDEPENDENT = 2.0


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval; the limits are nan where too few values say nothing of it."""

    mean: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """True where there are limits."""
        return not np.isnan(self.low)

    @property
    def excludes_zero(self) -> bool:
        """True where the mean is significantly not 0; False also where there are no limits."""
        return self.low > 0 or self.high < 0


def block_length(n: int) -> int:
    """Length of the blocks drawn from n frames: round(sqrt(n)), since neighbouring frames resemble each other."""
    return max(1, round(n**0.5))


def independent_frames(values: Float[np.ndarray, " frame"]) -> float:
    """How many independent values say as much about the mean as these frames, which resemble their neighbours.

    n (1 - a) / (1 + a) with the autocorrelation a of neighbours, as of a first-order autoregressive process, after the bias of its
    estimate from few frames. At least 5 frames.

    Source: Bayley and Hammersley 1946 (effective number); Marriott and Pope 1954 (bias).
    """
    n = len(values)
    if np.ptp(values) == 0:
        return float(n)
    centred = values.astype(np.float64) - values.astype(np.float64).mean()
    estimate = (centred[1:] * centred[:-1]).sum() / (centred**2).sum()
    autocorrelation = np.clip((estimate + 1 / n) / (1 - 4 / n), 0, 1)
    return float(n * (1 - autocorrelation) / (1 + autocorrelation))


def bootstrap_frames(values: Float[np.ndarray, " frame"], seed: int = 0) -> Interval:
    """Mean over frames with a 95 % interval from a circular block bootstrap (2000 resamples).

    Args:
        values: One number per frame, in the clip's order.
        seed: Seed of the resampling.

    Returns:
        Without limits for fewer than :data:`FEWEST_FRAMES` frames or :data:`FEWEST_INDEPENDENT` :func:`independent_frames`.

    Source: Politis and Romano 1992 (circular blocks); block length :func:`block_length` and the least width, own.
    """
    values = values.astype(np.float64)
    n, length = len(values), block_length(len(values))
    independent = independent_frames(values) if n >= FEWEST_FRAMES else 1.0
    if independent < FEWEST_INDEPENDENT:
        return Interval(float(values.mean()), np.nan, np.nan)
    # A resample is as many whole blocks as come closest to n frames; the mean of a block is a difference of sums.
    sums = np.cumsum(np.concatenate([[0.0], values, values[: length - 1]]))
    block_means = (sums[length:] - sums[:-length]) / length
    starts = np.random.default_rng(seed).integers(0, n, (RESAMPLES, max(1, round(n / length))))
    return _widened(values, block_means[starts].mean(1), independent)


def bootstrap_subjects(values: Float[np.ndarray, " subject"], seed: int = 0) -> Interval:
    """Mean over subjects with a 95 % interval from resampled subjects (2000 resamples).

    Returns:
        Without limits for fewer than :data:`FEWEST_SUBJECTS`.

    Source: Efron 1979; the least width, own.
    """
    values = values.astype(np.float64)
    if len(values) < FEWEST_SUBJECTS:
        return Interval(float(values.mean()), np.nan, np.nan)
    rows = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    return _widened(values, values[rows].mean(1), float(len(values)))


def _widened(
    values: Float[np.ndarray, " value"], means: Float[np.ndarray, " resample"], independent: float
) -> Interval:
    """The percentile interval of resampled means, both sides stretched so that it is at least as wide as Student's interval."""
    mean = values.mean()
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    error = values.std(ddof=1) / independent**0.5
    least = 2 * stats.t.ppf((1 + LEVEL) / 2, independent - 1) * error
    factor = max(1.0, least / (high - low)) if high > low else 1.0
    return Interval(
        float(mean), float(mean - factor * (mean - low)), float(mean + factor * (high - mean))
    )
