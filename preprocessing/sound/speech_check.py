"""Whether a sound may be speech: how loud it is, and whether its loudness moves at the rate of syllables."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int16

from preprocessing.audio_feature_kinds import FULL_SCALE

PIECE_RATE_HZ = 100
SYLLABLES_HZ = (2.0, 8.0)
# Measured: the speech of two people and of espeak-ng .53 to .82, 1.5 s of it too; noises .02 to .17, tones, chords and
# hum below .03. Music with a beat passes (.67): it is not told from speech.
SPEECH_MODULATION = 0.3


def loudness(sound: Int16[np.ndarray, " sample"], rate_hz: int) -> Float64[np.ndarray, " piece"]:
    """Root mean square of every hundredth of a second; 1 is full scale."""
    length = rate_hz // PIECE_RATE_HZ
    pieces = sound[: len(sound) // length * length].reshape(-1, length)
    energy = np.einsum("ps,ps->p", pieces, pieces, dtype=np.float64)
    return np.sqrt(energy / length) / FULL_SCALE


def peak_level_db(sound: Int16[np.ndarray, " sample"], rate_hz: int) -> float:
    """Level of the loudest hundredth of a second in decibels of full scale; minus infinity for silence."""
    peak = float(loudness(sound, rate_hz).max(initial=0.0))
    return 20 * np.log10(peak) if peak > 0 else -np.inf


def syllable_modulation(sound: Int16[np.ndarray, " sample"], rate_hz: int) -> float:
    """How much the loudness varies at 2 to 8 Hz: root mean square of that band over the mean.

    0 for a steady sound and for silence; a full sine at 4 Hz has 0.71.

    Source: own, after the 4 Hz modulation energy of Scheirer and Slaney (1997), without their filter bank.
    """
    envelope = loudness(sound, rate_hz)
    if not envelope.any():
        return 0.0
    spectrum = np.abs(np.fft.rfft(envelope)) / envelope.sum()
    frequency_hz = np.fft.rfftfreq(len(envelope), 1 / PIECE_RATE_HZ)
    band = (frequency_hz >= SYLLABLES_HZ[0]) & (frequency_hz <= SYLLABLES_HZ[1])
    return float(np.sqrt(2 * (spectrum[band] ** 2).sum()))
