"""Text from character logits."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from jaxtyping import Float32

# The order of DeepSpeech's English alphabet; the blank comes after it.
ALPHABET = " abcdefghijklmnopqrstuvwxyz'"
BLANK = len(ALPHABET)


def greedy_text(logits: Float32[np.ndarray, "step 29"]) -> str:
    """The most likely character of every step, repetitions joined and blanks left out.

    Source: Graves et al., Connectionist Temporal Classification (ICML 2006), best path decoding (section 3.2).
    """
    characters = [int(key) for key, _ in groupby(logits.argmax(axis=1))]
    return "".join(ALPHABET[index] for index in characters if index != BLANK)


def edit_distance(first: str, second: str) -> int:
    """Fewest insertions, deletions and replacements of characters that turn one text into the other.

    Source: Levenshtein (1966), by the usual recursion over prefixes.
    """
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, 1):
        previous, row = row, [i]
        for j, right in enumerate(second, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (left != right)))
    return row[-1]
