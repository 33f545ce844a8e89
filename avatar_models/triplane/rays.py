"""Rays of a camera label, and where the published renderer puts its samples."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from avatar_models.rendering.sampling import quantiles, segment_edges


def rays_from_label(
    label: Float[Tensor, "n 25"], side: int
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n ray 3"]]:
    """Origin and unit direction of the ray through every pixel, rows first, in scene axes.

    Args:
        label: world_from_camera (OpenCV camera axes), then intrinsics in image widths, skew included.
        side: Side of the picture, pixels.

    Source: behaviour of the published EG3D.
    """
    world_from_camera = label[:, :16].unflatten(1, (4, 4))
    intrinsics = label[:, 16:].unflatten(1, (3, 3))
    centre = (torch.arange(side, device=label.device, dtype=label.dtype) + 0.5) / side
    v, u = torch.meshgrid(centre, centre, indexing="ij")
    pixel = torch.stack([u, v, torch.ones_like(u)], -1).view(1, -1, 3)
    seen = pixel @ torch.linalg.inv(intrinsics).mT
    direction = seen @ world_from_camera[:, :3, :3].mT
    return world_from_camera[:, :3, 3], direction / direction.norm(dim=-1, keepdim=True)


def box_bounds(
    origin: Float[Tensor, "ray 3"], direction: Float[Tensor, "ray 3"], box_width: float
) -> tuple[Float[Tensor, " ray"], Float[Tensor, " ray"]]:
    """Distances where rays enter and leave a cube around the origin; equal where they miss it.

    Source: Kay and Kajiya 1986, slabs.
    """
    inverse = 1 / torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e-9), direction)
    ends = torch.stack([(-box_width / 2 - origin) * inverse, (box_width / 2 - origin) * inverse])
    near = ends.amin(0).amax(-1).clamp_min(0)
    return near, torch.maximum(ends.amax(0).amin(-1), near)


def coarse_depths(
    shape: tuple[int, ...],
    near: float,
    far: float,
    like: Tensor,
    generator: torch.Generator | None,
) -> Float[Tensor, "*ray sample"]:
    """Sample distances at equal steps from near to far, each moved on by a share of a step (half without generator).

    Source: behaviour of the published EG3D; the last sample reaches beyond ``far``.
    """
    n_samples = shape[-1]
    ends = torch.tensor([near, far], device=like.device, dtype=like.dtype)
    start = segment_edges(ends[:1], ends[1:], n_samples - 1)
    step = (far - near) / (n_samples - 1)
    if generator is None:
        return (start + 0.5 * step).expand(shape)
    share = torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
    return start + share * step


def importance_depths(
    depths: Float[Tensor, "ray sample"],
    weights: Float[Tensor, "ray interval"],
    n_samples: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "ray new_sample"]:
    """Distances where the coarse weights are large: their inverse distribution at random (or equally spaced) shares.

    Weights are widened by a maximum over neighbours and smoothed by a mean; the first and the last are not used.

    Args:
        depths: Coarse sample distances.
        weights: Compositing weights of the intervals between them.
        n_samples: New samples per ray.
        generator: Of the shares; the middles of equal shares without.

    Source: behaviour of the published EG3D (Mildenhall et al. 2020, section 5.2; Barron et al. 2021, eq. 18).
    """
    ends = torch.cat([weights[:, :1], weights, weights[:, -1:]], -1)
    widest = torch.maximum(ends[:, 1:], ends[:, :-1])
    smooth = (widest[:, 1:] + widest[:, :-1]) / 2 + 0.01
    mass = smooth[:, 1:-1] + 1e-5
    mass = mass / mass.sum(-1, keepdim=True)
    cumulative = torch.cat([torch.zeros_like(mass[:, :1]), torch.cumsum(mass, -1)], -1)
    middles = (depths[:, 1:] + depths[:, :-1]) / 2
    shape = (len(depths), n_samples)
    if generator is None:
        share = (
            torch.arange(n_samples, device=depths.device, dtype=depths.dtype) + 0.5
        ) / n_samples
        share = share.expand(shape).contiguous()
    else:
        share = torch.rand(shape, generator=generator, device=depths.device, dtype=depths.dtype)
    # The last middle bounds no bin.
    return quantiles(middles[:, :-1], cumulative, share)
