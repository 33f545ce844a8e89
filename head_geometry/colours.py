"""Between sRGB, as pictures store colours, and linear RGB, in which light adds up."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def linear_from_srgb(srgb: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Linear RGB in 0..1 of sRGB in 0..1.

    Source: IEC 61966-2-1.
    """
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The sRGB values in 0..1 of linear RGB; what is darker than black or brighter than white is cut off.

    Source: IEC 61966-2-1.
    """
    linear = linear.clamp(0, 1)
    steep = 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, steep)
