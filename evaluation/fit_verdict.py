"""Whether a clip is good enough to train on, and what to film differently: every threshold, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Level = Literal["good", "usable", "film again"]


@dataclass(frozen=True)
class Bound:
    """How good a number is; made by :func:`at_least` or :func:`at_most`.

    Attributes:
        form: Format of the number, with its unit.
        good: The value from which on (or up to which) it is good.
        usable: The value beyond which the clip should be filmed again; None where that is never asked for.
        more_is_better: Whether large values are good.
    """

    form: str
    good: float
    usable: float | None
    more_is_better: bool

    @property
    def wanted(self) -> str:
        """What would be good, in words."""
        bound = "at least" if self.more_is_better else "at most"
        return f"{bound} {self.form.format(self.good)}"

    def level(self, value: float) -> Level:
        """How good a value is."""
        sign = 1 if self.more_is_better else -1
        if sign * value >= sign * self.good:
            return "good"
        if self.usable is None or sign * value >= sign * self.usable:
            return "usable"
        return "film again"


def at_least(form: str, good: float, usable: float | None = None) -> Bound:
    """Large values are good."""
    return Bound(form, good, usable, more_is_better=True)


def at_most(form: str, good: float, usable: float | None = None) -> Bound:
    """Small values are good."""
    return Bound(form, good, usable, more_is_better=False)


@dataclass(frozen=True)
class Criterion:
    """One thing that makes a clip good or not.

    Attributes:
        title: What is looked at.
        text: What is said of it, with a gap for the value.
        bound: Which values are good, and which still usable.
        why: Why it matters.
        advice: What to film differently.
    """

    title: str
    text: str
    bound: Bound
    why: str
    advice: str


# By the names of evaluation.fit_review.clip_values. Source: own; the good ends are those of docs/your_own_video.md, of the
# accuracy that the avatars need (a hundredth of the eye distance is a pixel of a head crop of 256), and of clips that
# trained well.
CRITERIA: dict[str, Criterion] = {
    "tracked": Criterion(
        "Face found",
        "in {} of the frames",
        at_least("{:.1%}", 0.98, 0.8),
        why="frames without a face are filled in and teach nothing",
        advice="Keep the whole face in the picture, light it, and keep hands and objects away from it.",
    ),
    "unexplained": Criterion(
        "Nothing before the face",
        "{} of the frames are not explained by the head: a hand or an object before the face, or a profile?",
        at_most("{:.1%}", 0.01, 0.2),
        why="such frames are filled in, left out of the training, and missed by the avatar",
        advice="Keep hands, cups and microphones away from the face, and do not turn to a full profile.",
    ),
    "length": Criterion(
        "Length",
        "{}",
        at_least("{:.1f} s", 30.0, 5.0),
        why="an avatar shows what it has seen",
        advice="Film 30 seconds to 3 minutes.",
    ),
    "nme": Criterion(
        "Landmarks of the fit",
        "median NME {} of the eye distance",
        at_most("{:.4f}", 0.012, 0.03),
        why="what the fit misplaces becomes blur",
        advice="Light the face evenly and keep hair, hands and glasses off the eyes and the mouth.",
    ),
    "outline": Criterion(
        "Outline of the head",
        "median overlap (IoU) with the matte {}",
        at_least("{:.3f}", 0.95, 0.85),
        why="an outline that is off gives a double edge",
        advice="Use a plain background that differs from hair and skin, and flat hair that stays as it is.",
    ),
    "photometric": Criterion(
        "Colours explained",
        "median photometric error {} (0 to 1)",
        at_most("{:.3f}", 0.035, 0.08),
        why="what light and skin do not explain (shadows, shine, blur) is baked into the avatar",
        advice="Use soft light from the front: no hard shadows, no shine, no moving screens.",
    ),
    "light": Criterion(
        "Steady light",
        "changes by {} of its median",
        at_most("{:.0%}", 0.15, 0.5),
        why="the avatar has one light; changes of it become flicker",
        advice="Lock the exposure and the white balance, and keep the lamps and the daylight as they are.",
    ),
    "face_size": Criterion(
        "Size of the face",
        "{} wide",
        at_least("{:.0f} px", 200.0, 48.0),
        why="detail that was not filmed cannot be learnt",
        advice="Film closer, or with more pixels, so that the face is at least 200 pixels wide.",
    ),
    "blur": Criterion(
        "Sharpness",
        "blur {} (0 sharp, 1 blurred)",
        at_most("{:.2f}", 0.6, 0.8),
        why="blur is learnt like everything else",
        advice="Focus on the face, use more light or a shorter exposure, and move slowly.",
    ),
    "white": Criterion(
        "Highlights",
        "{} of the face is overexposed",
        at_most("{:.1%}", 0.02, 0.15),
        why="white has no colour left to learn",
        advice="Lower the exposure until no part of the face is plain white.",
    ),
    "black": Criterion(
        "Shadows",
        "{} of the face is black",
        at_most("{:.1%}", 0.05, 0.3),
        why="black has no detail left to learn",
        advice="Put more light on the face, from the front.",
    ),
    "yaw": Criterion(
        "Turning to the sides",
        "{} in all",
        at_least("{:.0f}°", 40.0),
        why="sides that were not shown are guessed",
        advice="Turn the head slowly up to 30° to each side.",
    ),
    "pitch": Criterion(
        "Nodding",
        "{} in all",
        at_least("{:.0f}°", 20.0),
        why="chin and crown that were not shown are guessed",
        advice="Look up and down by 15°, slowly.",
    ),
    "turned_away": Criterion(
        "Turned too far",
        "in {} of the frames (beyond 60° to a side or 45° up or down)",
        at_most("{:.1%}", 0.02, 0.2),
        why="landmarks of a profile are guesses",
        advice="Leave out full profiles: 30° to each side is enough.",
    ),
    "mouth": Criterion(
        "Mouth",
        "opens by {} of the eye distance",
        at_least("{:.2f}", 0.2),
        why="a mouth that never opened wide has no teeth and no inside",
        advice="Talk, laugh, show the teeth and open the mouth wide.",
    ),
    "blinks": Criterion(
        "Eyes",
        "shut {} times",
        at_least("{:.0f}", 3.0),
        why="an avatar that saw no shut eyes cannot shut them",
        advice="Blink as you do, and close the eyes for a second or two.",
    ),
    "unseen": Criterion(
        "Poses of the test",
        "up to {} from the nearest training frame",
        at_most("{:.0f}°", 8.0),
        why="scores of poses that were never shown say little",
        advice="Let the last part of the clip resemble the rest, or choose another split.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One criterion on one clip.

    Attributes:
        title: What was looked at.
        level: How good it is; empty where it could not be measured.
        text: What was measured.
        wanted: What would be good.
        why: Why it matters.
        advice: What to do about it; empty where it is good.
    """

    title: str
    level: Level | Literal[""]
    text: str
    wanted: str
    why: str
    advice: str


