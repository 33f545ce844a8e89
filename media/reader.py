"""Decode frames and sound as streams, cut and scaled by ffmpeg."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from jaxtyping import Int16, UInt8

from artifacts.errors import InputError
from media.ffmpeg import FfmpegProcess, file_url, log_errors, run_ffmpeg
from media.probe import LOCAL_ONLY, VideoInfo, check_file, unreadable
from media.writer import frame_rate_text

LOGGER = logging.getLogger(__name__)
# Chroma at full resolution and exact rounding: worth a millisecond, since every later step sees these pixels.
_SCALE_FLAGS = "accurate_rnd+full_chroma_int+full_chroma_inp"
# Diffuse white of HLG and PQ is 203 nits (ITU-R BT.2408) and becomes 1; skin lies below 0.7 and stays as it is,
# highlights up to 1000 nits are rolled off.
_HDR_TO_SDR = (
    ("zscale", {"transfer": "linear", "npl": 203}),
    ("format", {"pix_fmts": "gbrpf32le"}),
    ("zscale", {"primaries": "bt709"}),
    ("tonemap", {"tonemap": "mobius", "param": 0.7, "peak": 4.93, "desat": 0}),
    ("zscale", {"transfer": "iec61966-2-1", "range": "full"}),
)


@dataclass(frozen=True)
class PixelRectangle:
    """A rectangle of whole source pixels; it may reach outside the frame.

    Attributes:
        x: Column of its left edge (pixel x is inside, pixel x - 1 is not).
        y: Row of its top edge.
        width: Columns.
        height: Rows.
    """

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class TimeSpan:
    """A part of a clip.

    Attributes:
        start_s: Seconds after the clip's start.
        duration_s: Length in seconds; 0 means up to the end.
    """

    start_s: float = 0.0
    duration_s: float = 0.0

    def input_options(self) -> dict[str, float]:
        """The part as ffmpeg's input options (exact to the frame)."""
        options: dict[str, float] = {}
        if self.start_s > 0:
            options["ss"] = self.start_s
        if self.duration_s > 0:
            options["t"] = self.duration_s
        return options


WHOLE = TimeSpan()


