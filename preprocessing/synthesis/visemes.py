"""Mouth shapes of speech: phonemes to visemes to facial actions, neighbours shaping each other (coarticulation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from preprocessing.synthesis.speech import Speech

# A mouth shape begins to be felt this long before and after its phoneme, and rules it within this share of it; lips that
# must meet do so quickly.
FADE_S = 0.045
QUICK_FADE_S = 0.018
PLATEAU_SHARE = 0.5
REACH_S = 0.5
# How much a shape insists on an action that it does not name: a consonant lets the lips keep a vowel's rounding.
INDIFFERENCE = 0.12

_BOTH = ("Left", "Right")


@dataclass(frozen=True)
class Viseme:
    """A mouth shape.

    Attributes:
        target: Coefficient of each facial action (ARKit names; a name without its side means both sides).
        dominance: How strongly the shape insists on them against its neighbours; 1 is a vowel.
        fade_s: How soon that ends before and after the phoneme.
    """

    target: dict[str, float]
    dominance: float = 1.0
    fade_s: float = FADE_S


VISEMES: dict[str, Viseme] = {
    "rest": Viseme({"jawOpen": 0.0, "mouthLowerDown": 0.0, "mouthStretch": 0.0}, 0.8),
    "lips": Viseme(
        {
            "jawOpen": 0.05,
            "mouthClose": 0.05,
            "mouthPress": 0.25,
            "mouthRollLower": 0.12,
            "mouthRollUpper": 0.1,
            "mouthLowerDown": 0.0,
            "mouthUpperUp": 0.0,
            "mouthFunnel": 0.0,
        },
        12.0,
        QUICK_FADE_S,
    ),
    "lip_teeth": Viseme(
        {"jawOpen": 0.05, "mouthRollLower": 0.35, "mouthUpperUp": 0.25, "mouthLowerDown": 0.0},
        6.0,
        QUICK_FADE_S,
    ),
    "tongue_teeth": Viseme(
        {"jawOpen": 0.11, "tongueOut": 0.12, "mouthLowerDown": 0.25, "mouthUpperUp": 0.15}, 1.4
    ),
    "tongue": Viseme({"jawOpen": 0.09, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1}, 0.7),
    "hiss": Viseme(
        {"jawOpen": 0.04, "mouthStretch": 0.2, "mouthLowerDown": 0.35, "mouthUpperUp": 0.2}, 1.3
    ),
    "hush": Viseme(
        {"jawOpen": 0.06, "mouthFunnel": 0.6, "mouthPucker": 0.15, "mouthLowerDown": 0.2}, 1.5
    ),
    "r": Viseme({"jawOpen": 0.07, "mouthPucker": 0.3, "mouthFunnel": 0.2}, 0.8),
    "w": Viseme({"jawOpen": 0.05, "mouthPucker": 0.8, "mouthFunnel": 0.1}, 1.6),
    "throat": Viseme({"jawOpen": 0.1, "mouthLowerDown": 0.1}, 0.4),
    "ah": Viseme({"jawOpen": 0.36, "mouthLowerDown": 0.3, "mouthUpperUp": 0.15}),
    "ae": Viseme(
        {"jawOpen": 0.3, "mouthStretch": 0.2, "mouthLowerDown": 0.35, "mouthUpperUp": 0.25}
    ),
    "eh": Viseme({"jawOpen": 0.22, "mouthStretch": 0.2, "mouthLowerDown": 0.3}),
    "ih": Viseme(
        {"jawOpen": 0.13, "mouthStretch": 0.15, "mouthSmile": 0.08, "mouthLowerDown": 0.2}
    ),
    "ee": Viseme(
        {"jawOpen": 0.08, "mouthStretch": 0.3, "mouthSmile": 0.18, "mouthLowerDown": 0.25}
    ),
    "uh": Viseme({"jawOpen": 0.15, "mouthLowerDown": 0.15}, 0.6),
    "aw": Viseme({"jawOpen": 0.28, "mouthFunnel": 0.4, "mouthPucker": 0.1}),
    "oh": Viseme({"jawOpen": 0.18, "mouthFunnel": 0.3, "mouthPucker": 0.4}),
    "oo": Viseme({"jawOpen": 0.07, "mouthPucker": 0.75, "mouthFunnel": 0.15}, 1.2),
}

# Letters of the International Phonetic Alphabet. What is not listed is spoken with the tongue or the throat.
_LETTERS: dict[str, str] = {
    "lips": "pbmɓɸβ",
    "lip_teeth": "fvɱʋ",
    "tongue_teeth": "θð",
    "tongue": "tdnlɾɫɗʈɖɳɭɲʎɬɮ",
    "hiss": "szʂʐɕʑ",
    "hush": "ʃʒ",
    "r": "rɹɻʀʁɽ",
    "w": "wʍɥ",
    "throat": "kɡgŋhxɣqħʕʔɴχɦç",
    "ah": "aɑɐʌɒ",
    "ae": "æ",
    "eh": "eɛ",
    "ih": "ɪᵻɨj",
    "ee": "iyʏ",
    "uh": "əɚɜɝɘɵɞ",
    "aw": "ɔœɶ",
    "oh": "oøɤ",
    "oo": "uʊʉɯ",
}
VISEME_OF_LETTER = {letter: name for name, letters in _LETTERS.items() for letter in letters}


def visemes_of(phoneme: str) -> list[str]:
    """Names of the mouth shapes of one phoneme, one after the other (a diphthong has two, ``tʃ`` as well).

    Args:
        phoneme: IPA text, empty for silence; length marks and accents do not count.
    """
    shapes = [VISEME_OF_LETTER[letter] for letter in phoneme if letter in VISEME_OF_LETTER]
    if shapes:
        return shapes
    return ["throat"] if phoneme.strip() else ["rest"]


@dataclass(frozen=True)
class MouthTrack:
    """Every mouth shape of a speech, in order: when it rules, what it wants, how much it insists."""

    middle_s: Float64[np.ndarray, " shape"]
    half_plateau_s: Float64[np.ndarray, " shape"]
    target: Float64[np.ndarray, "shape action"]
    dominance: Float64[np.ndarray, "shape action"]
    fade_s: Float64[np.ndarray, " shape"]

    def at(self, time_s: float) -> Float64[np.ndarray, " action"]:
        """Coefficients of the facial actions at one time.

        Source: Cohen and Massaro, Modeling coarticulation in synthetic visual speech (1993): the mean of
        the targets, weighted by dominance functions that fall off exponentially; with a plateau (own).
        """
        first, last = np.searchsorted(self.middle_s, [time_s - REACH_S, time_s + REACH_S])
        near = slice(max(int(first) - 1, 0), int(last) + 1)
        away = np.maximum(np.abs(time_s - self.middle_s[near]) - self.half_plateau_s[near], 0)
        faded = away / self.fade_s[near]
        # Relative to the nearest one, so that a long silence does not end in 0 / 0.
        weight = self.dominance[near] * np.exp(faded.min() - faded)[:, None]
        return (weight * self.target[near]).sum(0) / weight.sum(0)


def make_mouth_track(speech: Speech, actions: Sequence[str], liveliness: float = 1.0) -> MouthTrack:
    """The mouth shapes of a speech.

    Args:
        speech: Phonemes with times.
        actions: Names of the head model's facial actions, with their sides.
        liveliness: Scales every target but the closing of the lips.
    """
    row = {name: _action_row(viseme, actions, liveliness) for name, viseme in VISEMES.items()}
    middles, plateaus, targets, dominances, fades = [], [], [], [], []
    for phoneme, start, end in zip(speech.phoneme, speech.start_s, speech.end_s, strict=True):
        shapes = visemes_of(phoneme)
        length = (end - start) / len(shapes)
        for place, name in enumerate(shapes):
            middles.append(start + (place + 0.5) * length)
            plateaus.append(0.5 * PLATEAU_SHARE * length)
            target, dominance = row[name]
            targets.append(target)
            dominances.append(dominance)
            fades.append(VISEMES[name].fade_s)
    return MouthTrack(
        np.array(middles),
        np.array(plateaus),
        np.stack(targets),
        np.stack(dominances),
        np.array(fades),
    )


def _action_row(
    viseme: Viseme, actions: Sequence[str], liveliness: float
) -> tuple[Float[np.ndarray, " action"], Float[np.ndarray, " action"]]:
    target, dominance = np.zeros(len(actions)), np.full(len(actions), INDIFFERENCE)
    scale = 1.0 if "mouthClose" in viseme.target else liveliness
    for name, value in viseme.target.items():
        for full in (name, *(name + side for side in _BOTH)):
            if full in actions:
                target[actions.index(full)] = scale * value
                dominance[actions.index(full)] = viseme.dominance
    return target, dominance
