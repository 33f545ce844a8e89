"""A window of 16 feature vectors around every video frame, cut from a track or read from a ready file, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from preprocessing.audio_feature_kinds import WINDOW_FRAMES, FeatureTrack

PIECE_FRAMES = 500
# Times this near to the end of the clip lie on it (floating point).
TIME_TOLERANCE_S = 1e-6


@dataclass(frozen=True)
class FeatureWindows:
    """Windows of all frames, made when they are asked for.

    Attributes:
        channels: Length of a feature vector.
        valid: False for frames without features.
        read: Windows (frame, 16, channel) of the frames from the first up to, not including, the last given.
    """

    channels: int
    valid: Bool[np.ndarray, " frame"]
    read: Callable[[int, int], Float32[np.ndarray, "frame 16 channel"]]

    def pieces(self) -> Iterator[Float32[np.ndarray, "frame 16 channel"]]:
        """All windows in order, a few hundred at a time; zeros where not valid."""
        for first in range(0, len(self.valid), PIECE_FRAMES):
            piece = self.read(first, min(first + PIECE_FRAMES, len(self.valid)))
            yield np.where(self.valid[first : first + PIECE_FRAMES, None, None], piece, 0)


def windows_of(values: Float32[np.ndarray, "frame 16 channel"]) -> FeatureWindows:
    """Windows that are there already, all of them valid."""
    valid = np.ones(len(values), dtype=bool)
    return FeatureWindows(values.shape[2], valid, lambda first, last: values[first:last])


def no_windows(n_frames: int, channels: int) -> FeatureWindows:
    """Windows of a clip without sound: none is valid, all are zero."""
    nothing = np.zeros((n_frames, WINDOW_FRAMES, channels), dtype=np.float32)
    return FeatureWindows(
        channels, np.zeros(n_frames, dtype=bool), lambda first, last: nothing[first:last]
    )


def linear_windows(
    track: FeatureTrack, time_s: Float64[np.ndarray, " frame"], window_rate_hz: float, end_s: float
) -> FeatureWindows:
    """Windows of vectors interpolated linearly in time.

    Vector k of the window of a frame lies (k - 8) / ``window_rate_hz`` seconds after the frame. Vectors before the clip
    and from its end on are zero; where the track is shorter than the clip its first or last vector is held.

    Args:
        track: The features.
        time_s: Times of the frames (seconds).
        window_rate_hz: Vectors per second inside a window. At the video's rate the windows are those of VOCA, at 50 Hz
            (for video of 25 Hz) those of AD-NeRF.
        end_s: Length of the clip.

    Source: feature extraction of VOCA and AD-NeRF.
    """
    offsets_s = (np.arange(WINDOW_FRAMES) - WINDOW_FRAMES // 2) / window_rate_hz
    n_steps, channels = track.values.shape

    def read(first: int, last: int) -> Float32[np.ndarray, "frame 16 channel"]:
        times = time_s[first:last, None] + offsets_s
        if n_steps == 0:
            return np.zeros((*times.shape, channels), dtype=np.float32)
        place = np.clip((times - track.start_s) * track.rate_hz, 0, n_steps - 1)
        lower = np.floor(place).astype(int)
        upper = np.minimum(lower + 1, n_steps - 1)
        share = (place - lower)[..., None].astype(np.float32)
        values = (1 - share) * track.values[lower] + share * track.values[upper]
        inside = (times > -TIME_TOLERANCE_S) & (times < end_s - TIME_TOLERANCE_S)
        return values * inside[..., None]

    return FeatureWindows(channels, np.ones(len(time_s), dtype=bool), read)
