"""Video and sound in and out: the one import for steps that read or write clips."""

from media.probe import VideoInfo, probe
from media.reader import (
    WHOLE,
    PixelRectangle,
    TimeSpan,
    decode_audio,
    decode_frames,
    decode_sound_file,
)
from media.writer import VideoWriter

__all__ = [
    "WHOLE",
    "PixelRectangle",
    "TimeSpan",
    "VideoInfo",
    "VideoWriter",
    "decode_audio",
    "decode_frames",
    "decode_sound_file",
    "probe",
]