def decode_frames(
    info: VideoInfo,
    frame_rate_hz: float = 0.0,
    span: TimeSpan = WHOLE,
    crop: PixelRectangle | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Frames of a clip one by one: upright, square pixels, evenly spaced in time, sRGB.

    Frame i shows the clip at ``span.start_s + i / frame_rate_hz``; a variable rate is made even by repeating
    or dropping frames. Memory does not grow with the clip.

    Args:
        info: The clip, from :func:`media.probe.probe`.
        frame_rate_hz: Frames per second; 0 keeps the clip's (mean) rate.
        span: Part of the clip.
        crop: Part of the upright frame; outside of it the nearest edge pixel is repeated.
        size: Width, height of the result; area-averaged when smaller. None keeps the crop's.

    Raises:
        InputError: nothing can be decoded.
    """
    crop = crop or PixelRectangle(0, 0, *info.size)
    width, height = size or (crop.width, crop.height)
    video = ffmpeg.input(file_url(info.path), **LOCAL_ONLY, **span.input_options())["V:0"]
    if info.is_interlaced:
        video = video.filter("bwdif", mode="send_frame")
    # start_time=0 repeats the first frame where the picture begins after the sound: they stay in step.
    video = video.filter(
        "fps", fps=frame_rate_text(frame_rate_hz or info.frame_rate_hz), start_time=0
    )
    video = _crop_and_scale(_to_planar_rgb(video, info), info.size, crop, (width, height))
    stream = ffmpeg.output(
        video, "pipe:", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough"
    )
    n_bytes = width * height * 3
    process = FfmpegProcess(ffmpeg.get_args(stream), stdout=subprocess.PIPE)
    n_frames = 0
    try:
        while len(data := process.stdout.read(n_bytes)) == n_bytes:
            n_frames += 1
            yield np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3)
        status, log = process.wait(), process.log()
        if status != 0 or n_frames == 0:
            if status == 0:
                raise InputError(
                    f"{info.path}: no frame lies {span.start_s:g} s after the start of this clip of "
                    f"{info.duration_s:.1f} s; choose an earlier --start-s"
                )
            raise unreadable(info.path, log)
        if errors := log_errors(log):
            LOGGER.warning("%s: ffmpeg found damage: %s", info.path, errors[0])
    finally:
        process.stop()


def _to_planar_rgb(video: Any, info: VideoInfo) -> Any:  # noqa: ANN401  (ffmpeg-python is untyped)
    """Square pixels, standard dynamic range, one plane per colour (so that any crop offset is exact)."""
    if info.is_hdr:
        for name, options in _HDR_TO_SDR:
            video = video.filter(name, **options)
    video = video.filter("scale", *info.size, flags=f"bicubic+{_SCALE_FLAGS}")
    return video.filter("format", pix_fmts="gbrp")


def _crop_and_scale(
    video: Any,  # noqa: ANN401
    frame_size: tuple[int, int],
    crop: PixelRectangle,
    size: tuple[int, int],
) -> Any:  # noqa: ANN401
    """Cut, repeat the border outside the frame, and scale by area averaging."""
    left, top = max(-crop.x, 0), max(-crop.y, 0)
    right = max(crop.x + crop.width - frame_size[0], 0)
    bottom = max(crop.y + crop.height - frame_size[1], 0)
    inside = (crop.width - left - right, crop.height - top - bottom)
    if inside != frame_size:
        video = video.filter("crop", *inside, crop.x + left, crop.y + top)
    if left or right or top or bottom:
        video = video.filter("pad", crop.width, crop.height, left, top)
        video = video.filter(
            "fillborders", left=left, right=right, top=top, bottom=bottom, mode="smear"
        )
    if size != (crop.width, crop.height):
        video = video.filter("scale", *size, flags=f"area+{_SCALE_FLAGS}")
    return video


def decode_audio(
    info: VideoInfo, rate_hz: int = 16000, span: TimeSpan = WHOLE
) -> Int16[np.ndarray, " sample"]:
    """The clip's sound, mixed to one channel; empty where there is none.

    Sample 0 is at ``span.start_s``, as frame 0 is; gaps in the sound are silence.

    Raises:
        InputError: there is sound, but it cannot be decoded.
    """
    if not info.has_audio:
        return np.zeros(0, dtype=np.int16)
    status, output, log = _run_sound(info.path, rate_hz, span)
    if status != 0:
        raise unreadable(info.path, log)
    return _samples(output)


def decode_sound_file(path: Path, rate_hz: int = 16000) -> Int16[np.ndarray, " sample"]:
    """The sound of a file without a picture (WAV, or what else ffmpeg reads), mixed to one channel.

    Raises:
        InputError: the file is missing, empty, or no sound can be decoded from it.
    """
    check_file(path, "sound")
    status, output, log = _run_sound(path, rate_hz, WHOLE)
    if status != 0:
        raise unreadable(path, log, "a sound file")
    return _samples(output)


def _run_sound(path: Path, rate_hz: int, span: TimeSpan) -> tuple[int, bytes, str]:
    """Raw samples of a file's first sound; gaps are silence."""
    audio = ffmpeg.input(file_url(path), **LOCAL_ONLY, **span.input_options())["a:0"]
    audio = audio.filter("aresample", rate_hz, **{"async": 1, "first_pts": 0})
    return run_ffmpeg(ffmpeg.get_args(ffmpeg.output(audio, "pipe:", format="s16le", ac=1)))


def _samples(raw: bytes) -> Int16[np.ndarray, " sample"]:
    return np.frombuffer(raw, dtype="<i2").astype(np.int16)
