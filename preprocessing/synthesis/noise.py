"""Smooth random fields over space, the same for the same seed: what skin, hair and cloth are painted with."""

from __future__ import annotations

from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

_PRIMES = (73856093, 19349663, 83492791)
_MIXERS = ((0x45D9F3B, 16), (0x45D9F3B, 16))
_MASK = 0xFFFFFFFF


def _lattice_values(cell: Int[Tensor, "point axis"], seed: int) -> Float[Tensor, " point"]:
    """A random number in 0..1 for every lattice point."""
    mixed = torch.full_like(cell[:, 0], (seed * 2654435761 + 12345) & _MASK)
    for axis in range(cell.shape[1]):
        mixed = (mixed ^ (cell[:, axis] * _PRIMES[axis])) & _MASK
    for factor, shift in _MIXERS:
        mixed = ((mixed ^ (mixed >> shift)) * factor) & _MASK
    mixed = mixed ^ (mixed >> 16)
    return (mixed & 0xFFFFFF).float() / 0xFFFFFF


def value_noise(
    places: Float[Tensor, "point axis"], seed: int, period: int | None = None
) -> Float[Tensor, " point"]:
    """Smooth noise in 0..1 with features of size 1.

    Args:
        places: Coordinates in units of the feature size, one to three axes.
        seed: Another seed gives another field.
        period: Where given, the field repeats along the first axis after this many units.

    Source: value noise (Perlin's lattice and his fade curve 6t⁵ - 15t⁴ + 10t³, values instead of gradients).
    """
    floor = places.floor()
    inside = (places - floor).float()
    blend = inside**3 * (inside * (inside * 6 - 15) + 10)
    cell = floor.long()
    total = torch.zeros_like(blend[:, 0])
    for corner in product((0, 1), repeat=places.shape[1]):
        offset = torch.tensor(corner)
        index = cell + offset
        if period is not None:
            index = torch.cat([index[:, :1] % period, index[:, 1:]], 1)
        weight = torch.where(offset.bool(), blend, 1 - blend).prod(1)
        total += weight * _lattice_values(index, seed)
    return total


def fractal_noise(
    places: Float[Tensor, "point axis"], seed: int, octaves: int = 4, period: int | None = None
) -> Float[Tensor, " point"]:
    """Noise in about 0..1 with details down to ``2 ** -(octaves - 1)`` of the feature size.

    Args:
        places: Coordinates in units of the largest feature.
        seed: Random seed.
        octaves: Fields that are added, each half as strong and half as large as the one before.
        period: As in :func:`value_noise`.
    """
    total, norm = torch.zeros(len(places)), 0.0
    for octave in range(octaves):
        repeat = None if period is None else period * 2**octave
        total += 0.5**octave * value_noise(places * 2.0**octave, seed + 101 * octave, repeat)
        norm += 0.5**octave
    return total / norm
