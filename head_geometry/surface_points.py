"""Points that sit on the triangles of a mesh and move with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class SurfacePoints:
    """Places on a mesh, independent of how it is posed.

    Attributes:
        face: Triangle of each point.
        corner: Vertex indices of that triangle.
        barycentric: Place in it; rows sum to 1.
    """

    face: Int[Tensor, " point"]
    corner: Int[Tensor, "point 3"]
    barycentric: Float[Tensor, "point 3"]

    def to(self, device: torch.device) -> SurfacePoints:
        """The same places on another device."""
        return SurfacePoints(
            self.face.to(device), self.corner.to(device), self.barycentric.to(device)
        )

    def at(
        self, field: Float[Tensor, "*batch vertex channel"]
    ) -> Float[Tensor, "*batch point channel"]:
        """A field of the vertices, interpolated at the points."""
        return (field[..., self.corner, :] * self.barycentric[..., None].to(field)).sum(-2)


def spread_points(
    vertices: Float[Tensor, "vertex 3"],
    triangle: Int[Tensor, "face 3"],
    chosen: Bool[Tensor, " face"],
    count: int,
) -> SurfacePoints:
    """About ``count`` points, evenly spread by area over some triangles of a mesh; the same every time.

    Args:
        vertices: Any axes and unit.
        triangle: Vertex indices.
        chosen: The triangles to cover.
        count: Points wanted.

    Source: own (systematic sampling of the area, a low-discrepancy sequence inside the triangles).
    """
    faces = chosen.nonzero()[:, 0]
    a, b, c = vertices[triangle[faces]].double().unbind(1)
    area = torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a), dim=-1)
    end = area.cumsum(0)
    place = (torch.arange(count, dtype=torch.float64, device=area.device) + 0.5) / count * end[-1]
    face = faces[torch.searchsorted(end, place).clamp_max(len(faces) - 1)]
    # The generalised golden ratio's sequence covers the unit square evenly (Roberts 2018).
    golden = 1.32471795724474602596
    step = torch.arange(1, count + 1, dtype=torch.float64, device=area.device)
    u, v = (step / golden) % 1, (step / golden**2) % 1
    outside = u + v > 1
    u, v = torch.where(outside, 1 - u, u), torch.where(outside, 1 - v, v)
    barycentric = torch.stack([1 - u - v, u, v], -1).to(vertices.dtype)
    return SurfacePoints(face, triangle[face], barycentric)
