"""Pictures laid on a larger canvas whose middle is the principal point, for tools that know no other camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from preprocessing.exporting.warp import warp

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
        source_from_canvas = torch.eye(3, dtype=torch.float64)
        source_from_canvas[:2, 2] = -torch.tensor(self.offset, dtype=torch.float64)
        return warp(picture, source_from_canvas, self.size, fill)


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
