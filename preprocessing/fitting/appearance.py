"""Colour and light of a subject, from frames in which it is seen."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.images import DISPLAY_GAMMA
from preprocessing.fitting.photometric import Appearance, View, fit_light

_ROUNDS = 4
_LIGHT_ROUNDS = 2
# Skin of one tone explains most of the face; what is this much brighter or darker is brows, lips, beard.
_TONE_SCALE = 0.25
# Deviation from a light without direction, in shares of it.
_DIRECTION_STD = 0.5
# Points seen with less weight than this in all frames together are not known.
_LEAST_SEEN = 0.5


def estimate_appearance(views: list[View], is_face: Float[Tensor, " point"]) -> Appearance:
    """Albedo of every point and the light that all frames share.

    Light and albedo are told apart by the face: its skin is mostly of one tone, so what changes smoothly with
    the normal is light. The light is scaled so that a surface that faces the camera is lit by 1 in every channel.

    Args:
        views: The same points in several frames.
        is_face: 1 for the points on bare skin, which tell the light.

    Source: own (robust least squares).
    """
    linear = torch.stack([view.value[:, :3].clamp(1e-3, 1) ** DISPLAY_GAMMA for view in views])
    shading = torch.stack([view.shading for view in views])
    weight = torch.stack([view.weight for view in views])
    light = _estimate_light(linear, shading, weight * is_face)
    unlit = linear / (shading @ light).clamp_min(0.05)
    appearance = Appearance(*_robust_mean(unlit, weight), light)
    for _ in range(_LIGHT_ROUNDS):
        # The light of a frame may be another (an exposure that jumps): each is taken off by its own.
        own = torch.stack([fit_light(view, appearance, view.weight) for view in views])
        unlit = linear / (shading @ own).clamp_min(0.05)
        appearance = Appearance(*_robust_mean(unlit, weight), light)
    return appearance


def _estimate_light(linear: Tensor, shading: Tensor, weight: Tensor) -> Float[Tensor, "9 3"]:
    """Light under which the skin looks most of one tone."""
    towards_camera = irradiance_towards_camera().to(linear)
    tone = (linear * weight[..., None]).sum((0, 1)) / weight.sum().clamp_min(1e-6)
    light = tone.new_zeros(9, 3)
    light[0] = 1 / shading[..., 0].mean()
    for _ in range(_ROUNDS):
        lit = tone * (shading @ light)
        size = ((linear - lit) / (tone * _TONE_SCALE)).square().mean(-1)
        robust = weight / (1 + size) ** 2
        relative = linear / tone
        gram = torch.einsum("fp,fpi,fpj->ij", robust, shading, shading)
        right = torch.einsum("fp,fpi,fpc->ic", robust, shading, relative)
        ridge = robust.sum() * 1e-4 / _DIRECTION_STD**2 * torch.eye(9, device=tone.device)
        ridge[0, 0] = 0
        light = torch.linalg.solve(gram + ridge, right)
    return light / (towards_camera @ light).clamp_min(0.1)


def irradiance_towards_camera() -> Float[Tensor, "9"]:
    """Irradiance basis of a surface that faces the camera."""
    from head_geometry.spherical_harmonics import irradiance_basis

    return irradiance_basis(torch.tensor([0.0, 0.0, -1.0]))


def _robust_mean(
    values: Float[Tensor, "frame point 3"], weight: Float[Tensor, "frame point"]
) -> tuple[Float[Tensor, "point 3"], Float[Tensor, " point"]]:
    """Mean of each point over the frames that see it, and how well it is known."""
    total = weight.sum(0)
    mean = (values * weight[..., None]).sum(0) / total.clamp_min(1e-6)[:, None]
    robust = weight
    for _ in range(_ROUNDS):
        size = ((values - mean) / mean.clamp_min(0.02)).square().mean(-1)
        robust = weight / (1 + size / 0.15**2)
        mean = (values * robust[..., None]).sum(0) / robust.sum(0).clamp_min(1e-6)[:, None]
    # Where the frames do not agree (hair that moves, lids, lips), the colour says less.
    agreement = robust.sum(0) / total.clamp_min(1e-6)
    trust = agreement * (total > _LEAST_SEEN)
    return mean.clamp(0, 2), trust
