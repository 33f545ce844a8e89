"""How much a rendered face looks like the person, from unit embeddings of a face recognition network."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

Embeddings = Float[np.ndarray, "frame feature"]


def cosine(
    first: Embeddings, second: Float[np.ndarray, "#frame feature"]
) -> Float[np.ndarray, " frame"]:
    """CSIM: cosine of corresponding unit embeddings, or of each with one."""
    return (first.astype(np.float64) * second).sum(-1)


def mean_direction(embeddings: Embeddings) -> Float[np.ndarray, " feature"]:
    """The unit vector along the mean of unit embeddings."""
    mean = embeddings.astype(np.float64).mean(0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def identity_drift(embeddings: Embeddings, valid: Bool[np.ndarray, " frame"]) -> float | None:
    """How far the identity wanders from the first quarter of the frames to the last: 1 - cosine of their mean directions.

    Args:
        embeddings: Unit embeddings, in the order of time.
        valid: False where there is none.

    Returns:
        None where a quarter holds no embedding, or there are fewer than four frames.

    Source: own.
    """
    quarter = len(embeddings) // 4
    ends = (slice(0, quarter), slice(len(embeddings) - quarter, None))
    if quarter == 0 or not all(valid[end].any() for end in ends):
        return None
    first, last = (mean_direction(embeddings[end][valid[end]]) for end in ends)
    return float(1 - first @ last)