@dataclass(frozen=True)
class Verdict:
    """The judgement of a clip: the worst level of all findings, in one sentence, and the findings."""

    level: Level
    sentence: str
    findings: tuple[Finding, ...]

    @property
    def advice(self) -> list[str]:
        """What to do differently, the gravest first."""
        order = ("film again", "usable")
        return [found.advice for level in order for found in self.findings if found.level == level]


def judge(
    values: Mapping[str, float],
    sync: Mapping[str, np.ndarray] | None,
    notes: Mapping[str, str] | None = None,
) -> Verdict:
    """Judge a clip.

    Args:
        values: Criterion to value, see :func:`evaluation.fit_review.clip_values`; others are not judged.
        sync: Arrays of the ``sync`` artifact; None without one.
        notes: What is to be added to the text of a criterion that is not good: which frames, say.
    """
    findings = []
    for name, criterion in CRITERIA.items():
        if name not in values:
            continue
        bound = criterion.bound
        level = bound.level(values[name])
        advice = "" if level == "good" else criterion.advice
        text = criterion.text.format(bound.form.format(values[name]))
        if level != "good" and notes is not None and name in notes:
            text = f"{text} ({notes[name]})"
        findings.append(Finding(criterion.title, level, text, bound.wanted, criterion.why, advice))
    if sync is not None:
        findings.append(sync_finding(sync))
    levels = [finding.level for finding in findings]
    level: Level = "good"
    for worse in ("usable", "film again"):
        level = worse if worse in levels else level
    return Verdict(level, _sentence(level, findings), tuple(findings))


def _sentence(level: Level, findings: list[Finding]) -> str:
    concerned = [finding.title.lower() for finding in findings if finding.level == level]
    match level:
        case "good":
            return "This clip is good enough to train on."
        case "usable":
            return f"This clip can be trained on; it would be better with more care for: {', '.join(concerned)}."
        case _:
            return f"Film this clip again, because of: {', '.join(concerned)}."


def sync_finding(sync: Mapping[str, np.ndarray]) -> Finding:
    """Whether sound and lips are in step; a shift mends it, so nothing has to be filmed again."""
    is_out = bool(sync["is_out_of_step"])
    level: Level | Literal[""] = "usable" if is_out else "good"
    shift_s = float(sync["audio_shift_s"])
    return Finding(
        title="Sound and lips",
        level=level if bool(sync["is_found"]) else "",
        text=str(sync["verdict"]),
        wanted="at most 2 frames",
        why="an avatar driven by sound would speak too early or too late",
        advice=(
            f"Set audio_shift_s: {shift_s:.3f} for this subject in config.yaml; the clip itself may stay."
            if is_out
            else ""
        ),
    )
