"""Sizes and rendering options of a tri-plane generator, as data (no torch here)."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from artifacts.errors import InputError

SUPERRESOLUTIONS = ("none", "hybrid2x", "hybrid4x", "hybrid8x", "hybrid8xdc")
PLANE_AXES = ("published", "orthogonal")
RAY_BOUNDS = ("published", "box")


@dataclass(frozen=True)
class Layout:
    """Everything that decides shapes and pictures of a generator besides its weights.

    The defaults are those of the published ``ffhq512-128``. Lengths are in scene units (the published box is 1
    wide; the head of an adult is about .6 of it).
    """

    z_dim: int = 512
    z_unit_moment: bool = True
    """The mapping scales each z to a mean square of 1."""
    person_z: int = 0
    """So many of z's numbers, the first ones, say who is drawn, the rest how he looks at a moment; 0: not told apart."""
    w_dim: int = 512
    label_dim: int = 25
    """Length of the camera label: 16 numbers of world_from_camera, 9 of the intrinsics in image widths."""
    mapping_layers: int = 2
    plane_side: int = 256
    """Side of the three feature planes, a power of two."""
    plane_channels: int = 32
    """Channels of one plane."""
    channel_base: int = 32768
    channel_max: int = 512
    """A backbone block of side r has min(channel_base / r, channel_max) channels."""
    decoder_hidden: int = 64
    feature_channels: int = 32
    """Channels of the volume rendered picture; the first three are its RGB."""
    decoder_lr_mul: float = 1.0
    superresolution: str = "hybrid8xdc"
    image_side: int = 512
    """Side of the finished picture, pixels."""
    neural_side: int = 128
    """Side of the volume rendered picture, pixels."""
    ray_bounds: str = "published"
    """``published``: every ray has samples from near to far; ``box``: where it is inside the cube of the planes."""
    near: float = 2.25
    far: float = 3.3
    """Distances from the camera where rays begin and end."""
    box_width: float = 1.0
    """The planes cover a cube of this width around the origin."""
    coarse_samples: int = 48
    fine_samples: int = 48
    white_back: bool = False
    label_scale: float = 1.0
    label_off: bool = False
    """The mapping does not look at the label."""
    plane_axes: str = "published"
    """``published``: (x, y), (x, z), (z, x), as the published weights were trained; ``orthogonal``: the last is (z, y)."""
    camera_radius: float = 2.7
    """Distance of the training cameras from the origin (not from their pivot: the labels of FFHQ's pictures say so)."""
    camera_pivot: tuple[float, ...] = (0.0, 0.0, 0.2)
    """Where the training cameras look at."""
    units_per_metre: float = 2.7
    """Scene units in a metre of the head model."""
    origin_m: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Where the scene's origin lies in the head model's axes."""

    def __post_init__(self) -> None:
        for name, known in (
            ("superresolution", SUPERRESOLUTIONS),
            ("plane_axes", PLANE_AXES),
            ("ray_bounds", RAY_BOUNDS),
        ):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} of a generator is {getattr(self, name)!r}, expected one of {list(known)}"
                )
        if self.plane_side < 8 or self.plane_side & (self.plane_side - 1):
            raise InputError(
                f"plane_side of a generator is {self.plane_side}, expected a power of two"
            )
        if self.superresolution == "none" and self.image_side != self.neural_side:
            raise InputError("a generator without super-resolution has image_side = neural_side")

    @property
    def block_sides(self) -> tuple[int, ...]:
        """Sides of the backbone's blocks: 4, 8, … plane_side."""
        return tuple(2**power for power in range(2, int(math.log2(self.plane_side)) + 1))

    @property
    def n_latents(self) -> int:
        """Latents that the backbone reads, one per convolution and one for the last toRGB."""
        return 2 * len(self.block_sides)

    def channels(self, side: int) -> int:
        """Channels of the backbone's block of this side."""
        return min(self.channel_base // side, self.channel_max)

    def to_json(self) -> str:
        """Text for the metadata of a weight file."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """The inverse of :meth:`to_json`.

        Raises:
            InputError: unknown or missing sizes, or a value of another type.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            known = {field.name: field.default for field in dataclasses.fields(cls)}
            if not isinstance(values, dict) or values.keys() != known.keys():
                raise ValueError("other names")
            fitted: dict[str, Any] = {
                name: _like(known[name], value) for name, value in values.items()
            }
        except (ValueError, TypeError) as error:
            raise InputError(
                f"the sizes of a generator cannot be read ({error}); its file was made by another version"
            ) from error
        return cls(**fitted)


def _like(default: object, value: object) -> object:
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(float(entry) for entry in value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"{value!r} is no {type(default).__name__}")
    return value
