"""Robust means over frames, and smooth values where nothing was seen."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

# Bytes of a stack of frames that are sorted at once; sorting takes six times as much.
_CHUNK_BYTES = 10_000_000


def masked_median(
    values: UInt8[Tensor, "frame height width channel"], valid: Bool[Tensor, "frame height width"]
) -> tuple[Float[Tensor, "height width channel"], Bool[Tensor, "height width"]]:
    """Median over the frames where a pixel is valid (0..255), and where there is any such frame.

    Pixels without a valid frame are 0. Of an even number of values the lower middle one is taken.
    """
    n_frames, height, width, n_channels = values.shape
    count = valid.sum(0)
    median = torch.zeros(height, width, n_channels, device=values.device)
    rows = max(1, _CHUNK_BYTES // (2 * n_frames * width * n_channels))
    for start in range(0, height, rows):
        part = slice(start, start + rows)
        work = values[:, part].to(torch.int16)
        # 256 sorts behind every real value.
        work = torch.where(valid[:, part, :, None], work, work.new_tensor(256)).sort(0).values
        middle = ((count[part] - 1).clamp_min(0) // 2)[None, :, :, None]
        median[part] = work.gather(0, middle.expand(1, -1, -1, n_channels))[0].float()
    known = count > 0
    return median * known[..., None], known


def fill_smoothly(
    image: Float[Tensor, "height width channel"], known: Bool[Tensor, "height width"]
) -> Float[Tensor, "height width channel"]:
    """``image`` with its unknown pixels filled in smoothly from the known ones; known pixels are kept.

    Unknown pixels are 0 where nothing at all is known.

    Source: pull-push (Gortler et al., The Lumigraph, 1996).
    """
    weight = known.to(image)[None, None]
    filled = _pull_push(image.permute(2, 0, 1)[None] * weight, weight)
    return torch.where(known[..., None], image, filled[0].permute(1, 2, 0))


def _pull_push(
    weighted: Float[Tensor, "1 channel height width"], weight: Float[Tensor, "1 1 height width"]
) -> Float[Tensor, "1 channel height width"]:
    height, width = weighted.shape[2:]
    if height * width == 1:
        return weighted / weight.clamp_min(1e-6)
    pad = (0, width % 2, 0, height % 2)
    pooled, pooled_weight = (
        4 * functional.avg_pool2d(functional.pad(x, pad), 2) for x in (weighted, weight)
    )
    share = pooled_weight.clamp(max=1) / pooled_weight.clamp_min(1e-6)
    coarse = _pull_push(pooled * share, pooled_weight * share)
    size = (height + height % 2, width + width % 2)
    coarse = functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return weighted + (1 - weight) * coarse[..., :height, :width]


def fill_nearest(
    image: Float[Tensor, "height width channel"], known: Bool[Tensor, "height width"]
) -> Float[Tensor, "height width channel"]:
    """``image`` with each unknown pixel taken from the nearest known one; unchanged where nothing is known."""
    if not known.any():
        return image
    nearest = ndimage.distance_transform_edt(
        ~known.cpu().numpy(), return_distances=False, return_indices=True
    )
    rows, columns = torch.from_numpy(np.asarray(nearest)).long().to(image.device)
    return image[rows, columns]


def dilate(mask: Float[Tensor, "height width"], radius_px: int) -> Float[Tensor, "height width"]:
    """Largest value within a square of ``radius_px`` around each pixel."""
    if radius_px == 0:
        return mask
    side_px = 2 * radius_px + 1
    return functional.max_pool2d(mask[None], side_px, stride=1, padding=radius_px)[0]
