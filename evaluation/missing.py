"""Why scores are not there: the first step before them that left no result, and what its log ends with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# Result and log of each step, in order, below results/ and results/logs/.
CLIP_STEPS = ("frames", "landmarks", "matte", "face_fit", "filmed_fit", "audio_features")
MODEL_STEPS = {
    "avatar": "train_avatar",
    "render_self": "render_self",
    "render_self_landmarks": "render_self_landmarks",
    "render_self_fit": "render_fit",
    "scores": "scores",
}
ERROR = "error: "


def why_missing(results: Path, subject: str, model: str) -> str:
    """One sentence on why ``results/<subject>/<model>/scores.h5`` is not there.

    Args:
        results: The folder ``results``.
        subject: Name of the subject.
        model: Name of the model.

    Returns:
        The step and the last line of its log; where no log says an error, the first step without a result.

    Source: own.
    """
    absent = [
        (step, log) for step, made, log in _steps(results, subject, model) if not made.exists()
    ]
    for step, log in absent:
        last = last_line(log)
        if last.startswith(ERROR):
            return f"{step}: {last.removeprefix(ERROR)}"
    for step, log in absent:
        last = last_line(log)
        if last:
            return f"{step} was cut off or failed; its log {log} ends with {last!r}"
    return f"{absent[0][0]} was not run" if absent else "it was not made yet"


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
