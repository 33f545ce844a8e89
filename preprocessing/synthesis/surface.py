"""A mesh that moves with the head or with the torso, and grids of triangles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Surface:
    """Something worn or grown: hair, bust, collar. Metres, axes of the head at rest.

    Attributes:
        vertices: At rest.
        triangle: Vertex indices, counter-clockwise seen from outside.
        attributes: Per vertex, what its colours are made from.
        torso_share: How far each vertex follows the torso (1) instead of the head (0).
    """

    vertices: Float[Tensor, "vertex 3"]
    triangle: Int[Tensor, "face 3"]
    attributes: Float[Tensor, "vertex attribute"]
    torso_share: Float[Tensor, " vertex"]


def grid_triangles(rows: int, columns: int) -> Int[Tensor, "face 3"]:
    """Two triangles per cell of a grid whose vertices run along the columns first.

    Rows that run down and columns that run from the subject's right to the left give triangles that are
    counter-clockwise seen from the front.
    """
    index = torch.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    both = torch.stack([torch.stack([a, c, b], -1), torch.stack([b, c, d], -1)], 2)
    return both.reshape(-1, 3)


def smooth_step(
    value: Float[Tensor, "*batch"], start: float, stop: float
) -> Float[Tensor, "*batch"]:
    """0 up to ``start``, 1 from ``stop`` on, smooth in between (``start`` may be the larger one)."""
    share = ((value - start) / (stop - start)).clamp(0, 1)
    return share * share * (3 - 2 * share)
