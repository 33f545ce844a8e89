"""Image artifacts made from arrays, and the raw frames of real clips, for tests of the steps that look at images."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np

from artifacts.kinds import FRAMES, RENDER
from artifacts.store import write_artifact


def write_frames(path: Path, images: np.ndarray, rate_hz: float = 25.0) -> Path:
    arrays = {
        "image": images,
        "time_s": np.arange(len(images)) / rate_hz,
        "frame_rate_hz": np.float64(rate_hz),
        "source_from_crop": np.eye(3),
        "source_size": np.array([images.shape[2], images.shape[1]], np.int32),
        "audio": np.zeros(0, np.int16),
        "audio_rate_hz": np.int32(16000),
        "has_audio": np.bool_(False),
    }
    write_artifact(path, FRAMES, arrays, {"step": "test"})
    return path


def write_render(path: Path, images: np.ndarray) -> Path:
    alpha = np.zeros(images.shape[:3], np.uint8)
    arrays = {
        "image": images,
        "person": images,
        "head": images,
        "person_alpha": alpha,
        "head_alpha": alpha,
        "driver_frame": np.arange(len(images), dtype=np.int32),
        "time_s": np.arange(len(images)) / 25,
        "render_time_s": np.zeros(len(images), np.float32),
    }
    write_artifact(path, RENDER, arrays, {"step": "test"})
    return path


def decode_clip(path: Path) -> np.ndarray:
    """All frames of a clip as ffmpeg decodes them, uncropped."""
    stream = imageio_ffmpeg.read_frames(str(path))
    width, height = next(stream)["size"]
    shape = (height, width, 3)
    return np.stack([np.frombuffer(frame, np.uint8).reshape(shape) for frame in stream])
