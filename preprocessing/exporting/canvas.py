"""Pictures laid on a larger canvas whose middle is the principal point, for tools that know no other camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

# A shift by less than this is none (pixel).
SMALLEST_SHIFT_PX = 1e-3


@dataclass(frozen=True)
class Canvas:
    """A canvas around a picture; canvas pixel = picture pixel + offset.

    Attributes:
        size: Width, height, pixels.
        offset: x, y, pixels; a fraction of a pixel only where the principal point asks for it.
    """

    size: tuple[int, int]
    offset: tuple[float, float]

    @property
    def is_picture(self) -> bool:
        """True where the canvas is the picture itself."""
        return self.offset == (0.0, 0.0)

    def place(
        self, picture: UInt8[np.ndarray, "height width *channel"], fill: int
    ) -> UInt8[np.ndarray, "canvas_height canvas_width *channel"]:
        """The picture on the canvas, ``fill`` around it; resampled only where the offset is no whole number."""
        height, width = picture.shape[:2]
        if self.is_picture and self.size == (width, height):
            return picture
        whole = all(abs(value - round(value)) < SMALLEST_SHIFT_PX for value in self.offset)
        colour = fill if picture.ndim == 2 else (fill,) * picture.shape[2]
        placed = Image.fromarray(picture).transform(
            self.size,
            Image.Transform.AFFINE,
            (1, 0, -self.offset[0], 0, 1, -self.offset[1]),
            resample=Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC,
            fillcolor=colour,
        )
        return np.asarray(placed)


def centred_canvas(intrinsics: Float[Tensor, "3 3"], size: tuple[int, int]) -> Canvas:
    """The smallest canvas that holds the picture and has the principal point in its middle.

    Args:
        intrinsics: Pinhole matrix in pixels of the picture.
        size: Width, height of the picture, pixels.

    Source: own.
    """
    sides: list[int] = []
    offsets: list[float] = []
    for axis, length in enumerate(size):
        centre = float(intrinsics[axis, 2])
        reach = max(centre, length - 1 - centre)
        side = math.ceil(2 * reach + 1 - SMALLEST_SHIFT_PX)
        offset = (side - 1) / 2 - centre
        sides.append(side)
        offsets.append(0.0 if abs(offset) < SMALLEST_SHIFT_PX else offset)
    return Canvas((sides[0], sides[1]), (offsets[0], offsets[1]))
