"""Second-order spherical harmonics: the light that a convex matte surface sees."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

# Real harmonics of bands 0, 1 and 2, each times the cosine lobe's factor of its band (pi, 2 pi / 3, pi / 4) over pi,
# so that the product with a light's coefficients is the irradiance over pi: what a white surface shows.
_BAND0 = 0.5 * math.sqrt(1 / math.pi)
_BAND1 = math.sqrt(3 / (4 * math.pi)) * 2 / 3
_BAND2 = 0.5 * math.sqrt(15 / math.pi) / 4
_BAND2_ZONAL = 0.25 * math.sqrt(5 / math.pi) / 4
_BAND2_DIFFERENCE = 0.25 * math.sqrt(15 / math.pi) / 4
# The cosine lobe's factor of each harmonic's band, over pi.
_LOBE = (1.0, *(2 / 3,) * 3, *(1 / 4,) * 5)


def irradiance_basis(normal: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 9"]:
    """What a white matte surface shows under each of the nine harmonics of a distant light.

    Args:
        normal: Unit normals, in the axes that the light's coefficients are in.

    Returns:
        Order: 1, y, z, x, xy, yz, 3z²-1, xz, x²-y².

    Source: Ramamoorthi and Hanrahan 2001, eq. 3 and 10 to 12.
    """
    x, y, z = normal.unbind(-1)
    return torch.stack(
        [
            torch.full_like(x, _BAND0),
            _BAND1 * y,
            _BAND1 * z,
            _BAND1 * x,
            _BAND2 * x * y,
            _BAND2 * y * z,
            _BAND2_ZONAL * (3 * z**2 - 1),
            _BAND2 * x * z,
            _BAND2_DIFFERENCE * (x**2 - y**2),
        ],
        -1,
    )


def harmonics(direction: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 9"]:
    """The nine real orthonormal harmonics themselves, of unit directions: the product with a light is its radiance.

    Source: Ramamoorthi and Hanrahan 2001, eq. 3.
    """
    return irradiance_basis(direction) / direction.new_tensor(_LOBE)


def turn_light(
    light: Float[Tensor, "9 channel"], rotation: Float[Tensor, "3 3"]
) -> Float[Tensor, "9 channel"]:
    """The same light in other axes.

    Args:
        light: Coefficients in world axes.
        rotation: From the wanted axes to world axes.

    Source: own (harmonics of one order turn into each other: solved for on a few directions).
    """
    directions = even_directions(32).to(rotation)
    turned = torch.linalg.lstsq(harmonics(directions), harmonics(directions @ rotation.mT)).solution
    return turned @ light


def even_directions(count: int) -> Float[Tensor, "direction 3"]:
    """Unit directions spread evenly over the sphere (a spiral in steps of the golden angle)."""
    place = torch.arange(count, dtype=torch.float64) + 0.5
    height = 1 - 2 * place / count
    angle = place * math.pi * (3 - math.sqrt(5.0))
    radius = torch.sqrt(1 - height**2)
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle), height], -1).float()
