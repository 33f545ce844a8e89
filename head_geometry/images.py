"""The one rule for changing the size of an image and of points in it: pixels are areas, edges stay where they are."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

# Exponent of the display: sRGB values are close to linear light to this power.
DISPLAY_GAMMA = 2.2


def _axis_weights(old: int, new: int, scale: float, start: float) -> Float[Tensor, "new old"]:
    """Weights of the ``old`` pixels in each of the ``new`` ones, float64; rows sum to 1 (to 0 beyond the image).

    Args:
        old: Pixels of the source.
        new: Pixels of the result.
        scale: Source pixels in one of the result's.
        start: Where the first pixel of the result begins, source pixels from the source's edge.
    """
    target = torch.arange(new, dtype=torch.float64)[:, None] * scale + start
    source = torch.arange(old, dtype=torch.float64)[None]
    if scale >= 1:
        # Exact overlap of [target, target + scale] with [source, source + 1].
        overlap = torch.minimum(target + scale, source + 1) - torch.maximum(target, source)
        weights = overlap.clamp_min(0)
    else:
        position = (target + 0.5 * scale - 0.5).clamp(0, old - 1)
        weights = (1 - (position - source).abs()).clamp_min(0)
    return weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)


@lru_cache(maxsize=64)
def _resize_weights(old: int, new: int) -> Tensor:
    return _axis_weights(old, new, old / new, 0.0).float()


def _axis_cover(old: int, new: int, scale: float, start: float) -> Float[Tensor, " new"]:
    """Share of each of the ``new`` pixels that lies on the source; arguments as :func:`_axis_weights`."""
    low = torch.arange(new, dtype=torch.float64) * scale + start
    return ((low + scale).clamp_max(old) - low.clamp_min(0)).clamp_min(0) / scale


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
    rows = _resize_weights(images.shape[-3], height).to(work)
    columns = _resize_weights(images.shape[-2], width).to(work)
    out = _apply(rows, columns, work)
    if images.is_floating_point():
        return out
    return out.round().clamp(0, 255).to(images.dtype)


def resample_area(
    images: Float[Tensor, "*batch height width channel"],
    source_from_result: Float[Tensor, "3 3"],
    size: tuple[int, int],
    outside: float = 0.0,
) -> Float[Tensor, "*batch new_height new_width channel"]:
    """Images seen through a scaling and a shift, by the rule of :func:`resize_area`; ``outside`` beyond their edges.

    A pixel of the result that lies partly beyond an edge is mixed by area. Differentiable in the images.

    Args:
        images: Any range, channel last.
        source_from_result: Pixels of the result to pixels of ``images``: scale and shift for each axis.
        size: Width, height of the result in pixels.
        outside: Value beyond the edges.

    Raises:
        ValueError: the map turns, shears or flips.

    Source: own.
    """
    (scale_x, xy, x), (yx, scale_y, y), _ = source_from_result.tolist()
    if max(abs(xy), abs(yx)) > 1e-6 * scale_x or min(scale_x, scale_y) <= 0:
        raise ValueError("a picture is resampled by scale and shift alone")
    axes = [
        (images.shape[-3], size[1], scale_y, y + 0.5 - 0.5 * scale_y),
        (images.shape[-2], size[0], scale_x, x + 0.5 - 0.5 * scale_x),
    ]
    cover_y, cover_x = (_axis_cover(*axis) for axis in axes)
    rows, columns = (
        (_axis_weights(*axis) * cover[:, None]).to(images)
        for axis, cover in zip(axes, (cover_y, cover_x), strict=True)
    )
    rest = 1 - cover_y[:, None] * cover_x
    return _apply(rows, columns, images) + outside * rest[..., None].to(images)


def _apply(
    rows: Float[Tensor, "new_height height"],
    columns: Float[Tensor, "new_width width"],
    images: Float[Tensor, "*batch height width channel"],
) -> Float[Tensor, "*batch new_height new_width channel"]:
    out = torch.einsum("Hh,...hwc->...Hwc", rows, images)
    return torch.einsum("Ww,...hwc->...hWc", columns, out)


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
