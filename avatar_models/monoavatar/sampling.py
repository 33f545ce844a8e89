"""One pass along a batch of rays: samples to neighbours to field to weights, empty space skipped."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from avatar_models.monoavatar.field import AnchoredField, Start, anchor
from avatar_models.monoavatar.frames import Posed
from avatar_models.monoavatar.neighbours import nearest_vertices
from avatar_models.rendering.compositing import (
    Composited,
    composite,
    weights_from_density,
)

# Height over which the start's density falls from skin to air, metres, and the largest logit it adds.
SKIN_M, SKIN_LOGIT = 0.002, 3.0
# Queries are evaluated in multiples of this many, where there are as many.
ROUND_NUMBER = 1024


@dataclass(frozen=True)
class RayBatch:
    """Rays of one or more frames, the rays of a frame one after the other.

    Attributes:
        origin: Head axes, metres.
        direction: Unit vectors, head axes.
        near: Metres.
        far: Metres.
        solid: Length that the last sample stands for beyond ``far``, metres.
        count: How many rays each frame has.
    """

    origin: Float[Tensor, "ray 3"]
    direction: Float[Tensor, "ray 3"]
    near: Float[Tensor, " ray"]
    far: Float[Tensor, " ray"]
    solid: Float[Tensor, " ray"]
    count: tuple[int, ...]


@dataclass(frozen=True)
class Queries:
    """The samples of a batch of rays that are worth evaluating.

    Attributes:
        slot: Index of each query among all (ray, sample) places, row by row.
        place: Head axes, metres.
        nearest: Rows of the stacked vertices of all frames, the nearest anchor first.
        occupancy_bin: Flat bin of the occupancy table.
        height: Above the skin at the vertex of the nearest anchor, metres.
    """

    slot: Int[Tensor, " query"]
    place: Float[Tensor, "query 3"]
    nearest: Int[Tensor, "query neighbour"]
    occupancy_bin: Int[Tensor, " query"]
    height: Float[Tensor, " query"]


@dataclass(frozen=True)
class Network:
    """A field with what it knows of the vertices and rays at hand.

    Attributes:
        field: Coarse or fine network.
        projected: Vertex features through its first layer, all frames stacked, (row, width).
        view: Encoded view of each ray, (ray, colour_width).
        vertex_colour: Logits of the vertices' own colours, all frames stacked, (row, 3); None: the field alone.
        needs_colour: False where only the weights along the rays are asked for.
    """

    field: AnchoredField
    projected: Float[Tensor, "row width"]
    view: Float[Tensor, "ray colour_width"]
    vertex_colour: Float[Tensor, "row 3"] | None
    needs_colour: bool = True


@dataclass(frozen=True)
class Pass:
    """What one network sees along a batch of rays."""

    seen: Composited
    weights: Float[Tensor, "ray sample"]
    occupancy_bin: Int[Tensor, " query"]
    share: Float[Tensor, " query"]
    """Share of the ray's light that each evaluated sample contributes."""


def find_neighbours(
    frames: list[Posed],
    places: Float[Tensor, "query 3"],
    count: list[int],
    k: int,
) -> Int[Tensor, "query {k}"]:
    """Vertices whose anchors are nearest to queries of several frames, as rows of the frames' stacked vertices.

    Args:
        frames: Posed heads.
        places: Head axes, metres; the queries of a frame one after the other.
        count: Queries of each frame.
        k: Neighbours.
    """
    found, start, row = [], 0, 0
    for posed, n in zip(frames, count, strict=True):
        found.append(nearest_vertices(posed.tree, places[start : start + n], k) + row)
        start, row = start + n, row + len(posed.vertices)
    return torch.cat(found)


def height_above_skin(
    places: Float[Tensor, "query 3"],
    vertices: Float[Tensor, "row 3"],
    normals: Float[Tensor, "row 3"],
    nearest: Int[Tensor, " query"],
) -> Float[Tensor, " query"]:
    """Height of each query above a vertex along that vertex's normal, metres."""
    offset = places - vertices.index_select(0, nearest)
    return (offset * normals.index_select(0, nearest)).sum(-1)


def evaluate(
    network: Network,
    anchor_place: Float[Tensor, "row 3"],
    queries: Queries,
    length: Float[Tensor, "ray sample"],
    distance: Float[Tensor, "ray sample"],
    precision: AbstractContextManager[object],
) -> Pass:
    """Density and colour of the queries, composited; samples that are no query are empty.

    Args:
        network: Coarse or fine network, ready for these rays.
        anchor_place: Where the vertices anchor the field, all frames stacked, metres.
        queries: Samples worth evaluating; ``place`` may have been warped.
        length: Length that each sample stands for, metres.
        distance: Place of each sample along its ray, metres.
        precision: What the network is evaluated under (autocast).
    """
    n_rays, n_samples = distance.shape
    anchors = anchor(queries.place, anchor_place, queries.nearest)
    ray = torch.div(queries.slot, n_samples, rounding_mode="floor")
    start = None
    if network.vertex_colour is not None:
        solid = (-queries.height / SKIN_M).clamp(-SKIN_LOGIT, SKIN_LOGIT)
        start = Start(network.vertex_colour, solid)
    with precision:
        found, shade = network.field(
            network.projected, anchors, network.view, ray, start, network.needs_colour
        )
    density = found.new_zeros(n_rays * n_samples).index_put((queries.slot,), found)
    colour = shade.new_zeros(n_rays * n_samples, 3).index_put((queries.slot,), shade)
    weights = weights_from_density(density.view(n_rays, n_samples), length)
    seen = composite(weights, colour.view(n_rays, n_samples, 3), distance)
    share = weights.detach().flatten().index_select(0, queries.slot)
    return Pass(seen, weights, queries.occupancy_bin, share)


def keep_open(
    queries: Queries, is_open: Bool[Tensor, " bin"], explore: Bool[Tensor, " query"] | None
) -> Queries:
    """Only the queries in open bins, those chosen to look again into closed ones, and a few more.

    The few more make the number round: libraries make matrix kernels ready for each number anew.
    """
    keep = is_open.index_select(0, queries.occupancy_bin)
    if explore is not None:
        keep |= explore
    chosen, left_out = keep.nonzero()[:, 0], (~keep).nonzero()[:, 0]
    chosen = torch.cat([chosen, left_out[: -len(chosen) % ROUND_NUMBER]])
    return Queries(
        queries.slot.index_select(0, chosen),
        queries.place.index_select(0, chosen),
        queries.nearest.index_select(0, chosen),
        queries.occupancy_bin.index_select(0, chosen),
        queries.height.index_select(0, chosen),
    )
