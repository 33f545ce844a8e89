"""Stretches of frames: where a mark is set, and how to say so."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

_NAMED = 8


def runs(flags: Bool[np.ndarray, " frame"]) -> list[tuple[int, int]]:
    """Stretches of True as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def name_frames(flags: Bool[np.ndarray, " frame"]) -> str:
    """The frames that are True in words, such as "frames 3, 40 to 65"; at most eight stretches are named."""
    found = runs(flags)
    if not found:
        return "no frame"
    named = [
        f"{start} to {stop - 1}" if stop - start > 1 else str(start)
        for start, stop in found[:_NAMED]
    ]
    more = len(found) - _NAMED
    rest = f" and {more} more {'stretches' if more > 1 else 'stretch'}" if more > 0 else ""
    word = "frame" if flags.sum() == 1 else "frames"
    return f"{word} {', '.join(named)}{rest}"
