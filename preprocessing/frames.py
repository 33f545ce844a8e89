"""Step ``frames``: a clip becomes evenly timed square head crops, with its sound beside them."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int16, UInt8
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import FRAMES
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import open_writer
from media.video import (
    PixelRectangle,
    TimeSpan,
    VideoInfo,
    decode_audio,
    decode_frames,
    probe,
)
from preprocessing.detection.face_detector import FaceDetector
from preprocessing.head_crop import Track, crop_matrix, find_faces, follow_faces, head_square

LOGGER = logging.getLogger(__name__)

AUDIO_RATE_HZ = 16000
MAX_AUDIO_SHIFT_S = 10.0
# Sound that differs more from the picture's length is worth a word.
SOUND_DIFFERENCE_S = 0.2
# The crop is found on at most this many frames, spread evenly, at most this large.
MAX_LOOKS = 600
LOOK_SIDE_PX = 960
# Fewer sightings than this share of the clip, and nothing sensible can be tracked.
MIN_PRESENCE = 0.1
SMALL_FACE_PX = 48
FRAMES_PER_WRITE = 8
# Frames are stored without compression. Measured on two shared cores (benchmarks/frame_storage.py; size relative to
# raw, milliseconds per written and per randomly read frame): 512² real clip: none 1.00, 0.6, 0.1; lzf 0.67, 8.4, 4.6;
# gzip 1 0.56, 28, 7; shuffle + gzip 1 0.56, 11, 2.9. 482² on a plain background: none 1.00, 0.3, 0.1; lzf 0.34, 4.5, 2.1;
# gzip 1 0.28, 7.4, 2.5. Reading is then 30 to 60 times faster for at most 3.5 times the space (0.8 MB a frame).


@dataclass(frozen=True)
class Options:
    """Turn a clip into square head crops."""

    video: Path
    """The clip, in any format that ffmpeg reads."""
    detector: Path
    """face_detection_short_range.tflite."""
    out: Path
    """The ``frames`` artifact to write."""
    frame_rate_hz: float = 25.0
    """Frames per second after resampling; 0 keeps the clip's own."""
    max_side_px: int = 512
    """Larger crops are scaled down to this side (even); smaller ones are never scaled up."""
    start_s: float = 0.0
    """Seconds to skip at the start of the clip."""
    duration_s: float = 0.0
    """Seconds to use; 0 means up to the end."""
    audio_shift_s: float = 0.0
    """Seconds by which the sound is moved later against the picture (negative: earlier): what was heard at time t of the
    clip is then heard at t + audio_shift_s. Sound of the clip before or after the part that is used moves in; beyond the
    clip's sound there is silence."""


def check_options(options: Options) -> None:
    """Refuse impossible values.

    Raises:
        InputError: naming the option.
    """
    if not 0 <= options.frame_rate_hz <= 240:
        raise InputError(
            f"--frame-rate-hz {options.frame_rate_hz:g} is outside 0..240; 25 is usual"
        )
    if options.max_side_px < 16 or options.max_side_px % 2:
        raise InputError(
            f"--max-side-px {options.max_side_px} must be even and at least 16; 512 is usual"
        )
    if options.start_s < 0 or options.duration_s < 0:
        raise InputError(
            "--start-s and --duration-s must not be negative; use 0 for the whole clip"
        )
    if not abs(options.audio_shift_s) <= MAX_AUDIO_SHIFT_S:
        raise InputError(
            f"--audio-shift-s {options.audio_shift_s:g} is outside ±{MAX_AUDIO_SHIFT_S:g}; it is in seconds, and "
            "positive where the sound comes too early"
        )


def length_of(info: VideoInfo, span: TimeSpan) -> float:
    """Seconds of the clip that lie in the span."""
    return min(span.duration_s or np.inf, max(info.duration_s - span.start_s, 0.1))


def look_for_faces(
    info: VideoInfo, span: TimeSpan, detector: FaceDetector, frame_rate_hz: float
) -> tuple[list[Track], int]:
    """Faces in frames spread over the clip, joined to persons, boxes in pixels of the upright frame.

    Returns:
        The persons, the greatest first, and the number of frames looked at.
    """
    length_s = length_of(info, span)
    look_rate_hz = min(frame_rate_hz, MAX_LOOKS / length_s)
    scale = min(1.0, LOOK_SIDE_PX / max(info.size))
    size = (round(info.size[0] * scale), round(info.size[1] * scale))
    ratio = np.tile(np.array(info.size, dtype=np.float64) / size, 2)
    looks = decode_frames(info, look_rate_hz, span, size=size)
    progress = tqdm(looks, desc="looking for the face", total=round(length_s * look_rate_hz))
    detections = [(find_faces(detector, image) + 0.5) * ratio - 0.5 for image in progress]
    return follow_faces(detections), len(detections)


