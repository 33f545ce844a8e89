"""Step ``driver_sound``: a sound file as a driver, for avatars that are driven by sound."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from artifacts.errors import InputError
from artifacts.kinds import FRAMES
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import write_artifact
from media.video import decode_sound_file
from preprocessing.importing.frames import AUDIO_RATE_HZ, frames_without_pictures
from preprocessing.sound.speech_check import SPEECH_MODULATION, peak_level_db, syllable_modulation

LOGGER = logging.getLogger(__name__)

# Two thirds of a second are in the window of a single frame (16 at 25 Hz).
MIN_DURATION_S = 1.0
# Below this the loudest moment is the noise of the recorder.
MIN_PEAK_DB = -60.0


@dataclass(frozen=True)
class Options:
    """Make a driver from a sound alone."""

    wav: Path
    """The sound: WAV, or what else ffmpeg reads; any rate, any number of channels."""
    out: Path
    """``frames`` artifact to write: the times of the video to make and the sound, no pictures."""
    frame_rate_hz: float = 25.0
    """Frames per second of the video to make: that of the clips that the avatars were trained on."""


def main(options: Options) -> None:
    """Read, check, write.

    Raises:
        InputError: the sound cannot be read, is too short or silent, or the rate is impossible.
    """
    if not 0 < options.frame_rate_hz <= 240:
        raise InputError(
            f"--frame-rate-hz {options.frame_rate_hz:g} must be above 0 and at most 240; give that of the subject's clip"
        )
    sound = decode_sound_file(options.wav, AUDIO_RATE_HZ)
    provenance = make_provenance("preprocessing.driver_sound", options, {"wav": options.wav})
    if warning := check_sound(sound, options.wav):
        LOGGER.warning("%s", warning)
        provenance["warning"] = warning
    n_frames = math.ceil(len(sound) / AUDIO_RATE_HZ * options.frame_rate_hz)
    n_samples = round(n_frames / options.frame_rate_hz * AUDIO_RATE_HZ)
    padded = np.pad(sound[:n_samples], (0, max(0, n_samples - len(sound))))
    time_s = np.arange(n_frames) / options.frame_rate_hz
    arrays = frames_without_pictures(time_s, options.frame_rate_hz, padded)
    write_artifact(options.out, FRAMES, arrays, provenance)
    LOGGER.info("%s: %d frames at %g Hz", options.wav.name, n_frames, options.frame_rate_hz)


def check_sound(sound: Int16[np.ndarray, " sample"], path: Path) -> str:
    """Whether the sound can drive a face.

    Returns:
        What speaks against it, one sentence; empty where nothing does.

    Raises:
        InputError: it is too short, or silent.
    """
    duration_s = len(sound) / AUDIO_RATE_HZ
    if duration_s < MIN_DURATION_S:
        raise InputError(
            f"{path}: lasts {duration_s:.2f} s, but a sound that drives must last at least {MIN_DURATION_S:g} s; "
            "give a longer recording"
        )
    peak_db = peak_level_db(sound, AUDIO_RATE_HZ)
    if peak_db < MIN_PEAK_DB:
        level = "is silent" if np.isinf(peak_db) else f"reaches only {peak_db:.0f} dB of full scale"
        raise InputError(
            f"{path}: {level}, so there is no speech in it; give a recording of at least {MIN_PEAK_DB:g} dB"
        )
    modulation = syllable_modulation(sound, AUDIO_RATE_HZ)
    if modulation < SPEECH_MODULATION:
        return (
            f"{path.name}: does not sound like speech (its loudness follows the rhythm of syllables by "
            f"{modulation:.2f}, speech by more than {SPEECH_MODULATION:g}); the mouth will move without sense"
        )
    return ""


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_step(Options, main)
