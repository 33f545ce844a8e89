"""Named splits of a clip into training and test frames: one name and version, one definition (METHODS, section 6)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from artifacts.errors import InputError

# Name to its definitions, one for each version, the first one first: how many of a clip's n frames train; the rest, at
# its end, tests. A definition that has been used stays as it is; a better one is a further version.
_TRAINING_FRAMES: dict[str, tuple[Callable[[int], int], ...]] = {
    "adnerf-10-1": (lambda n: n - round(n / 11),),
    "insta-100": (lambda n: n - 100,),
    "insta-350": (lambda n: n - 350,),
    "monoavatar-tail": (lambda n: 1500 if n >= 2000 else 1000,),
    "nerface-1k": (lambda n: 1000,),
    "tail-20": (lambda n: n - round(0.2 * n),),
}


def split_names() -> list[str]:
    """Every split that config.yaml may name: each in its newest version, and older versions with their number."""
    older = [
        f"{name}@{version}"
        for name, versions in _TRAINING_FRAMES.items()
        for version in range(1, len(versions))
    ]
    return sorted([*_TRAINING_FRAMES, *older])


def versioned_split(name: str) -> str:
    """A split's name with its version, such as ``tail-20@1``: what artifacts and tables say.

    Args:
        name: With a version, or without for the newest one.

    Raises:
        InputError: there is no such split, or it has no such version.
    """
    bare, sign, version = name.partition("@")
    if bare not in _TRAINING_FRAMES:
        raise InputError(f"unknown split {name!r}; choose one of {split_names()}")
    newest = len(_TRAINING_FRAMES[bare])
    if not sign:
        return f"{bare}@{newest}"
    if version not in map(str, range(1, newest + 1)):
        raise InputError(f"split {name!r}: there are versions 1 to {newest} of {bare}")
    return name


def split_frames(name: str, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training frames and of the test frames, both int64 and in order.

    ``monoavatar-tail``: the first 1000 frames (1500 of clips of 2000 and more) train, the rest tests.
    ``nerface-1k``: the first 1000 train.

    Args:
        name: As for :func:`versioned_split`.
        n_frames: Length of the clip.

    Raises:
        InputError: unknown name or version, or a clip too short for the split.
    """
    bare, _, version = versioned_split(name).partition("@")
    n_train = _TRAINING_FRAMES[bare][int(version) - 1](n_frames)
    if not 1 <= n_train < n_frames:
        raise InputError(
            f"split {name!r} leaves no training or no test frames in a clip of {n_frames} frames; "
            "choose another split or a longer clip"
        )
    return np.arange(n_train), np.arange(n_train, n_frames)
