"""The only volume compositing of the project: densities to weights, weights to colour, opacity and depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Composited:
    """What a set of rays sees. Colours are premultiplied by opacity (nothing lies behind them yet)."""

    colour: Float[Tensor, "ray channel"]
    opacity: Float[Tensor, " ray"]
    depth: Float[Tensor, " ray"]
    """Weighted mean distance along the ray times opacity, metres."""

    def over(self, background: Float[Tensor, "*#ray channel"]) -> Float[Tensor, "ray channel"]:
        """The rays' colour in front of ``background`` (one colour, or one per ray)."""
        return self.colour + (1 - self.opacity)[:, None] * background


def opacity_from_density(
    density: Float[Tensor, "*#batch"], length: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch"]:
    """Opacity of segments of constant density.

    Args:
        density: Absorption per metre, >= 0.
        length: Length of each segment, metres, >= 0.

    Source: Max 1995, eq. 7: alpha = 1 - exp(-density * length).
    """
    return -torch.expm1(-density * length)


def weights_from_opacity(
    opacity: Float[Tensor, "ray sample"],
) -> Float[Tensor, "ray sample"]:
    """Share of the light that each sample contributes, front to back: w_i = a_i prod_{j<i} (1 - a_j).

    Their sum over a ray is the ray's opacity, 1 - prod (1 - a_i).
    """
    clear = torch.cumprod(1 - opacity, -1)
    ones = torch.ones_like(clear[:, :1])
    return opacity * torch.cat([ones, clear[:, :-1]], -1)


def weights_from_density(
    density: Float[Tensor, "ray sample"], length: Float[Tensor, "ray sample"]
) -> Float[Tensor, "ray sample"]:
    """Compositing weights of samples in front-to-back order.

    Args:
        density: Absorption per metre, >= 0.
        length: Length of the segment each sample stands for, metres.

    Source: Mildenhall et al. 2020 (NeRF), eq. 3.
    """
    return weights_from_opacity(opacity_from_density(density, length))


def composite(
    weights: Float[Tensor, "ray sample"],
    colour: Float[Tensor, "ray sample channel"],
    distance: Float[Tensor, "ray sample"],
) -> Composited:
    """Weighted sums along each ray.

    Args:
        weights: From :func:`weights_from_density`, or any weights that sum to at most 1 per ray.
        colour: 0..1 per sample (or any other quantity to be rendered).
        distance: Distance of each sample from the ray's origin, metres.
    """
    return Composited(
        colour=torch.einsum("rs,rsc->rc", weights, colour),
        opacity=weights.sum(-1),
        depth=(weights * distance).sum(-1),
    )
