"""Smooth random fields over space, the same for the same seed: what skin, hair and cloth are painted with."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, pad


class NoiseField:
    """Smooth noise over space that repeats after PERIOD units along each axis.

    Source: value noise (Perlin's lattice and his fade curve 6t⁵ - 15t⁴ + 10t³, random values instead of gradients).
    """

    PERIOD = 64

    def __init__(self, seed: int) -> None:
        """Another ``seed`` gives another field."""
        generator = torch.Generator().manual_seed(seed)
        lattice = torch.rand((1, 1, *[self.PERIOD] * 3), generator=generator)
        # The first layer follows the last one, so that interpolation runs on over the border.
        self._lattice = pad(lattice, [0, 1] * 3, mode="circular")

    def at(self, places: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Noise in 0..1 with features of size 1 at ``places`` (in units of the feature size)."""
        floor = places.floor()
        inside = (places - floor).float()
        blend = inside**3 * (inside * (inside * 6 - 15) + 10)
        cell = floor.remainder(self.PERIOD).float() + blend
        grid = (cell * (2 / self.PERIOD) - 1)[None, :, None, None]
        return grid_sample(self._lattice, grid, align_corners=True).flatten()

    def fractal(self, places: Float[Tensor, "point 3"], octaves: int) -> Float[Tensor, " point"]:
        """Noise in about 0..1 with details down to ``2 ** -(octaves - 1)`` of the feature size.

        Args:
            places: Coordinates in units of the largest feature.
            octaves: Fields that are added, each half as strong and half as large as the one before.
        """
        total = torch.zeros(len(places))
        for octave in range(octaves):
            # Shifted against each other, or all octaves would have an edge at the origin.
            total += 0.5**octave * self.at(places * 2.0**octave + 17.3 * octave)
        return total / (2 - 0.5 ** (octaves - 1))
