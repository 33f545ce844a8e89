"""Rotated square regions of an image: where the face networks look, and the sampling of their input pixels.

Pixel coordinates everywhere: (0, 0) is the centre of the top-left pixel. The networks' own coordinates run
from 0 to their input size over the region, corner to corner, and input pixel k lies at coordinate k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

UNIT_CORNERS = np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])


@dataclass(frozen=True)
class RotatedSquare:
    """A square region of an image.

    Attributes:
        center_x: Pixel column of the centre.
        center_y: Pixel row of the centre.
        side_px: Length of a side in pixels.
        angle_rad: Rotation from the image's x axis towards its y axis (clockwise as seen).
    """

    center_x: float
    center_y: float
    side_px: float
    angle_rad: float = 0.0

    def image_from_unit(self) -> Float[np.ndarray, "2 3"]:
        """Affine map from unit coordinates (0..1 over the region, corner to corner) to image pixels."""
        cos, sin = (
            np.cos(self.angle_rad) * self.side_px,
            np.sin(self.angle_rad) * self.side_px,
        )
        return np.array(
            [
                [cos, -sin, self.center_x - 0.5 * (cos - sin)],
                [sin, cos, self.center_y - 0.5 * (sin + cos)],
            ]
        )


def sample_square(
    image: UInt8[np.ndarray, "height width 3"],
    square: RotatedSquare,
    size: int,
    border: str = "edge",
    gain: float = 1.0,
    offset: float = 0.0,
) -> Float32[np.ndarray, "{size} {size} 3"]:
    """Bilinear samples of a region, row-major: ``gain`` * (0..255) + ``offset``.

    Args:
        image: sRGB.
        square: The region; may reach beyond the image.
        size: Samples along each side; sample (0, 0) lies in the region's first corner.
        border: What lies outside the image: ``"edge"`` (the nearest pixel) or ``"black"``.
        gain: Factor on the pixel values.
        offset: Added after that.
    """
    height, width = image.shape[:2]
    matrix = square.image_from_unit()
    corners = matrix @ UNIT_CORNERS
    # Only the pixels under the region are converted to float; two more on each side, because the
    # sampler's border rule must not reach pixels that are still inside the image.
    low = np.floor(corners.min(axis=1)).astype(int) - 2
    high = np.ceil(corners.max(axis=1)).astype(int) + 3
    x0, y0 = np.clip(low, 0, [width - 1, height - 1])
    x1, y1 = np.clip(high, [x0 + 1, y0 + 1], [width, height])
    pixels = torch.from_numpy(image[y0:y1, x0:x1].astype(np.float32)).permute(2, 0, 1)[None]
    # torch's grid: -1..1 from the outer edge of the first pixel to that of the last.
    grid_from_unit = matrix - [[0, 0, x0 - 0.5], [0, 0, y0 - 0.5]]
    grid_from_unit *= [[2.0 / (x1 - x0)], [2.0 / (y1 - y0)]]
    grid_from_unit[:, 2] -= 1.0
    grid_from_unit[:, :2] /= size
    grid = torch.empty(1, size, size, 2)
    index = torch.arange(size, dtype=torch.float32)
    for axis, (right, down, start) in enumerate(grid_from_unit.tolist()):
        # Two broadcasts; a matrix product over homogeneous coordinates takes five times as long.
        torch.add(index * right + start, index[:, None], alpha=down, out=grid[0, :, :, axis])
    padding = {"edge": "border", "black": "zeros"}[border]
    sampled = torch.nn.functional.grid_sample(
        pixels, grid, padding_mode=padding, align_corners=False
    )[0].numpy()
    out = np.empty((size, size, 3), np.float32)
    for channel in range(3):
        # Channel by channel is the fastest way to the networks' layout.
        np.multiply(sampled[channel], np.float32(gain), out=out[:, :, channel])
    if offset:
        out += np.float32(offset)
    return out


def square_around(
    low: Float[np.ndarray, "2"],
    high: Float[np.ndarray, "2"],
    level: Float[np.ndarray, "2 2"],
    scale: float = 1.5,
) -> RotatedSquare:
    """Square around an upright box, turned so that two points lie level.

    Args:
        low: Smallest (x, y) of the box in pixels.
        high: Largest (x, y) of the box in pixels.
        level: Two points (x, y): the one further left in the face as seen, then the one further right.
        scale: Side over the longer side of the box.
    """
    (dx, dy), center = level[1] - level[0], (low + high) / 2
    return RotatedSquare(
        center_x=float(center[0]),
        center_y=float(center[1]),
        side_px=float((high - low).max()) * scale,
        angle_rad=float(np.arctan2(dy, dx)),
    )
