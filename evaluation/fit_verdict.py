"""Whether a clip is good enough to train on, and what to film differently: every threshold, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Level = Literal["good", "usable", "film again"]


@dataclass(frozen=True)
class Criterion:
    """One thing that makes a clip good or not.

    Attributes:
        title: What is looked at.
        text: What is said of it, with a gap for the value.
        form: Format of the value, with its unit.
        good: The value from which on (or up to which) it is good.
        usable: The value beyond which the clip should be filmed again; None where that is never asked for.
        more_is_better: Whether large values are good.
        why: Why it matters.
        advice: What to film differently.
    """

    title: str
    text: str
    form: str
    good: float
    usable: float | None
    more_is_better: bool
    why: str
    advice: str

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


# By the names of evaluation.fit_review.clip_values. Source: own; the good ends are those of docs/your_own_video.md, of the
# accuracy that the avatars need (a hundredth of the eye distance is a pixel of a head crop of 256), and of clips that
# trained well.
CRITERIA: dict[str, Criterion] = {
    "tracked": Criterion(
        title="Face found",
        text="in {} of the frames",
        form="{:.1%}",
        good=0.98,
        usable=0.8,
        more_is_better=True,
        why="frames without a face are filled in and teach nothing",
        advice="Keep the whole face in the picture, light it, and keep hands and objects away from it.",
    ),
    "length": Criterion(
        title="Length",
        text="{}",
        form="{:.1f} s",
        good=30.0,
        usable=5.0,
        more_is_better=True,
        why="an avatar shows what it has seen",
        advice="Film 30 seconds to 3 minutes.",
    ),
    "nme": Criterion(
        title="Landmarks of the fit",
        text="median NME {} of the eye distance",
        form="{:.4f}",
        good=0.012,
        usable=0.03,
        more_is_better=False,
        why="what the fit misplaces becomes blur",
        advice="Light the face evenly and keep hair, hands and glasses off the eyes and the mouth.",
    ),
    "outline": Criterion(
        title="Outline of the head",
        text="median overlap (IoU) with the matte {}",
        form="{:.3f}",
        good=0.95,
        usable=0.85,
        more_is_better=True,
        why="an outline that is off gives a double edge",
        advice="Use a plain background that differs from hair and skin, and flat hair that stays as it is.",
    ),
    "photometric": Criterion(
        title="Colours explained",
        text="median photometric error {} (0 to 1)",
        form="{:.3f}",
        good=0.035,
        usable=0.08,
        more_is_better=False,
        why="what light and skin do not explain (shadows, shine, blur) is baked into the avatar",
        advice="Use soft light from the front: no hard shadows, no shine, no moving screens.",
    ),
    "light": Criterion(
        title="Steady light",
        text="changes by {} of its median",
        form="{:.0%}",
        good=0.15,
        usable=0.5,
        more_is_better=False,
        why="the avatar has one light; changes of it become flicker",
        advice="Lock the exposure and the white balance, and keep the lamps and the daylight as they are.",
    ),
    "face_size": Criterion(
        title="Size of the face",
        text="{} wide",
        form="{:.0f} px",
        good=200.0,
        usable=48.0,
        more_is_better=True,
        why="detail that was not filmed cannot be learnt",
        advice="Film closer, or with more pixels, so that the face is at least 200 pixels wide.",
    ),
    "blur": Criterion(
        title="Sharpness",
        text="blur {} (0 sharp, 1 blurred)",
        form="{:.2f}",
        good=0.6,
        usable=0.8,
        more_is_better=False,
        why="blur is learnt like everything else",
        advice="Focus on the face, use more light or a shorter exposure, and move slowly.",
    ),
    "white": Criterion(
        title="Highlights",
        text="{} of the face is overexposed",
        form="{:.1%}",
        good=0.02,
        usable=0.15,
        more_is_better=False,
        why="white has no colour left to learn",
        advice="Lower the exposure until no part of the face is plain white.",
    ),
    "black": Criterion(
        title="Shadows",
        text="{} of the face is black",
        form="{:.1%}",
        good=0.05,
        usable=0.3,
        more_is_better=False,
        why="black has no detail left to learn",
        advice="Put more light on the face, from the front.",
    ),
    "yaw": Criterion(
        title="Turning to the sides",
        text="{} in all",
        form="{:.0f}°",
        good=40.0,
        usable=None,
        more_is_better=True,
        why="sides that were not shown are guessed",
        advice="Turn the head slowly up to 30° to each side.",
    ),
    "pitch": Criterion(
        title="Nodding",
        text="{} in all",
        form="{:.0f}°",
        good=20.0,
        usable=None,
        more_is_better=True,
        why="chin and crown that were not shown are guessed",
        advice="Look up and down by 15°, slowly.",
    ),
    "turned_away": Criterion(
        title="Turned too far",
        text="in {} of the frames (beyond 60° to a side or 45° up or down)",
        form="{:.1%}",
        good=0.02,
        usable=0.2,
        more_is_better=False,
        why="landmarks of a profile are guesses",
        advice="Leave out full profiles: 30° to each side is enough.",
    ),
    "mouth": Criterion(
        title="Mouth",
        text="opens by {} of the eye distance",
        form="{:.2f}",
        good=0.2,
        usable=None,
        more_is_better=True,
        why="a mouth that never opened wide has no teeth and no inside",
        advice="Talk, laugh, show the teeth and open the mouth wide.",
    ),
    "blinks": Criterion(
        title="Eyes",
        text="shut {} times",
        form="{:.0f}",
        good=3.0,
        usable=None,
        more_is_better=True,
        why="an avatar that saw no shut eyes cannot shut them",
        advice="Blink as you do, and close the eyes for a second or two.",
    ),
    "unseen": Criterion(
        title="Poses of the test",
        text="up to {} from the nearest training frame",
        form="{:.0f}°",
        good=8.0,
        usable=None,
        more_is_better=False,
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


def judge(values: Mapping[str, float], sync: Mapping[str, np.ndarray] | None) -> Verdict:
    """Judge a clip.

    Args:
        values: Criterion to value, see :func:`evaluation.fit_review.clip_values`; others are not judged.
        sync: Arrays of the ``sync`` artifact; None without one.
    """
    findings = []
    for name, criterion in CRITERIA.items():
        if name not in values:
            continue
        level = criterion.level(values[name])
        advice = "" if level == "good" else criterion.advice
        text = criterion.text.format(criterion.form.format(values[name]))
        findings.append(
            Finding(criterion.title, level, text, criterion.wanted, criterion.why, advice)
        )
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
