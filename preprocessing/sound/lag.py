"""The lag between sound and mouth: how well the mouth opening follows from the sound heard some frames later or earlier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16
from scipy.ndimage import uniform_filter1d

from preprocessing.audio_feature_kinds import FeatureTrack, LogMel, resample_track

MAX_LAG = 15
# Regression from one frame's spectrum: a window of several frames would find the sound again at a wrong lag, which
# flattens the peak (three and five frames spread the lag of 5 s pieces of one clip from 0.2 to 3 frames).
BANDS = 20
RIDGE = 0.5
BLOCKS = 10
# Slow drifts of the opening (head pose, moods) and of the loudness have nothing to do with each other.
DRIFT_S = 2.0
# Series that move as the mouth does, but have nothing to do with the sound, tell what scores chance alone reaches.
CHANCE_SERIES = 99
RESAMPLINGS = 200
# A lag counts when at most one in twenty chance results scores as well ...
MIN_CONFIDENCE = 0.95
# ... and its score is at least this (0.56 in 20 s of a real speech; unrelated sound reaches 0.25 there).
MIN_SCORE = 0.3
MIN_SECONDS = 3.0


@dataclass(frozen=True)
class LagEstimate:
    """What the regression found.

    Attributes:
        lag: Candidate lags in frames; positive: the sound is late.
        score: Correlation of the opening with its prediction, for each lag.
        chance_score: Score that the best lag of only one in twenty chance results exceeds.
        confidence: Share of chance results that score less than the best lag found, 0..1.
        is_found: There is a lag that is better than chance, and it lies inside the range.
        lag_frames: The best lag, between frames too; 0 where not found.
        lag_std_frames: Its standard deviation (from quantiles) over resampled blocks of the clip; 0 where not found.
        predicted: Opening predicted from the sound at the best lag; 0 in frames that were not used.
        is_used: Frames that the regression was tested on.
    """

    lag: np.ndarray
    score: Float32[np.ndarray, " lag"]
    chance_score: float
    confidence: float
    is_found: bool
    lag_frames: float
    lag_std_frames: float
    predicted: Float32[np.ndarray, " frame"]
    is_used: Bool[np.ndarray, " frame"]


def estimate_lag(
    opening: Float64[np.ndarray, " frame"],
    valid: Bool[np.ndarray, " frame"],
    audio: Int16[np.ndarray, " sample"],
    rate_hz: int,
    frame_rate_hz: float,
) -> LagEstimate:
    """Lag of the sound behind the mouth, by cross-validated ridge regression at every candidate lag.

    For each lag the mouth opening of a frame is predicted from the mel spectrum of the sound that many frames later.
    The clip is cut into ten blocks, each predicted by a regression on the others; the score is the correlation of
    prediction and truth. All lags are tested on the same frames. The same with made-up openings of the
    same spectrum gives the scores of chance. Where the clip is too short, silent or the mouth does not move, nothing is found.

    Args:
        opening: Mouth opening of every frame.
        valid: Frames in which it is known.
        audio: Mono sound from the first frame on.
        rate_hz: Its rate.
        frame_rate_hz: Frames per second.

    Source: own.
    """
    n_frames = len(opening)
    lags = np.arange(-MAX_LAG, MAX_LAG + 1)
    keep = np.flatnonzero(valid)
    keep = keep[(keep >= MAX_LAG) & (keep < n_frames - MAX_LAG)]
    target = _without_drift(opening[:, None], valid, frame_rate_hz)[keep, 0]
    if len(keep) < MIN_SECONDS * frame_rate_hz or target.std() == 0 or not audio.any():
        return _nothing_found(lags, n_frames)
    spectrum = _spectrum(audio, rate_hz, n_frames, frame_rate_hz)
    spectrum = _without_drift(spectrum, np.ones(n_frames, dtype=bool), frame_rate_hz)
    targets = _with_chance(target)
    own_predictions, block_sums = [], []
    for lag in lags:  # one lag's predictions at a time: those of a long clip are large
        prediction = _predict(spectrum[keep + lag], targets)
        own_predictions.append(prediction[:, 0].copy())  # a view would keep all of them
        block_sums.append(_block_sums(prediction, targets))
    sums = np.stack(block_sums)
    scores = _correlation(sums.sum(axis=1))
    own, chance = scores[:, 0], scores[:, 1:].max(axis=0)
    best = int(own.argmax())
    confidence = float(np.mean(chance < own[best]))
    inside = 0 < best < len(lags) - 1
    is_found = bool(confidence >= MIN_CONFIDENCE and own[best] >= MIN_SCORE and inside)
    predicted, is_used = np.zeros(n_frames, np.float32), np.zeros(n_frames, dtype=bool)
    predicted[keep] = own_predictions[best] + (opening[keep] - target)
    is_used[keep] = True
    return LagEstimate(
        lag=lags,
        score=own.astype(np.float32),
        chance_score=float(np.quantile(chance, MIN_CONFIDENCE)),
        confidence=confidence,
        is_found=is_found,
        lag_frames=float(peak_of(own) - MAX_LAG) if is_found else 0.0,
        lag_std_frames=_peak_deviation(sums[..., 0]) if is_found else 0.0,
        predicted=predicted,
        is_used=is_used,
    )


def _nothing_found(lags: np.ndarray, n_frames: int) -> LagEstimate:
    return LagEstimate(
        lag=lags,
        score=np.zeros(len(lags), np.float32),
        chance_score=0.0,
        confidence=0.0,
        is_found=False,
        lag_frames=0.0,
        lag_std_frames=0.0,
        predicted=np.zeros(n_frames, np.float32),
        is_used=np.zeros(n_frames, dtype=bool),
    )


def _spectrum(
    audio: Int16[np.ndarray, " sample"], rate_hz: int, n_frames: int, frame_rate_hz: float
) -> Float64[np.ndarray, "frame band"]:
    """Mel spectrum at every frame, neighbouring bands averaged."""
    track = LogMel().extract(audio, rate_hz)
    bands = track.values.reshape(len(track.values), BANDS, -1).mean(axis=2)
    coarse = FeatureTrack(bands, track.rate_hz, track.start_s)
    return resample_track(coarse, np.arange(n_frames) / frame_rate_hz, frame_rate_hz).astype(float)


def _without_drift(
    series: Float64[np.ndarray, "frame band"],
    valid: Bool[np.ndarray, " frame"],
    frame_rate_hz: float,
) -> Float64[np.ndarray, "frame band"]:
    """Each series minus its mean over two seconds of valid frames around; 0 where not valid."""
    length = int(DRIFT_S * frame_rate_hz) | 1
    weight = valid[:, None].astype(float)
    mean = uniform_filter1d(series * weight, length, axis=0, mode="nearest")
    share = uniform_filter1d(weight, length, axis=0, mode="nearest")
    # At least one valid frame lies in the mean of a valid frame.
    return (series - mean / np.maximum(share, 0.5 / length)) * weight


def _with_chance(
    target: Float64[np.ndarray, " frame"],
) -> Float64[np.ndarray, "frame series"]:
    """The target, then series with the same spectrum and random phases.

    Source: surrogate data of Theiler et al., Testing for nonlinearity in time series (Physica D 58, 1992), algorithm I.
    """
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(target)
    phase = rng.uniform(0, 2 * np.pi, (CHANCE_SERIES, len(spectrum)))
    phase[:, 0] = 0  # the mean stays
    chance = np.fft.irfft(np.abs(spectrum) * np.exp(1j * phase), len(target))
    return np.concatenate([target[None], chance]).T.copy()


def _block_of(n_frames: int) -> np.ndarray:
    return np.arange(n_frames) * BLOCKS // n_frames


def _predict(
    features: Float64[np.ndarray, "frame band"], targets: Float64[np.ndarray, "frame series"]
) -> Float64[np.ndarray, "frame series"]:
    """Every target predicted from the features of its frame, by ridge regression on the other blocks."""
    spread = features.std(axis=0)
    features = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    blocks = _block_of(len(features))
    result = np.empty_like(targets)
    for block in range(BLOCKS):
        others = blocks != block
        given, wanted = features[others], targets[others]
        mean = wanted.mean(axis=0)
        gram = given.T @ given + RIDGE * len(given) * np.eye(features.shape[1])
        weights = np.linalg.solve(gram, given.T @ (wanted - mean))
        result[~others] = features[~others] @ weights + mean
    return result


def _block_sums(
    prediction: Float64[np.ndarray, "frame series"], target: Float64[np.ndarray, "frame series"]
) -> Float64[np.ndarray, "block 6 series"]:
    """Per block the sums of 1, p, t, p², t², p t: what a correlation over any set of blocks is made of."""
    starts = np.flatnonzero(np.diff(_block_of(len(target)), prepend=-1))
    terms = (np.ones_like(prediction), prediction, target)
    terms += (prediction**2, target**2, prediction * target)
    return np.stack([np.add.reduceat(term, starts, axis=0) for term in terms], axis=1)


def _correlation(
    sums: Float64[np.ndarray, "*rest 6 series"],
) -> Float64[np.ndarray, "*rest series"]:
    n, p, t, pp, tt, pt = np.moveaxis(sums, -2, 0)
    spread = np.maximum((n * pp - p**2) * (n * tt - t**2), 0.0)
    return np.divide(n * pt - p * t, np.sqrt(spread), out=np.zeros_like(pt), where=spread > 0)


def peak_of(score: Float64[np.ndarray, " lag"]) -> float:
    """Place of the greatest score, between the samples: the top of a parabola through it and its neighbours."""
    best = int(score.argmax())
    if not 0 < best < len(score) - 1:
        return float(best)
    before, top, after = score[best - 1 : best + 2]
    bend = before - 2 * top + after
    return float(best + (0.5 * (before - after) / bend if bend < 0 else 0.0))


def _peak_deviation(sums: Float64[np.ndarray, "lag block 6"]) -> float:
    """Deviation of the peak when blocks are drawn with replacement (bootstrap): half the central 68 %.

    A few draws of a short clip peak somewhere else entirely; quantiles are not led astray by them.
    """
    rng = np.random.default_rng(0)
    draws = rng.integers(0, sums.shape[1], (RESAMPLINGS, sums.shape[1]))
    peaks = [peak_of(_correlation(sums[:, draw].sum(axis=1)[..., None])[:, 0]) for draw in draws]
    return float(np.diff(np.quantile(peaks, [0.16, 0.84]))[0] / 2)
