"""The one rule for changing the size of an image and of points in it: pixels are areas, edges stay where they are."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

# Exponent of the display: sRGB values are close to linear light to this power.
DISPLAY_GAMMA = 2.2


@lru_cache(maxsize=64)
def _axis_weights(old: int, new: int) -> Tensor:
    """Weights of the ``old`` pixels in each of the ``new`` ones, (new, old) float32; rows sum to 1."""
    scale = old / new
    target = torch.arange(new, dtype=torch.float64)[:, None]
    source = torch.arange(old, dtype=torch.float64)[None]
    if new <= old:
        # Exact overlap of [target, target + 1] * scale with [source, source + 1].
        low = torch.maximum(target * scale, source)
        high = torch.minimum((target + 1) * scale, source + 1)
        weights = (high - low).clamp_min(0)
    else:
        position = ((target + 0.5) * scale - 0.5).clamp(0, old - 1)
        weights = (1 - (position - source).abs()).clamp_min(0)
    return (weights / weights.sum(1, keepdim=True)).float()


def resize_area(
    images: Shaped[Tensor, "*batch height width channel"], size: tuple[int, int]
) -> Shaped[Tensor, "*batch new_height new_width channel"]:
    """Images at another size: the exact mean over each new pixel's area (linear where an axis grows).

    Consistent with :func:`head_geometry.cameras.resize_intrinsics`: image edges map to image edges.
    A matte needs a channel axis (``alpha[..., None]``); colours that go with a matte should be
    premultiplied first, or resized without it.

    Args:
        images: uint8 or floating point, any range, channel last.
        size: New width, height in pixels.

    Returns:
        Images of the same dtype; uint8 is rounded to the nearest level.

    Source: own (separable box filter with fractional borders).
    """
    width, height = size
    if images.shape[-3:-1] == (height, width):
        return images
    work = images if images.is_floating_point() else images.float()
    rows = _axis_weights(images.shape[-3], height).to(work)
    columns = _axis_weights(images.shape[-2], width).to(work)
    out = torch.einsum("Hh,...hwc->...Hwc", rows, work)
    out = torch.einsum("Ww,...hwc->...hWc", columns, out)
    if images.is_floating_point():
        return out
    return out.round().clamp(0, 255).to(images.dtype)


def resize_points(
    points: Float[np.ndarray, "*batch 2"], old_size: tuple[int, int], new_size: tuple[int, int]
) -> Float[np.ndarray, "*batch 2"]:
    """Points after the image was resized; (0, 0) is the centre of the top-left pixel before and after.

    Args:
        points: x, y in pixels.
        old_size: Width, height.
        new_size: Width, height.
    """
    factor = np.array(new_size, points.dtype) / np.array(old_size, points.dtype)
    return (points + 0.5) * factor - 0.5
