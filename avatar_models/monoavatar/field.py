"""The radiance field anchored to head vertices: features of the nearest vertices to density and colour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from avatar_models.rendering.encoding import encoded_size, positional_encoding

# Keeps the weight of a vertex finite when a query sits on it, metres.
SMALLEST_DISTANCE_M = 1e-5
# Absorption per metre of one unit of the network's output: a skin-thin layer can become opaque.
DENSITY_SCALE = 100.0


@dataclass(frozen=True)
class FieldSizes:
    """Widths and encodings of one field (see ``config.MonoAvatarConfig`` for their meaning)."""

    feature: int = 64
    width: int = 128
    colour_width: int = 64
    position_bands: int = 10
    view_bands: int = 4
    position_unit_m: float = 0.05


@dataclass(frozen=True)
class Start:
    """What the field adds its networks to, so that training starts from a coloured mesh and not from fog.

    Attributes:
        colour: Logit of each vertex's own colour, (row, 3); rows as in :class:`Anchors`.
        density: Added to the density's logit, (query,): positive inside the skin, negative outside.

    Source: own.
    """

    colour: Float[Tensor, "row 3"]
    density: Float[Tensor, " query"]


@dataclass(frozen=True)
class Anchors:
    """What each query needs to know of its nearest vertices: all nearest ones, then all second nearest ones, ...

    Attributes:
        row: Row of each neighbour in the table of vertex features, (neighbour, query).
        offset: Vertex minus query, metres, (neighbour, query, 3).
        weight: Weights of the neighbours, sum 1, (neighbour, query).
    """

    row: Int[Tensor, "neighbour query"]
    offset: Float[Tensor, "neighbour query 3"]
    weight: Float[Tensor, "neighbour query"]

    def blend(
        self, values: Float[Tensor, "neighbour query channel"]
    ) -> Float[Tensor, "query channel"]:
        """Weighted sum of what each neighbour says. Source: MonoAvatar, section on the anchored field."""
        weight = self.weight.to(values.dtype)[..., None]
        total = weight[0] * values[0]
        for one, value in zip(weight[1:], values[1:], strict=True):
            total = torch.addcmul(total, one, value)
        return total


def anchor(
    queries: Float[Tensor, "query 3"],
    vertices: Float[Tensor, "vertex 3"],
    nearest: Int[Tensor, "query neighbour"],
) -> Anchors:
    """Offsets to the nearest vertices, and weights proportional to the inverse distance.

    Args:
        queries: Metres.
        vertices: Metres, same axes (of several frames one after the other, where ``nearest`` says so).
        nearest: Rows of ``vertices``.

    Source: MonoAvatar, section on the anchored field: w_j = (1/|v_j - q|) / sum_k (1/|v_k - q|).
    """
    row = nearest.T.long().contiguous()
    offset = vertices.index_select(0, row.view(-1)).view(*row.shape, 3) - queries
    inverse = 1 / torch.linalg.vector_norm(offset, dim=-1).clamp_min(SMALLEST_DISTANCE_M)
    return Anchors(row, offset, inverse / inverse.sum(0))


class AnchoredField(nn.Module):
    """MLP0 on each neighbour, their weighted sum, MLP1 to density, MLP2 to colour.

    Two rewrites make it cheaper and change nothing: the vertex feature's part of MLP0's first layer is
    computed once per vertex (:meth:`project`) instead of once per neighbour of a query, and MLP0's last
    layer, which is linear, acts on the weighted sum instead of on each neighbour.

    Source: MonoAvatar (CVPR 2023); activation and scale of the density are own.
    """

    def __init__(self, sizes: FieldSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.position_in = nn.Linear(encoded_size(3, sizes.position_bands), width)
        self.feature_in = nn.Linear(sizes.feature, width, bias=False)
        self.neighbour_hidden = nn.Linear(width, width)
        self.neighbour_out = nn.Linear(width, width)
        self.trunk = nn.Sequential(
            *(layer for _ in range(3) for layer in (nn.Linear(width, width), nn.ReLU(inplace=True)))
        )
        self.density_out = nn.Linear(width, 1)
        self.colour_in = nn.Linear(width, sizes.colour_width)
        self.view_in = nn.Linear(encoded_size(3, sizes.view_bands), sizes.colour_width, bias=False)
        self.colour_out = nn.Linear(sizes.colour_width, 3)
        # PyTorch's own start lets the signal fade from layer to layer, and training would stand still at first.
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        # The first steps must not drive density or colour to where nothing is learned any more.
        for layer in (self.density_out, self.colour_out):
            nn.init.normal_(layer.weight, std=0.02)

    def project(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch width"]:
        """The vertex features' part of MLP0's first layer."""
        return self.feature_in(features)

    def encode_view(self, directions: Float[Tensor, "ray 3"]) -> Float[Tensor, "ray colour_width"]:
        """The view directions' part of MLP2's first layer; unit vectors in head axes."""
        return self.view_in(positional_encoding(directions, self.sizes.view_bands))

    def forward(
        self,
        projected: Float[Tensor, "row width"],
        anchors: Anchors,
        view: Float[Tensor, "ray colour_width"],
        ray: Int[Tensor, " query"],
        start: Start | None = None,
        needs_colour: bool = True,
    ) -> tuple[Float[Tensor, " query"], Float[Tensor, "query 3"]]:
        """Density (per metre) and colour (0..1) of each query.

        Args:
            projected: From :meth:`project`; rows as in ``anchors.row``.
            anchors: Neighbours of the queries.
            view: From :meth:`encode_view`, one row per ray.
            ray: The ray of each query.
            start: Where given, density and colour are the networks' corrections of it.
            needs_colour: False leaves every colour black, which is faster.
        """
        row = anchors.row.view(-1)
        scaled = anchors.offset.reshape(-1, 3) / self.sizes.position_unit_m
        code = positional_encoding(scaled, self.sizes.position_bands, dtype=projected.dtype)
        hidden = self.position_in(code)
        hidden = torch.relu_(hidden + projected.index_select(0, row))
        hidden = torch.relu_(self.neighbour_hidden(hidden))
        blended = anchors.blend(hidden.view(*anchors.row.shape, hidden.shape[-1]))
        trunk = self.trunk(self.neighbour_out(blended))
        density = self.density_out(trunk)[:, 0].to(anchors.offset.dtype)
        if start is not None:
            density = density + start.density
        density = DENSITY_SCALE * nn.functional.softplus(density - 1)
        if not needs_colour:
            return density, density.new_zeros(len(density), 3)
        shade = torch.relu_(self.colour_in(trunk) + view.index_select(0, ray))
        colour = self.colour_out(shade).to(anchors.offset.dtype)
        if start is not None:
            own = start.colour.index_select(0, row).view(*anchors.row.shape, 3)
            colour = colour + anchors.blend(own)
        return density, torch.sigmoid(colour)