def choose_crop(info: VideoInfo, tracks: list[Track], n_looks: int) -> PixelRectangle:
    """The square around the greatest person's head.

    Raises:
        InputError: there is no face, or hardly ever.
    """
    if not tracks:
        raise InputError(
            f"{info.path}: no face was found; use a clip in which one face looks roughly into the camera, "
            "is well lit and fills at least a tenth of the picture's height"
        )
    track = tracks[0]
    presence = len(track.boxes) / n_looks
    if presence < MIN_PRESENCE:
        raise InputError(
            f"{info.path}: a face was found in only {100 * presence:.0f} % of the clip; choose the part that "
            "shows it with --start-s and --duration-s"
        )
    if presence < 0.95:
        LOGGER.warning("%s: the face was found in %.0f %% of the clip", info.path, 100 * presence)
    if len(tracks) > 1 and len(tracks[1].boxes) > MIN_PRESENCE * n_looks:
        LOGGER.warning(
            "%s: there are several people; the largest and most present one is used", info.path
        )
    boxes = np.stack(track.boxes)
    width_px = float(np.median(boxes[:, 2] - boxes[:, 0]))
    if width_px < SMALL_FACE_PX:
        LOGGER.warning("%s: the face is only %.0f px wide; film closer", info.path, width_px)
    return head_square(boxes, info.size)


def in_batches(
    images: Iterator[UInt8[np.ndarray, "height width 3"]],
) -> Iterator[UInt8[np.ndarray, "frame height width 3"]]:
    """A few frames at a time."""
    while batch := list(itertools.islice(images, FRAMES_PER_WRITE)):
        yield np.stack(batch)


def fit_audio(
    audio: Int16[np.ndarray, " sample"], n_frames: int, frame_rate_hz: float
) -> Int16[np.ndarray, " fitted"]:
    """Sound cut, or padded with silence, to the length of the frames."""
    n_samples = round(n_frames / frame_rate_hz * AUDIO_RATE_HZ)
    return np.pad(audio[:n_samples], (0, max(0, n_samples - len(audio))))


def read_audio(
    info: VideoInfo, span: TimeSpan, shift_s: float, n_frames: int, frame_rate_hz: float
) -> Int16[np.ndarray, " sample"]:
    """The sound of the span, moved later by ``shift_s``, as long as the frames; empty where the clip has none."""
    if not info.has_audio:
        return np.zeros(0, dtype=np.int16)
    length_s = n_frames / frame_rate_hz
    begin_s = span.start_s - shift_s
    # Without a shift the span is decoded as it is: cut at the sample where its picture is cut.
    part = replace(span, start_s=max(begin_s, 0.0)) if shift_s else span
    if shift_s and span.duration_s > 0:
        part = replace(part, duration_s=length_s)
    audio = decode_audio(info, AUDIO_RATE_HZ, part)
    silence = np.zeros(round(max(0.0, -begin_s) * AUDIO_RATE_HZ), dtype=np.int16)
    audio = np.concatenate([silence, audio])
    difference_s = len(audio) / AUDIO_RATE_HZ - length_s
    if abs(difference_s) > SOUND_DIFFERENCE_S and not shift_s:
        LOGGER.warning(
            "%s: the sound is %.1f s %s",
            info.path,
            abs(difference_s),
            "longer than the picture and is cut"
            if difference_s > 0
            else "shorter than the picture; the rest is silence",
        )
    audio = fit_audio(audio, n_frames, frame_rate_hz)
    if not audio.any():
        LOGGER.warning("%s: the sound is silent from beginning to end", info.path)
    return audio


def check_space(options: Options, n_bytes: float) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        InputError: with the space needed and free.
    """
    options.out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(options.out.parent).free
    if n_bytes > free:
        raise InputError(
            f"{options.out}: needs {n_bytes / 1e9:.2f} GB but only {free / 1e9:.2f} GB are free; free some space, "
            "or use a part of the clip (--duration-s) or a smaller --max-side-px"
        )


def main(options: Options) -> None:
    """Run the step."""
    check_options(options)
    span = TimeSpan(options.start_s, options.duration_s)
    needed_s = span.start_s + span.duration_s if span.duration_s > 0 else np.inf
    info = probe(options.video, needed_s)
    frame_rate_hz = options.frame_rate_hz or info.frame_rate_hz
    tracks, n_looks = look_for_faces(info, span, FaceDetector(options.detector), frame_rate_hz)
    crop = choose_crop(info, tracks, n_looks)
    side_px = min(crop.width, options.max_side_px)
    n_expected = round(length_of(info, span) * frame_rate_hz)
    check_space(options, n_expected * 3.0 * side_px**2)
    provenance = make_provenance(
        "preprocessing.frames", options, {"video": options.video, "detector": options.detector}
    )
    images = decode_frames(info, frame_rate_hz, span, crop, (side_px, side_px))
    n_frames = 0
    with open_writer(options.out, FRAMES, provenance) as writer:
        with tqdm(desc="cutting out the head", unit="frame", total=n_expected) as progress:
            for batch in in_batches(images):
                writer.append("image", batch)
                n_frames += len(batch)
                progress.update(len(batch))
        audio = read_audio(info, span, options.audio_shift_s, n_frames, frame_rate_hz)
        writer.put("time_s", np.arange(n_frames, dtype=np.float64) / frame_rate_hz)
        writer.put("frame_rate_hz", np.float64(frame_rate_hz))
        writer.put("source_from_crop", crop_matrix(crop, side_px))
        writer.put("source_size", np.array(info.size, dtype=np.int32))
        writer.put("audio", audio)
        writer.put("audio_rate_hz", np.int32(AUDIO_RATE_HZ))
        writer.put("has_audio", np.bool_(info.has_audio))
    LOGGER.info("%s: %d frames of %d x %d", options.out, n_frames, side_px, side_px)


if __name__ == "__main__":
    run_step(Options, main)
