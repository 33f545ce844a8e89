"""Small clips for tests: exact ones of known pixels, and people made from a photo."""

from pathlib import Path

import numpy as np
from skimage import data

from assets.fetch import fetch_asset
from media.ffmpeg import file_url, run_ffmpeg

# Lossless and RGB all the way: decoded pixels equal what was written.
EXACT = ("-c:v", "ffv1", "-pix_fmt", "gbrp")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-pix_fmt", "yuv420p")


def ffmpeg_or_fail(*arguments: str, given: bytes | None = None) -> None:
    status, _, log = run_ffmpeg([*arguments, "-y"], given=given)
    assert status == 0, log


def write_clip(
    path: Path,
    frames: np.ndarray,
    rate_hz: float = 25,
    codec: tuple[str, ...] = H264,
    sound: Path | None = None,
) -> Path:
    height, width = frames.shape[1:3]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate_hz)]
    sound_input = ["-i", file_url(sound)] if sound else []
    ffmpeg_or_fail(
        *raw, "-i", "pipe:", *sound_input, *codec, file_url(path), given=frames.tobytes()
    )
    return path


def write_sound(path: Path, samples: np.ndarray, rate_hz: int = 16000) -> Path:
    raw = ["-f", "s16le", "-ar", str(rate_hz), "-ac", "1", "-i", "pipe:"]
    ffmpeg_or_fail(*raw, file_url(path), given=samples.astype("<i2").tobytes())
    return path


def gradient_frames(n_frames: int, width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth colourful frames, all different."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    phase = rng.uniform(0, 6, size=(n_frames, 1, 1, 3))
    waves = np.sin(x[None, ..., None] / 9 + phase) + np.cos(y[None, ..., None] / 7 - phase)
    return np.round(127.5 + 60 * waves).astype(np.uint8)


def person(side: int = 200) -> np.ndarray:
    """Head and shoulders of a person, ``side`` pixels square, the face about .45 of it."""
    from PIL import Image

    portrait = Image.fromarray(data.astronaut()[0:220, 110:330])
    return np.asarray(portrait.resize((side, side), Image.Resampling.LANCZOS))


# Centre of the face in person(side), in sides.
FACE_CENTER = (0.515, 0.52)


def person_frames(
    corners: list[tuple[int, int] | None],
    size: tuple[int, int] = (400, 300),
    side: int = 200,
) -> np.ndarray:
    """The person with its top-left corner (x, y) at each of ``corners``; an empty room where that is None."""
    width, height = size
    room = np.empty((height, width, 3), dtype=np.uint8)
    room[:] = np.linspace(60, 120, width)[None, :, None].astype(np.uint8)
    picture, frames = person(side), []
    for corner in corners:
        frame = room.copy()
        if corner is not None:
            paste(frame, picture, corner)
        frames.append(frame)
    return np.stack(frames)


def paste(frame: np.ndarray, picture: np.ndarray, corner: tuple[int, int]) -> None:
    x, y = corner
    side = len(picture)
    rows = slice(max(y, 0), min(y + side, frame.shape[0]))
    columns = slice(max(x, 0), min(x + side, frame.shape[1]))
    frame[rows, columns] = picture[
        rows.start - y : rows.stop - y, columns.start - x : columns.stop - x
    ]


def detector_path() -> Path:
    return fetch_asset("face_detection_short_range.tflite")
