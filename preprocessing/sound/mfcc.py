"""Mel-frequency cepstral coefficients as the field feeds them to DeepSpeech."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int16
from scipy.fft import dct

from preprocessing.audio_feature_kinds import hertz_to_mel, mel_to_hertz

COEFFICIENTS = 26
FILTERS = 26
N_FFT = 512
WINDOW_S, STEP_S = 0.025, 0.01
PREEMPHASIS = 0.97
LIFTER = 22
PIECE_FRAMES = 4096


def mel_bin_filters(rate_hz: int) -> Float64[np.ndarray, "bin filter"]:
    """Triangular filters whose corners are rounded down to bins of the Fourier transform."""
    corners_mel = np.linspace(0.0, hertz_to_mel(np.array([rate_hz / 2]))[0], FILTERS + 2)
    corners = np.floor((N_FFT + 1) * mel_to_hertz(corners_mel) / rate_hz)
    bins = np.arange(N_FFT // 2 + 1)[:, None]
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]
    # At low rates neighbouring corners may fall on one bin: that side of the triangle has no bins.
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = (bins - left) / (peak - left), (right - bins) / (right - peak)
    return np.where(
        (bins >= left) & (bins < peak),
        rising,
        np.where((bins >= peak) & (bins < right), falling, 0.0),
    )


def speech_mfcc(
    audio: Int16[np.ndarray, " sample"], rate_hz: int, every: int = 1
) -> Float64[np.ndarray, "step 26"]:
    """26 coefficients of windows of 25 ms every 10 ms; the first one is the logarithm of the window's energy.

    The sound is continued with zeros to the end of the last window; a sound shorter than one window gives one step.

    Args:
        audio: Mono sound; full scale is 32768.
        rate_hz: Its rate.
        every: Compute only every so-manieth window.

    Source: ``mfcc(audio, rate_hz, numcep=26)`` of python_speech_features 0.6, with which it agrees to 1e-9 (tested).
    """
    length, hop = round(WINDOW_S * rate_hz), round(STEP_S * rate_hz)
    n_windows = 1 + max(0, -(-(len(audio) - length) // hop))
    padded = np.zeros((n_windows - 1) * hop + length)
    signal = audio.astype(np.float64)
    padded[: len(signal)] = signal
    padded[1 : len(signal)] -= PREEMPHASIS * signal[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)[:: hop * every]
    filters = mel_bin_filters(rate_hz)
    lift = 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER)
    smallest = np.finfo(np.float64).eps
    result = np.empty((len(windows), COEFFICIENTS))
    for first in range(0, len(windows), PIECE_FRAMES):  # bounded memory, however long the sound
        part = slice(first, first + PIECE_FRAMES)
        power = np.abs(np.fft.rfft(windows[part], N_FFT)) ** 2 / N_FFT
        energy, bands = power.sum(axis=1), power @ filters
        logarithms = np.log(np.where(bands == 0, smallest, bands))
        cepstra = np.asarray(dct(logarithms, type=2, axis=1, norm="ortho"))
        result[part] = lift * cepstra[:, :COEFFICIENTS]
        result[part, 0] = np.log(np.where(energy == 0, smallest, energy))
    return result


def normalise_contexts(
    coefficients: Float64[np.ndarray, "step coefficient"], context: int
) -> Float64[np.ndarray, "padded coefficient"]:
    """Coefficients with ``context`` empty steps before and after, brought to mean 0 and deviation 1.

    Mean and deviation are those of all windows of 2 * context + 1 steps together, empty steps included: one number
    each for the whole clip.

    Source: the input normalisation of VOCA and AD-NeRF (there computed on the stacked windows).
    """
    padded = np.pad(coefficients, ((context, context), (0, 0)))
    # A step counts as often as windows hold it.
    n_windows = len(coefficients)
    place = np.arange(len(padded))
    count = np.minimum(place, n_windows - 1) - np.maximum(place - 2 * context, 0) + 1.0
    weight = count / (count.sum() * coefficients.shape[1])
    mean = float(weight @ padded.sum(axis=1))
    variance = float(weight @ ((padded - mean) ** 2).sum(axis=1))
    return (padded - mean) / np.sqrt(variance)
