"""What a clip holds: upright size, frame rate, length, sound; and why it cannot be read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg
import numpy as np
from jaxtyping import Float64, Int64

from artifacts.errors import InputError
from media.ffmpeg import file_url, log_errors, run_ffmpeg

# Only local files: a playlist inside a clip must not open a connection.
LOCAL_ONLY = {"protocol_whitelist": "file,pipe,crypto,data"}
# Rates that cameras and editors use; a measured mean this near to one is that one.
STANDARD_RATES_HZ = tuple(
    Fraction(number, 1001 if ntsc else 1000)
    for base in (12, 15, 24, 30, 48, 60, 90, 120, 240)
    for number, ntsc in ((base * 1000, True), (base * 1000, False))
) + tuple(Fraction(rate) for rate in (10, 20, 25, 50, 100))
RATE_TOLERANCE = 5e-4
NO_TIME = np.iinfo(np.int64).min
HDR_TRANSFERS = ("arib-std-b67", "smpte2084")


@dataclass(frozen=True)
class VideoInfo:
    """What a clip holds.

    Attributes:
        path: The clip.
        size: Width, height in pixels as a player shows it: after the rotation of its metadata and with
            square pixels.
        frame_rate_hz: Mean frames per second, snapped to a usual rate within 0.05 %.
        is_variable_rate: The time between frames varies.
        duration_s: From the first to the end of the last frame.
        n_frames: Frames in the file.
        has_audio: There is a sound track.
        is_hdr: The transfer curve is HLG or PQ.
        is_interlaced: Its frames are two fields taken at different times.
        stored_size: Width, height after rotation, before pixels are made square.
    """

    path: Path
    size: tuple[int, int]
    frame_rate_hz: float
    is_variable_rate: bool
    duration_s: float
    n_frames: int
    has_audio: bool
    is_hdr: bool
    is_interlaced: bool
    stored_size: tuple[int, int]


@dataclass(frozen=True)
class _Packets:
    """Times of a clip's packets, in seconds: starts of video frames, and the end of all streams."""

    video_s: Float64[np.ndarray, " packet"]
    end_s: float
    has_audio: bool


def probe(path: Path, needed_s: float = np.inf) -> VideoInfo:
    """Look at a clip without decoding more than its first frame.

    Args:
        path: The clip.
        needed_s: A clip that is cut off is accepted when at least so many seconds can be read.

    Raises:
        InputError: the file is missing, empty, not a video, sound only, a still image, or cut off.
    """
    path = Path(path)
    check_file(path)
    packets, log = _read_packets(path)
    if len(packets.video_s) == 0:
        what = "holds only sound" if packets.has_audio else "holds no video"
        raise InputError(f"{path}: {what}; give a video clip of a person")
    if len(packets.video_s) == 1:
        raise InputError(
            f"{path}: is a still image, not a clip; give a video of at least a few seconds"
        )
    frame_s = float(np.median(np.diff(packets.video_s)))
    duration_s = float(packets.video_s[-1] - packets.video_s[0]) + frame_s
    _check_complete(path, packets, log, needed_s)
    stored_size, aspect, is_interlaced = _first_frame(path)
    return VideoInfo(
        path=path,
        size=_square_pixel_size(stored_size, aspect),
        frame_rate_hz=_snap_rate(len(packets.video_s) / duration_s),
        is_variable_rate=_is_variable(packets.video_s),
        duration_s=duration_s,
        n_frames=len(packets.video_s),
        has_audio=packets.has_audio,
        is_hdr=any(name in log for name in HDR_TRANSFERS),
        is_interlaced=is_interlaced,
        stored_size=stored_size,
    )


