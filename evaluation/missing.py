"""Why scores are not there: the first step before them that left no result, and what its log ends with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Result and log of each step, in order, below results/ and results/logs/.
CLIP_STEPS = ("frames", "landmarks", "matte", "face_fit", "filmed_fit", "picture_features")
MODEL_STEPS = {
    "avatar": "train_avatar",
    "render_self": "render_self",
    "render_self_landmarks": "render_self_landmarks",
    "render_self_fit": "render_fit",
    "render_self_features": "render_features",
    "scores": "scores",
}
# The same of a render that another person drives, below cross/<driver>/ and after cross_<driver>_.
CROSS_STEPS = ("landmarks", "fit", "features", "scores")
# Only made where FID or CSIM are wanted.
OPTIONAL = ("picture_features", "render_features", "features")
# Logs of what several subjects or only some models need, below results/logs/.
OTHER_LOGS = (
    "assets/*.log",
    "head_models/*.log",
    "synthetic/{subject}.log",
    "{subject}/audio_features.log",
)
ERROR = "error: "


@dataclass(frozen=True)
class Step:
    """One step before the scores, its result and its log."""

    name: str
    made: Path
    log: Path

    @property
    def counts(self) -> bool:
        """False for an optional step that nobody asked for: it left neither a result nor a log."""
        return self.name not in OPTIONAL or self.made.exists() or self.log.exists()


def are_outdated(results: Path, subject: str, model: str, driver: str = "") -> bool:
    """True where scores are there, but what they were made of is not, or is newer: they are of an earlier run.

    Args:
        results: The folder ``results``.
        subject: Name of the subject.
        model: Name of the model.
        driver: Who drives the render; empty for the subject.
    """
    *before, scores = _steps(results, subject, model, driver)
    if not scores.made.exists():
        return False
    age = scores.made.stat().st_mtime_ns
    return any(not step.made.exists() or step.made.stat().st_mtime_ns > age for step in before)


def why_missing(results: Path, subject: str, model: str, driver: str = "") -> str:
    """One sentence on why there are no scores of this run of a subject and model, or of its render that ``driver`` drives.

    A log counts only if it is newer than the results before it: others are of earlier runs.

    Returns:
        The first step without a result that has such a log, and that log's last line; else an error of what several
        subjects share; else the first step without a result.

    Source: own.
    """
    newest, first_absent = 0, ""
    for step in _steps(results, subject, model, driver):
        if step.made.exists():
            newest = max(newest, step.made.stat().st_mtime_ns)
            continue
        first_absent = first_absent or step.name
        if step.log.exists() and step.log.stat().st_mtime_ns >= newest:
            return f"{step.name}: {_end_of(step.log)}"
    for pattern in OTHER_LOGS:
        for log in sorted((results / "logs").glob(pattern.replace("{subject}", driver or subject))):
            if last_line(log).startswith(ERROR) and log.stat().st_mtime_ns >= newest:
                return f"{log.parent.name}/{log.stem}: {_end_of(log)}"
    if not first_absent:
        return "its scores are older than what they are made of"
    return f"{first_absent} was not run"


def _end_of(log: Path) -> str:
    last = last_line(log)
    if last.startswith(ERROR):
        return last.removeprefix(ERROR)
    return f"was cut off or failed; its log {log} ends with {last!r}"


def last_line(log: Path) -> str:
    """Last line of a log that is not empty; empty where there is no log."""
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _steps(results: Path, subject: str, model: str, driver: str) -> Iterator[Step]:
    """The steps that scores rest on, the scores last; of a render that another drives, also those of the driver's clip."""
    for step in _all_steps(results, subject, model, driver):
        if step.counts:
            yield step


def _all_steps(results: Path, subject: str, model: str, driver: str) -> Iterator[Step]:
    folder, logs = results / subject / model, results / "logs" / subject / model
    for person in dict.fromkeys([subject, driver or subject]):
        for step in CLIP_STEPS:
            log = results / "logs" / person / f"{step}.log"
            yield Step(step, results / person / f"{step}.h5", log)
    if not driver:
        for made, step in MODEL_STEPS.items():
            yield Step(step, folder / f"{made}.h5", logs / f"{step}.log")
        return
    yield Step("train_avatar", folder / "avatar.h5", logs / "train_avatar.log")
    render = f"render_cross_{driver}"
    yield Step(render, folder / f"{render}.h5", logs / f"{render}.log")
    for step in CROSS_STEPS:
        made = folder / "cross" / driver / f"{step}.h5"
        yield Step(step, made, logs / f"cross_{driver}_{step}.log")
