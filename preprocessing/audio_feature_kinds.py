"""Kinds of audio features: what each makes of sound, and how a track is cut into a window per video frame.

A new kind is a class with the members of :class:`AudioFeature`, entered in :data:`AUDIO_FEATURE_KINDS`. The kinds that
need a file beside the sound are in :mod:`preprocessing.sound`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int16

from artifacts.errors import InputError

WINDOW_FRAMES = 16
FULL_SCALE = 32768.0


@dataclass(frozen=True)
class FeatureTrack:
    """Feature vectors evenly spaced in time.

    Attributes:
        values: One vector per step; all zero means silence.
        rate_hz: Steps per second.
        start_s: Time of the centre of step 0, in seconds from the first sample.
    """

    values: Float32[np.ndarray, "step channel"]
    rate_hz: float
    start_s: float


@runtime_checkable
class AudioFeature(Protocol):
    """What every kind of audio feature has."""

    @property
    def channels(self) -> int:
        """Length of its vectors."""
        ...

    def extract(self, audio: Int16[np.ndarray, " sample"], rate_hz: int) -> FeatureTrack:
        """The features of mono sound; full scale is 32768."""
        ...


def hertz_to_mel(frequency_hz: Float64[np.ndarray, "*any"]) -> Float64[np.ndarray, "*any"]:
    """Mel scale (O'Shaughnessy 1987, eq. 4.2: 2595 log10(1 + f / 700))."""
    return 2595.0 * np.log10(1.0 + frequency_hz / 700.0)


def mel_to_hertz(mel: Float64[np.ndarray, "*any"]) -> Float64[np.ndarray, "*any"]:
    """The inverse of :func:`hertz_to_mel`."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def mel_filters(
    channels: int, n_fft: int, rate_hz: int, low_hz: float, high_hz: float
) -> Float64[np.ndarray, "bin channel"]:
    """Triangular filters with peak 1, evenly spaced in mel; between the outer centres they add up to 1."""
    ends = hertz_to_mel(np.array([low_hz, high_hz]))
    corners_hz = mel_to_hertz(np.linspace(ends[0], ends[1], channels + 2))
    bins_hz = np.fft.rfftfreq(n_fft, 1.0 / rate_hz)[:, None]
    rising = (bins_hz - corners_hz[:-2]) / (corners_hz[1:-1] - corners_hz[:-2])
    falling = (corners_hz[2:] - bins_hz) / (corners_hz[2:] - corners_hz[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling))


@dataclass(frozen=True)
class LogMel:
    """Logarithm of the energy in mel bands: 0 is silence, 1 the energy of a full-scale tone.

    The value is log10(1 + energy * 10^(range/10)) / (range/10): energies below -range decibels fade to 0, so that
    padding with zeros is padding with silence.

    Attributes:
        channels: Mel bands.
        window_s: Length of the Hann window (seconds).
        hop_s: Time between windows (seconds).
        low_hz: Lower end of the lowest band.
        high_hz: Upper end of the highest band.
        range_db: Decibels between a full-scale tone and what counts as silence.
        n_fft: Points of the Fourier transform; the window is padded with zeros to it.
    """

    channels: int = 80
    window_s: float = 0.025
    hop_s: float = 0.01
    low_hz: float = 50.0
    high_hz: float = 7600.0
    range_db: float = 80.0
    n_fft: int = 512

    def extract(self, audio: Int16[np.ndarray, " sample"], rate_hz: int) -> FeatureTrack:
        """The features of mono sound; full scale is 32768."""
        length, hop = round(self.window_s * rate_hz), round(self.hop_s * rate_hz)
        start_s = (length - 1) / 2 / rate_hz
        if len(audio) < length:
            return FeatureTrack(np.zeros((0, self.channels), np.float32), rate_hz / hop, start_s)
        # Half-sample symmetric, so that the window's centre is exactly at start_s.
        window = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
        filters = mel_filters(self.channels, self.n_fft, rate_hz, self.low_hz, self.high_hz)
        # Parseval: the bins of a tone of amplitude 1 add up to 1.
        scale = 4.0 / (self.n_fft * np.sum(window**2)) / FULL_SCALE**2
        pieces = np.lib.stride_tricks.sliding_window_view(audio, length)[::hop]
        decades = self.range_db / 10.0
        values = np.empty((len(pieces), self.channels), dtype=np.float32)
        for first in range(
            0, len(pieces), 4096
        ):  # a bounded piece of memory, however long the sound
            spectrum = np.fft.rfft(pieces[first : first + 4096] * window, self.n_fft)
            energy = (np.abs(spectrum) ** 2 * scale) @ filters
            values[first : first + 4096] = np.log10(1.0 + energy * 10.0**decades) / decades
        return FeatureTrack(values, rate_hz / hop, start_s)


# Kinds that need nothing but the sound; both names mean the same.
AUDIO_FEATURE_KINDS: dict[str, AudioFeature] = {"log_mel": LogMel(), "logmel": LogMel()}
OTHER_KINDS = ("deepspeech", "file")


def audio_feature(kind: str) -> AudioFeature:
    """The extractor of that name.

    Raises:
        InputError: there is none.
    """
    if kind not in AUDIO_FEATURE_KINDS:
        known = ", ".join([*AUDIO_FEATURE_KINDS, *OTHER_KINDS])
        raise InputError(f"there is no kind of audio features {kind!r}; choose one of {known}")
    return AUDIO_FEATURE_KINDS[kind]


def resample_track(
    track: FeatureTrack, time_s: Float64[np.ndarray, " frame"], frame_rate_hz: float
) -> Float32[np.ndarray, "frame channel"]:
    """Feature vector at each video frame: linear interpolation to a higher rate, a triangle-weighted mean to a lower one.

    The weights of a frame add up to 1, also where they are cut off at the ends of the track; frames
    farther from the track than the triangle reaches are zero.
    """
    reach_s = max(1.0 / track.rate_hz, 1.0 / frame_rate_hz)
    n_steps, n_channels = track.values.shape
    result = np.zeros((len(time_s), n_channels), dtype=np.float32)
    for frame, time in enumerate(time_s):
        center = (time - track.start_s) * track.rate_hz
        reach = reach_s * track.rate_hz
        first = max(0, int(np.ceil(center - reach)))
        last = min(n_steps, int(np.floor(center + reach)) + 1)
        if last <= first:
            continue
        weights = np.maximum(1.0 - np.abs(np.arange(first, last) - center) / reach, 0.0)
        if weights.sum() > 0:
            result[frame] = (weights / weights.sum()) @ track.values[first:last]
    return result


def frame_windows(
    features: Float32[np.ndarray, "frame channel"], length: int = WINDOW_FRAMES
) -> Float32[np.ndarray, "frame {length} channel"]:
    """For frame i the features of frames i - length/2 ... i + length/2 - 1, zeros beyond the clip.

    Source: the windows of AD-NeRF and VOCA (DeepSpeech features, length 16); entry length/2 is the frame itself.
    """
    half = length // 2
    padded = np.pad(features, ((half, length - half - 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)
    return np.ascontiguousarray(np.moveaxis(windows, -1, 1))