def check_file(path: Path, what: str = "video") -> None:
    """Refuse what is no file with bytes in it.

    Args:
        path: The file.
        what: It should be: ``video`` or ``sound``.

    Raises:
        InputError: it is missing, a folder or empty.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the path of a {what} file")
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path of the {what}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); copy or download the {what} again")


def unreadable(path: Path, log: str, what: str = "a video") -> InputError:
    """The error for a clip or a sound that ffmpeg cannot open."""
    # The first line names the cause ("moov atom not found"), the later ones repeat it.
    reasons = [*log_errors(log), "no reason given"]
    return InputError(
        f"{path}: cannot be read as {what} ({reasons[0]}): it is not {what} or was cut off while "
        "copying; check that it plays, and copy or export it again"
    )


def _read_packets(path: Path) -> tuple[_Packets, str]:
    """Times of all packets of the first real video stream and of the sound, and ffmpeg's log."""
    stream = ffmpeg.input(file_url(path), **LOCAL_ONLY)
    # V (capital): cover art in a sound file is no video. framecrc prints one line per packet.
    stream = ffmpeg.output(stream["V:0?"], stream["a?"], "pipe:", format="framecrc", c="copy")
    status, output, log = run_ffmpeg(ffmpeg.get_args(stream))
    text = output.decode("ascii", "replace")
    kinds = dict(re.findall(r"^#media_type (\d+): (\w+)", text, re.MULTILINE))
    if status != 0 and not kinds:
        if "does not contain any stream" in log:
            return _Packets(np.zeros(0), 0.0, False), log
        raise unreadable(path, log)
    rows = [
        [field.strip() for field in line.split(",")[:4]]
        for line in text.splitlines()
        if line and not line.startswith("#")
    ]
    ends_s = [0.0]
    video_s = np.zeros(0)
    for index, time_base in re.findall(r"^#tb (\d+): (\S+)", text, re.MULTILINE):
        ticks = np.array([row[1:] for row in rows if row[0] == index], dtype=np.int64)
        if len(ticks) == 0:
            continue
        starts_s, stream_end_s = _packet_times(ticks.reshape(-1, 3), float(Fraction(time_base)))
        ends_s.append(stream_end_s)
        if kinds.get(index) == "video":
            video_s = starts_s
    return _Packets(video_s, max(ends_s), "audio" in kinds.values()), log


def _packet_times(
    ticks: Int64[np.ndarray, "packet 3"], time_base: float
) -> tuple[Float64[np.ndarray, " packet"], float]:
    """Sorted starts and the end, in seconds, of packets given as (decoding time, showing time, duration)."""
    times = ticks[:, 1]
    if np.any(times == NO_TIME):  # some containers give the time of decoding only
        times = ticks[:, 0]
    if np.any(times == NO_TIME):  # and a bare stream gives none
        times = np.cumsum(ticks[:, 2]) - ticks[:, 2]
    return np.sort(times * time_base), float(np.max(times + ticks[:, 2]) * time_base)


def _check_complete(path: Path, packets: _Packets, log: str, needed_s: float) -> None:
    """Refuse a clip whose header promises more than its streams hold, where that is needed."""
    found = re.search(r"Duration: (\d+):(\d+):([\d.]+)", log)
    if found is None:
        return
    hours, minutes, seconds = map(float, found.groups())
    promised_s = 3600 * hours + 60 * minutes + seconds
    readable_s = np.floor(10 * float(packets.video_s[-1])) / 10
    is_cut_off = packets.end_s < promised_s - max(0.5, 0.01 * promised_s)
    if is_cut_off and readable_s < needed_s:
        raise InputError(
            f"{path}: is cut off or damaged: only {readable_s:.1f} of {promised_s:.1f} s can be read; "
            f"copy it again, or choose a part of it with --duration-s (at most {readable_s:.1f})"
        )


def _first_frame(path: Path) -> tuple[tuple[int, int], Fraction, bool]:
    """Size after rotation, the pixel aspect (width / height) and whether it is interlaced, of the first frame."""
    stream = ffmpeg.input(file_url(path), **LOCAL_ONLY)
    stream = ffmpeg.output(
        stream["V:0"], "pipe:", format="yuv4mpegpipe", pix_fmt="gray", strict=-1, **{"frames:v": 1}
    )
    status, output, log = run_ffmpeg(ffmpeg.get_args(stream))
    header = output[: output.find(b"\n")].decode("ascii", "replace").split(" ")
    if status != 0 or header[0] != "YUV4MPEG2":
        raise unreadable(path, log)
    fields = {field[0]: field[1:] for field in header[1:]}
    above, _, below = fields.get("A", "1:1").partition(":")
    aspect = Fraction(int(above), int(below)) if int(above) and int(below) else Fraction(1)
    return (int(fields["W"]), int(fields["H"])), aspect, fields.get("I", "p") in "tbm"


def _square_pixel_size(size: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """Size with square pixels; the side that is too short grows, so that no detail is lost."""
    width, height = size
    if aspect >= 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def _snap_rate(rate_hz: float) -> float:
    nearest = min((float(rate) for rate in STANDARD_RATES_HZ), key=lambda r: abs(r - rate_hz))
    return nearest if abs(nearest - rate_hz) <= RATE_TOLERANCE * nearest else rate_hz


def _is_variable(times_s: Float64[np.ndarray, " packet"]) -> bool:
    """Whether frames come unevenly: by more than a container's rounding to milliseconds explains."""
    steps = np.diff(times_s)
    return bool(np.ptp(steps) > 0.0025)
