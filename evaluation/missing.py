"""Why scores are not there: the first step before them that left no result, and what its log ends with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# Result and log of each step, in order, below results/ and results/logs/.
CLIP_STEPS = ("frames", "landmarks", "matte", "face_fit", "filmed_fit")
MODEL_STEPS = {
    "avatar": "train_avatar",
    "render_self": "render_self",
    "render_self_landmarks": "render_self_landmarks",
    "render_self_fit": "render_fit",
    "scores": "scores",
}
# Logs of what several subjects or only some models need, below results/logs/.
OTHER_LOGS = (
    "assets/*.log",
    "head_models/*.log",
    "synthetic/{subject}.log",
    "{subject}/audio_features.log",
)
ERROR = "error: "


def are_outdated(results: Path, subject: str, model: str) -> bool:
    """True where scores are there, but what they were made of is not, or is newer: they are of an earlier run.

    Args:
        results: The folder ``results``.
        subject: Name of the subject.
        model: Name of the model.
    """
    *before, (_, scores, _) = _steps(results, subject, model)
    if not scores.exists():
        return False
    age = scores.stat().st_mtime_ns
    return any(not made.exists() or made.stat().st_mtime_ns > age for _, made, _ in before)


def why_missing(results: Path, subject: str, model: str) -> str:
    """One sentence on why there are no scores of this run in ``results/<subject>/<model>/scores.h5``.

    A log counts only if it is newer than the results before it: others are of earlier runs.

    Returns:
        The first step without a result that has such a log, and that log's last line; else an error of what several
        subjects share; else the first step without a result.

    Source: own.
    """
    newest, first_absent = 0, ""
    for step, made, log in _steps(results, subject, model):
        if made.exists():
            newest = max(newest, made.stat().st_mtime_ns)
            continue
        first_absent = first_absent or step
        if log.exists() and log.stat().st_mtime_ns >= newest:
            return f"{step}: {_end_of(log)}"
    for pattern in OTHER_LOGS:
        for log in sorted((results / "logs").glob(pattern.replace("{subject}", subject))):
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


def _steps(results: Path, subject: str, model: str) -> Iterator[tuple[str, Path, Path]]:
    """Name, result and log of each step that scores rest on."""
    logs = results / "logs" / subject
    for step in CLIP_STEPS:
        yield step, results / subject / f"{step}.h5", logs / f"{step}.log"
    for made, step in MODEL_STEPS.items():
        yield step, results / subject / model / f"{made}.h5", logs / model / f"{step}.log"
