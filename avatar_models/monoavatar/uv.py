"""Between vertices and UV images: rasterise vertex values into the UV square, sample a UV image at vertices."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from head_geometry.head_model import HeadModel
from head_geometry.rasteriser import rasterise_uv

# A triangle whose corners lie this far apart in the UV square spans a seam and belongs to no chart.
LONGEST_UV_EDGE = 0.25


class UvMap(nn.Module):
    """Fixed tables between a mesh and its UV square of ``size`` x ``size`` pixels.

    Attributes:
        corner: Vertices of the triangle that covers each pixel, (pixel, 3).
        barycentric: Their weights; 0 where no triangle covers the pixel, (pixel, 3).
        place: UV coordinates of each vertex, (vertex, 2); of a vertex on a seam, its first.
    """

    corner: Int[Tensor, "pixel 3"]
    barycentric: Float[Tensor, "pixel 3"]
    place: Float[Tensor, "vertex 2"]

    def __init__(self, size: int, n_vertices: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("corner", torch.zeros(size * size, 3, dtype=torch.int64))
        self.register_buffer("barycentric", torch.zeros(size * size, 3))
        self.register_buffer("place", torch.zeros(n_vertices, 2))

    def fill(self, model: HeadModel) -> None:
        """Compute the tables from a head model's UV coordinates."""
        device = self.corner.device
        uv = model.uv.to(device)
        triangle, triangle_uv = model.triangle.to(device), model.triangle_uv.to(device)
        corners = uv[triangle_uv]
        edges = torch.linalg.vector_norm(corners - corners.roll(1, 1), dim=-1)
        whole = edges.amax(1) < LONGEST_UV_EDGE
        triangle, triangle_uv = triangle[whole], triangle_uv[whole]

        face, barycentric = rasterise_uv(uv, triangle_uv, (self.size, self.size))
        covered = (face >= 0).flatten()
        self.corner.copy_(triangle[face.flatten().clamp_min(0)])
        self.barycentric.copy_(barycentric.reshape(-1, 3) * covered[:, None])
        # Filled from the last corner to the first, so that the first one stays.
        self.place[triangle.flatten().flip(0)] = uv[triangle_uv.flatten().flip(0)]

    def rasterise(
        self, values: Float[Tensor, "frame vertex channel"]
    ) -> Float[Tensor, "frame channel {self.size} {self.size}"]:
        """Vertex values as UV images, 0 where no triangle lies."""
        pixels = (values[:, self.corner] * self.barycentric[:, :, None]).sum(2)
        return pixels.mT.unflatten(-1, (self.size, self.size))

    def sample(
        self, image: Float[Tensor, "frame channel height width"]
    ) -> Float[Tensor, "frame vertex channel"]:
        """Bilinear samples of a UV image at the vertices."""
        grid = (2 * self.place - 1)[None, None].expand(len(image), 1, -1, -1)
        sampled = grid_sample(
            image, grid.to(image.dtype), padding_mode="border", align_corners=False
        )
        return sampled[:, :, 0].mT
