"""What is known of a drawn head: what of it changes from moment to moment, and how much each number matters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from artifacts.errors import InputError
from avatar_models.triplane.weights import KNOWN, read_record
from head_geometry.head_model import HeadModel

# First letters of what changes while one person talks; these come last.
MOMENT = ("expression", "joint", "light")
# A movement this large matters as much as one standard deviation of a colour, metres: a pixel of the pictures.
_PIXEL_M = 0.003
# Expressions further from the drawn heads' mean than this are taken as this far, standard deviations.
_FURTHEST = 4.0


@dataclass(frozen=True)
class Known:
    """What the numbers of an own prior's z mean.

    Attributes:
        name: Of each number.
        mean: Of what was drawn.
        std: What one unit of z is.
        expression_name: Of the head model that was drawn, in the order of ``expression0`` …
        joint_name: The same for its joints; ``joint0`` … are their axis-angles.
    """

    name: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    expression_name: tuple[str, ...]
    joint_name: tuple[str, ...]

    def to_json(self) -> str:
        """Text for the metadata of a weight file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str) -> Known:
        """The inverse of :meth:`to_json`.

        Args:
            text: What it wrote.
            source: Where that comes from, for messages.

        Raises:
            InputError: it is damaged.
        """
        try:
            found = cls(**{name: tuple(values) for name, values in json.loads(text).items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{source}: what the prior's numbers mean cannot be read ({error}); train it again"
            ) from error
        n_codes = len(found.expression_name) + 3 * len(found.joint_name)
        counts = (len(found.mean), len(found.std), len(found._codes()) - n_codes + len(found.name))
        if any(count != len(found.name) for count in counts):
            raise InputError(
                f"{source}: the prior's numbers and their names differ in count; train it again"
            )
        return found

    def _codes(self) -> list[int]:
        """Which numbers are expression coefficients and axis-angles of joints."""
        return [i for i, name in enumerate(self.name) if name.startswith(("expression", "joint"))]

    def fits(self, head_model: HeadModel) -> bool:
        """True where codes of this head model mean the same."""
        own = self.expression_name, self.joint_name
        return own == (head_model.expression_name, head_model.joint_name)

    def z_of_codes(
        self, identity: Float[Tensor, " identity"], code: Float[Tensor, "n code"]
    ) -> Float[Tensor, "n z"]:
        """Z of a head of a given shape, of mean looks under the mean light, with given expressions.

        Args:
            identity: Shape of the head, standard deviations of the head model.
            code: Expression coefficients, then the axis-angle of every joint (radians).

        Source: own.
        """
        shapes = [i for i, name in enumerate(self.name) if name.startswith("identity")]
        identity = functional.pad(identity, (0, max(0, len(shapes) - len(identity))))
        z = code.new_zeros(len(code), len(self.name))
        for place, value in ((shapes, identity[: len(shapes)]), (self._codes(), code)):
            mean, std = (code.new_tensor(values)[place] for values in (self.mean, self.std))
            z[:, place] = ((value - mean) / std).clamp(-_FURTHEST, _FURTHEST)
        return z


def read_known(path: Path) -> Known | None:
    """What the numbers of z mean in a file of weights; None where it does not say so.

    Raises:
        InputError: the file is damaged.
    """
    if path.suffix != ".safetensors":
        return None
    text = read_record(path).get(KNOWN)
    return None if text is None else Known.from_json(text, str(path))


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
    """How far the vertex moves that one unit of a number moves most, metres; NaN for what is not a shape.

    Raises:
        InputError: the head model has fewer shapes than are named.

    Source: own.
    """
    bases = {
        "identity": head_model.identity_basis * head_model.identity_std[:, None, None],
        "expression": head_model.expression_basis,
    }
    found = torch.full((len(names),), torch.nan)
    for kind, basis in bases.items():
        moved = basis.norm(dim=-1).amax(1)
        for place, name in enumerate(names):
            if not name.startswith(kind):
                continue
            index = int(name.removeprefix(kind))
            if index >= len(moved):
                raise InputError(
                    f"the pictures name {name}, but the head model has {len(moved)} of that kind; give the head model "
                    "that they were drawn with"
                )
            found[place] = moved[index]
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
