"""Where to put samples along rays: evenly with jitter, then where the weight is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def segment_edges(
    near: Float[Tensor, " ray"],
    far: Float[Tensor, " ray"],
    n_samples: int,
) -> Float[Tensor, "ray edge"]:
    """Edges of ``n_samples`` equal segments between near and far, metres."""
    share = torch.linspace(0, 1, n_samples + 1, device=near.device, dtype=near.dtype)
    return near[:, None] + (far - near)[:, None] * share


def stratified_samples(
    edges: Float[Tensor, "ray edge"], generator: torch.Generator | None = None
) -> Float[Tensor, "ray sample"]:
    """One distance in each segment: uniformly at random, or its middle where no generator is given.

    Source: Mildenhall et al. 2020 (NeRF), eq. 2.
    """
    lengths = edges[:, 1:] - edges[:, :-1]
    if generator is None:
        return edges[:, :-1] + 0.5 * lengths
    share = torch.rand(lengths.shape, generator=generator, device=edges.device, dtype=edges.dtype)
    return edges[:, :-1] + share * lengths


def importance_edges(
    edges: Float[Tensor, "ray edge"],
    weights: Float[Tensor, "ray sample"],
    n_samples: int,
    floor: float = 0.01,
) -> Float[Tensor, "ray new_edge"]:
    """Edges of ``n_samples`` new segments that each hold an equal share of the weight.

    The weight is taken as constant within a segment, so the new edges are quantiles of a piecewise
    linear distribution; samples placed in the new segments (:func:`stratified_samples`) are stratified
    importance samples, and their segments tile the ray from near to far without a gap.

    Args:
        edges: Segments the weights belong to, metres, in order.
        weights: Compositing weights, one per segment.
        n_samples: Number of new segments.
        floor: Share of the weight that is spread evenly over the segments, so that nothing is missed;
            more than 0.

    Source: Mildenhall et al. 2020 (NeRF), section 5.2; quantile edges as in Barron et al. 2022 (own
    choice of floor).
    """
    n_old = weights.shape[-1]
    total = weights.sum(-1, keepdim=True)
    density = (1 - floor) * weights / total.clamp_min(1e-8) + floor / n_old
    density = density / density.sum(-1, keepdim=True)
    cumulative = torch.cat([torch.zeros_like(total), torch.cumsum(density, -1)], -1)
    cumulative = cumulative / cumulative[:, -1:]
    target = torch.linspace(0, 1, n_samples + 1, device=edges.device, dtype=edges.dtype)
    return quantiles(edges, cumulative, target.expand(edges.shape[0], -1).contiguous())


def quantiles(
    edges: Float[Tensor, "ray edge"],
    cumulative: Float[Tensor, "ray edge"],
    share: Float[Tensor, "ray sample"],
) -> Float[Tensor, "ray sample"]:
    """Where a piecewise linear distribution along each ray reaches given shares.

    Args:
        edges: Distances, in order, metres.
        cumulative: The distribution at the edges, rising from 0 to 1.
        share: 0..1, contiguous.

    Source: inverse transform sampling; Mildenhall et al. 2020 (NeRF), section 5.2.
    """
    upper = torch.searchsorted(cumulative, share, right=True).clamp(1, edges.shape[-1] - 1)
    lower = upper - 1
    below, above = cumulative.gather(-1, lower), cumulative.gather(-1, upper)
    part = ((share - below) / (above - below).clamp_min(1e-12)).clamp(0, 1)
    start, end = edges.gather(-1, lower), edges.gather(-1, upper)
    return start + part * (end - start)
