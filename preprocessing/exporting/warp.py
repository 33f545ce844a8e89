"""Pictures seen through a homography."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def warp(
    picture: UInt8[np.ndarray, "height width *channel"],
    source_from_target: Float[Tensor, "3 3"],
    size: tuple[int, int],
    fill: int,
) -> UInt8[np.ndarray, "new_height new_width *channel"]:
    """Sample ``picture`` bicubically, ``fill`` beyond it; whole shifts copy its pixels.

    Args:
        picture: Grey or colour.
        source_from_target: Homography from pixels of the result to pixels of the picture.
        size: Width, height of the result, pixels.
        fill: Level, 0..255.
    """
    height, width = picture.shape[:2]
    y, x = torch.meshgrid(
        torch.arange(size[1], dtype=torch.float64),
        torch.arange(size[0], dtype=torch.float64),
        indexing="ij",
    )
    place = torch.stack([x, y, torch.ones_like(x)], -1) @ source_from_target.double().T
    pixels = place[..., :2] / place[..., 2:]
    # Between the picture's outer edges the sampler counts from -1 to 1.
    grid = (2 * pixels + 1) / torch.tensor([width, height]) - 1
    planes = torch.from_numpy(picture.reshape(height, width, -1)).permute(2, 0, 1).float()
    sampled = torch.nn.functional.grid_sample(
        (planes - fill)[None], grid[None].float(), mode="bicubic", align_corners=False
    )[0]
    levels = (sampled + fill).round().clamp(0, 255).byte().permute(1, 2, 0)
    return levels.numpy().reshape(size[1], size[0], *picture.shape[2:])
