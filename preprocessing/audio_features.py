"""Step ``audio_features``: a window of 16 feature vectors of the sound around each video frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from artifacts.kinds import AUDIO_FEATURES, FRAMES
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import open_artifact, write_artifact
from preprocessing.audio_feature_kinds import (
    WINDOW_FRAMES,
    audio_feature,
    frame_windows,
    resample_track,
)


@dataclass(frozen=True)
class Options:
    """Make audio features for every frame of a clip."""

    frames: Path
    """``frames`` artifact; only its sound and times are read."""
    out: Path
    """The ``audio_features`` artifact to write."""
    kind: str = "log_mel"
    """Kind of features (log_mel)."""


def compute_windows(
    frames: Path, kind: str
) -> tuple[Float32[np.ndarray, "frame 16 channel"], Bool[np.ndarray, " frame"]]:
    """Windows and validity of every frame; zeros and False where the clip has no sound."""
    extractor = audio_feature(kind)
    with open_artifact(frames, FRAMES) as reader:
        time_s = reader.read("time_s")
        frame_rate_hz = float(reader.read("frame_rate_hz"))
        has_audio = bool(reader.read("has_audio"))
        audio, rate_hz = reader.read("audio"), int(reader.read("audio_rate_hz"))
    valid = np.full(len(time_s), has_audio)
    if not has_audio:
        shape = (len(time_s), WINDOW_FRAMES, extractor.channels)
        return np.zeros(shape, dtype=np.float32), valid
    track = extractor.extract(audio, rate_hz)
    return frame_windows(resample_track(track, time_s, frame_rate_hz)), valid


def main(options: Options) -> None:
    """Run the step."""
    feature, valid = compute_windows(options.frames, options.kind)
    provenance = make_provenance(
        "preprocessing.audio_features", options, {"frames": options.frames}
    )
    write_artifact(options.out, AUDIO_FEATURES, {"feature": feature, "valid": valid}, provenance)


if __name__ == "__main__":
    run_step(Options, main)
