"""Image artifacts made from arrays, and the raw frames of real clips, for tests of the steps that look at images."""

from pathlib import Path

import numpy as np

from artifacts.kinds import FRAMES, RENDER
from artifacts.store import write_artifact
from media.ffmpeg import file_url, run_ffmpeg
from media.probe import probe


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
        "direction": np.zeros(0, np.int32),
        "amount": np.zeros(0, np.float32),
    }
    write_artifact(path, RENDER, arrays, {"step": "test"})
    return path


def decode_clip(path: Path) -> np.ndarray:
    """All frames of a clip as ffmpeg decodes them, uncropped, neither repeated nor dropped."""
    width, height = probe(path).stored_size
    to_rgb = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:"]
    status, pixels, log = run_ffmpeg(["-i", file_url(path), *to_rgb])
    assert status == 0, log
    return np.frombuffer(pixels, np.uint8).reshape(-1, height, width, 3)
