"""What is known of a drawn head: what of it changes from moment to moment, and how much each number matters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.head_model import HeadModel

# First letters of what changes while one person talks; these come last.
MOMENT = ("expression", "joint", "light")
# A movement this large matters as much as one standard deviation of a colour, metres: a pixel of the pictures.
_PIXEL_M = 0.003


def count_of_person(names: Sequence[str]) -> int:
    """How many of the numbers, the first ones, say who it is.

    Raises:
        ValueError: person and moment are mixed.
    """
    is_moment = [name.startswith(MOMENT) for name in names]
    count = is_moment.index(True) if any(is_moment) else len(names)
    if not all(is_moment[count:]):
        raise ValueError("what is known of a person must come before what is known of a moment")
    return count


def largest_movement_m(head_model: HeadModel, names: Sequence[str]) -> Float[Tensor, " known"]:
    """How far the vertex moves that one unit of a number moves most, metres; NaN for what is not a shape."""
    bases = {
        "identity": head_model.identity_basis * head_model.identity_std[:, None, None],
        "expression": head_model.expression_basis,
    }
    found = torch.full((len(names),), torch.nan)
    for kind, basis in bases.items():
        moved = basis.norm(dim=-1).amax(1)
        for place, name in enumerate(names):
            if name.startswith(kind):
                found[place] = moved[int(name.removeprefix(kind))]
    return found


def importance(movement_m: Float[Tensor, " known"]) -> Float[Tensor, " known"]:
    """What standardised numbers are multiplied by, of mean square 1: a network learns large inputs first.

    A hundred small shapes, each as loud as the jaw, would drown it.

    Args:
        movement_m: Of one standard deviation, metres; NaN for what is not a shape.

    Source: own.
    """
    scale = torch.nan_to_num(movement_m / _PIXEL_M, nan=1.0)
    return scale / scale.square().mean().sqrt()
