"""Where along the normals of each vertex there is anything to see; moves with the mesh."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from avatar_models.monoavatar.neighbours import build_tree, nearest_vertices

# Depth behind the skin that the bins cover, metres.
INSIDE_M = 0.015
# Samples that contribute less than this share of a ray's light are not worth evaluating.
SMALLEST_SHARE = 0.001
# What a bin keeps of its share from one visit to the next.
FORGET = 0.8


class VertexOccupancy(nn.Module):
    """Largest share of a ray's light that came lately from each bin along each vertex's normal.

    A query falls into the bin of the vertex with the nearest anchor, by its height above the skin there. Free space and
    what always lies hidden behind a surface both contribute nothing and close. Bins never visited in
    training stay closed, so that a new pose shows nothing that no training frame vouched for.

    Attributes:
        share: (vertex, bin), 0..1.
        around: Nearest vertices on the neutral mesh, itself included, (vertex, near).

    Source: own.
    """

    share: Float[Tensor, "vertex bin"]
    around: Int[Tensor, "vertex near"]

    def __init__(self, n_vertices: int, n_bins: int, n_around: int) -> None:
        super().__init__()
        self.register_buffer("share", torch.zeros(n_vertices, n_bins))
        self.register_buffer("around", torch.zeros(n_vertices, n_around, dtype=torch.int64))

    def fill(self, neutral: Float[Tensor, "vertex 3"]) -> None:
        """Find each vertex's neighbours and close every bin (nothing has been seen yet)."""
        n_around = self.around.shape[1]
        self.around.copy_(nearest_vertices(build_tree(neutral), neutral, n_around))
        self.share.fill_(0)

    def bins(
        self,
        height_m: Float[Tensor, " query"],
        nearest: Int[Tensor, " query"],
        thickness_m: Float[Tensor, " vertex"],
    ) -> Int[Tensor, " query"]:
        """Flat index into ``share`` of each query's bin.

        Args:
            height_m: Height above the skin along the nearest vertex's normal, metres.
            nearest: Vertex of the nearest anchor.
            thickness_m: Thickness of the shell at each vertex, metres.
        """
        n_bins = self.share.shape[1]
        depth = INSIDE_M + height_m
        share = depth / (INSIDE_M + thickness_m[nearest])
        return nearest * n_bins + (share * n_bins).long().clamp(0, n_bins - 1)

    def record(self, bins: Int[Tensor, " query"], share: Float[Tensor, " query"]) -> None:
        """Take in the shares just computed: visited bins forget a little, and rise to what was seen.

        Bins that no query fell into stay as they are: poses that are rare in training are not forgotten.
        """
        flat = self.share.view(-1)
        flat[bins] = FORGET * flat[bins]
        flat.scatter_reduce_(0, bins, share.detach().float(), "amax")

    def open_bins(self) -> Bool[Tensor, "vertex bin"]:
        """True where a sample is worth evaluating: anything seen in the bin, beside it, or in vertices around."""
        spread = self.share[self.around].amax(1)
        padded = nn.functional.pad(spread[:, None], (1, 1))[:, 0]
        wide = torch.maximum(torch.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
        return wide > SMALLEST_SHARE
