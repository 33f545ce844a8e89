"""Named splits of a clip into training and test frames (METHODS: one name, one definition)."""

from __future__ import annotations

import numpy as np

from artifacts.errors import InputError

# name -> number of test frames at the end of a clip of n frames
_TEST_TAIL = {
    "tail-20": lambda n: round(0.2 * n),
    "insta-350": lambda n: 350,
    "insta-100": lambda n: 100,
    "adnerf-10-1": lambda n: round(n / 11),
}


def split_names() -> list[str]:
    """Every split that config.yaml may name."""
    return sorted([*_TEST_TAIL, "monoavatar-tail", "nerface-1k"])


def split_frames(name: str, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training frames and of the test frames, both int64 and in order.

    ``monoavatar-tail``: the first 1000 frames (1500 of clips of 2000 and more) train, the rest tests.
    ``nerface-1k``: the first 1000 train.

    Raises:
        InputError: unknown name, or a clip too short for the split.
    """
    if name in _TEST_TAIL:
        n_train = n_frames - _TEST_TAIL[name](n_frames)
    elif name == "monoavatar-tail":
        n_train = 1500 if n_frames >= 2000 else 1000
    elif name == "nerface-1k":
        n_train = 1000
    else:
        raise InputError(f"unknown split {name!r}; choose one of {split_names()}")
    if not 1 <= n_train < n_frames:
        raise InputError(
            f"split {name!r} leaves no training or no test frames in a clip of {n_frames} frames; "
            "choose another split or a longer clip"
        )
    return np.arange(n_train), np.arange(n_train, n_frames)
