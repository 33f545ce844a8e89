"""The ``frames`` of a driver that was not filmed: times, perhaps a sound, no pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64, Int16

# A recording has no pictures: a square of this side stands for them (pixel).
SIDE_PX = 512
AUDIO_RATE_HZ = 16000


def frames_without_pictures(
    time_s: Float64[np.ndarray, " frame"],
    rate_hz: float,
    sound: Int16[np.ndarray, " sample"] | None = None,
) -> dict[str, Any]:
    """Datasets of a ``frames`` artifact.

    Args:
        time_s: Times of the frames, seconds.
        rate_hz: Frames per second.
        sound: Mono, :data:`AUDIO_RATE_HZ`; None without.
    """
    return {
        "image": np.zeros((len(time_s), 0, 0, 3), np.uint8),
        "time_s": time_s,
        "frame_rate_hz": np.array(rate_hz),
        "source_from_crop": np.eye(3),
        "source_size": np.array([SIDE_PX, SIDE_PX], np.int32),
        "audio": np.zeros(0, np.int16) if sound is None else sound,
        "audio_rate_hz": np.array(AUDIO_RATE_HZ, np.int32),
        "has_audio": np.array(sound is not None),
    }
