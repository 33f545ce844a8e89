"""Step ``audio_features``: a window of 16 feature vectors of the sound around each video frame."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artifacts.errors import InputError
from artifacts.kinds import AUDIO_FEATURES, FRAMES
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import open_artifact, open_writer
from preprocessing.audio_feature_kinds import (
    AudioFeature,
    audio_feature,
    frame_windows,
    resample_track,
)
from preprocessing.sound.deepspeech import FRONT_ENDS, DeepSpeech
from preprocessing.sound.ready_file import open_windows
from preprocessing.sound.windows import FeatureWindows, linear_windows, no_windows, windows_of

LOGGER = logging.getLogger(__name__)

NPY_NAME = "aud.npy"


@dataclass(frozen=True)
class Options:
    """Make audio features for every frame of a clip."""

    frames: Path
    """``frames`` artifact; only its sound and times are read."""
    out: Path
    """The ``audio_features`` artifact to write."""
    kind: str = "log_mel"
    """Kind of features: log_mel (or logmel), deepspeech, or file for features made elsewhere."""
    path: Path | None = None
    """For deepspeech its network (deepspeech-0.9.3-models.tflite); for file the features: a .npy or HDF5 file of (frame,
    16, channel), as AD-NeRF's aud.npy, or of (step, channel)."""
    mfcc: str = "auto"
    """Input of deepspeech: network (the MFCC part of its file, which it was trained with), python_speech_features (the
    field's front end, made for DeepSpeech 0.1.0), or auto (the network's where the file has it)."""
    window_rate_hz: float = 0.0
    """Feature vectors per second inside a window, for deepspeech and (step, channel) files; 0 is the video's frame rate, 50
    gives the windows of AD-NeRF."""
    file_rate_hz: float = 0.0
    """Steps per second of a (step, channel) file; 50 for wav2vec 2.0 and HuBERT."""
    also_npy: bool = False
    """Also write the windows as aud.npy beside ``out``, in AD-NeRF's layout (frame, 16, channel)."""


def check_options(options: Options) -> None:
    """Refuse impossible values.

    Raises:
        InputError: naming the option.
    """
    needs_path = options.kind in ("deepspeech", "file")
    if needs_path and options.path is None:
        what = "its .tflite network" if options.kind == "deepspeech" else "the features"
        raise InputError(f"--kind {options.kind} needs --path, the path of {what}")
    if not needs_path and options.path is not None:
        raise InputError(
            f"--kind {options.kind} reads no file, so leave out --path, or choose --kind deepspeech or file"
        )
    if options.mfcc not in FRONT_ENDS:
        raise InputError(f"--mfcc {options.mfcc!r} must be one of {', '.join(FRONT_ENDS)}")
    for name, rate_hz in (("window", options.window_rate_hz), ("file", options.file_rate_hz)):
        if not 0 <= rate_hz <= 1000:
            raise InputError(f"--{name}-rate-hz {rate_hz:g} is outside 0..1000; 50 is usual")


def choose_extractor(options: Options) -> AudioFeature:
    """What makes the features from sound.

    Raises:
        InputError: there is no such kind.
    """
    if options.kind == "deepspeech" and options.path is not None:
        return DeepSpeech(options.path, options.mfcc)
    return audio_feature(options.kind)


@contextmanager
def open_features(options: Options) -> Iterator[FeatureWindows]:
    """Windows of every frame; not valid where the clip has no sound.

    Raises:
        InputError: the network or the ready file cannot be used.
    """
    with open_artifact(options.frames, FRAMES) as reader:
        time_s = reader.read("time_s")
        frame_rate_hz = float(reader.read("frame_rate_hz"))
        has_audio = bool(reader.read("has_audio"))
        audio, rate_hz = reader.read("audio"), int(reader.read("audio_rate_hz"))
    window_rate_hz = options.window_rate_hz or frame_rate_hz
    if options.kind == "file" and options.path is not None:
        rates_hz = (frame_rate_hz, options.file_rate_hz, window_rate_hz)
        with open_windows(options.path, time_s, *rates_hz) as windows:
            yield windows
        return
    extractor = choose_extractor(options)
    if not has_audio:
        LOGGER.warning("%s: has no sound; all features are zero and marked", options.frames)
        yield no_windows(len(time_s), extractor.channels)
        return
    if not audio.any():
        LOGGER.warning("%s: its sound is silent from beginning to end", options.frames)
    track = extractor.extract(audio, rate_hz)
    if isinstance(extractor, DeepSpeech):
        yield linear_windows(track, time_s, window_rate_hz, len(time_s) / frame_rate_hz)
    else:
        yield windows_of(frame_windows(resample_track(track, time_s, frame_rate_hz)))


def main(options: Options) -> None:
    """Run the step."""
    check_options(options)
    inputs = {"frames": options.frames}
    if options.path is not None:
        if not options.path.is_file():
            raise InputError(f"{options.path}: no such file; check --path")
        inputs["path"] = options.path
    provenance = make_provenance("preprocessing.audio_features", options, inputs)
    with (
        open_features(options) as windows,
        open_writer(options.out, AUDIO_FEATURES, provenance) as writer,
    ):
        for piece in windows.pieces():
            writer.append("feature", piece)
        writer.put("valid", windows.valid)
    if options.also_npy:
        write_npy(options.out, options.out.with_name(NPY_NAME))


def write_npy(features: Path, out: Path) -> None:
    """Copy the windows of an ``audio_features`` artifact to a ``.npy`` file (frame, 16, channel), piece by piece."""
    partial = out.with_name(f"{out.name}.partial")
    with open_artifact(features, AUDIO_FEATURES) as reader:
        shape = reader.shape("feature")
        try:
            array = np.lib.format.open_memmap(partial, "w+", np.float32, shape)
            for first in range(0, len(array), 500):
                array[first : first + 500] = reader.read("feature", slice(first, first + 500))
            array.flush()
            partial.replace(out)
        finally:
            partial.unlink(missing_ok=True)


if __name__ == "__main__":
    run_step(Options, main)
