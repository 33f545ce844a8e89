"""Step ``sync``: how late the sound of a clip is against the lips, and the shift that would mend it."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS, SYNC
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import open_artifact, write_artifact
from preprocessing.sound.lag import MAX_LAG, LagEstimate, estimate_lag
from preprocessing.sound.mouth import mouth_opening

LOGGER = logging.getLogger(__name__)

# Less is not seen, and is within what lips lead the sound by when people speak.
TOLERATED_FRAMES = 2.0
SURE_CONFIDENCE = 0.99


@dataclass(frozen=True)
class Options:
    """Measure the lag between sound and mouth."""

    frames: Path
    """``frames`` artifact; only its sound and times are read."""
    landmarks: Path
    """``landmarks`` artifact of the same clip."""
    out: Path
    """The ``sync`` artifact to write."""


def is_out_of_step(estimate: LagEstimate) -> bool:
    """Whether the lag is beyond what does not matter, its uncertainty allowed for."""
    return abs(estimate.lag_frames) - estimate.lag_std_frames > TOLERATED_FRAMES


def verdict(estimate: LagEstimate, has_audio: bool, mending_shift_s: float) -> str:
    """One sentence for the log and the reader of the artifact."""
    if not has_audio:
        return "cannot tell: the clip has no sound"
    if not estimate.is_found:
        if not estimate.score.any():
            return "cannot tell: the sound is silent, the mouth does not move, or too little of it is seen"
        return (
            f"cannot tell: within {MAX_LAG} frames the mouth follows the sound no better than by chance "
            f"(score {estimate.score.max():.2f}, by chance {estimate.chance_score:.2f})"
        )
    late = f"{abs(estimate.lag_frames):.1f} ± {estimate.lag_std_frames:.1f} frames"
    late += " late" if estimate.lag_frames >= 0 else " early"
    if abs(estimate.lag_frames) <= TOLERATED_FRAMES:
        return f"in step: the sound is {late}"
    if not is_out_of_step(estimate):
        return (
            f"the sound is {late}, perhaps within the {TOLERATED_FRAMES:g} frames that do not matter; a longer clip "
            "would tell"
        )
    likely = "" if estimate.confidence >= SURE_CONFIDENCE else "probably "
    return (
        f"the sound is {likely}{late} against the lips (confidence {estimate.confidence:.2f}); "
        f"audio_shift_s: {mending_shift_s:.3f} would mend it"
    )


def main(options: Options) -> None:
    """Run the step.

    Raises:
        InputError: the landmarks belong to another clip.
    """
    with open_artifact(options.frames, FRAMES) as reader:
        frame_rate_hz = float(reader.read("frame_rate_hz"))
        n_frames = reader.shape("time_s")[0]
        has_audio = bool(reader.read("has_audio"))
        audio, rate_hz = reader.read("audio"), int(reader.read("audio_rate_hz"))
        applied_s = float(reader.provenance.get("options", {}).get("audio_shift_s", 0.0))
    with open_artifact(options.landmarks, LANDMARKS) as reader:
        points, valid = reader.read("points"), reader.read("valid")
    if len(points) != n_frames:
        raise InputError(
            f"{options.landmarks}: has {len(points)} frames, but {options.frames} has {n_frames}; run landmarks again"
        )
    opening = mouth_opening(points)
    estimate = estimate_lag(opening, valid, audio, rate_hz, frame_rate_hz)
    mending_shift_s = applied_s
    if estimate.is_found:
        mending_shift_s = round(applied_s - estimate.lag_frames / frame_rate_hz, 3)
    sentence = verdict(estimate, has_audio, mending_shift_s)
    if is_out_of_step(estimate):
        LOGGER.warning("%s: %s", options.frames, sentence)
    else:
        sys.stdout.write(f"{options.frames}: {sentence}\n")
    arrays = {
        "lag": estimate.lag.astype(np.int32),
        "score": estimate.score,
        "chance_score": np.float32(estimate.chance_score),
        "confidence": np.float32(estimate.confidence),
        "is_found": np.bool_(estimate.is_found),
        "lag_frames": np.float64(estimate.lag_frames),
        "lag_std_frames": np.float64(estimate.lag_std_frames),
        "is_out_of_step": np.bool_(is_out_of_step(estimate)),
        "audio_shift_s": np.float64(mending_shift_s),
        "verdict": np.str_(sentence),
        "frame_rate_hz": np.float64(frame_rate_hz),
        "mouth_opening": opening.astype(np.float32),
        "mouth_valid": valid,
        "mouth_predicted": estimate.predicted,
        "predicted_valid": estimate.is_used,
    }
    inputs = {"frames": options.frames, "landmarks": options.landmarks}
    write_artifact(
        options.out, SYNC, arrays, make_provenance("preprocessing.sync", options, inputs)
    )


if __name__ == "__main__":
    run_step(Options, main)
