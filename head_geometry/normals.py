"""Normals of posed meshes."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def vertex_normals(
    vertices: Float[Tensor, "*batch vertex 3"], triangle: Int[Tensor, "face 3"]
) -> Float[Tensor, "*batch vertex 3"]:
    """Unit normals, area-weighted over the triangles around each vertex, pointing outwards; 0 where there are none.

    Args:
        vertices: Any axes and unit.
        triangle: Vertex indices, counter-clockwise seen from outside.
    """
    a, b, c = (vertices[..., triangle[:, corner], :] for corner in range(3))
    face = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(-2, triangle[:, corner], face)
    return torch.nn.functional.normalize(total, dim=-1)
