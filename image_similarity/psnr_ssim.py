"""PSNR, SSIM and MS-SSIM of sRGB images in 0..1, per frame, with an optional weight per pixel.

All three use a data range of 1, the three sRGB channels as they are (no luma), and treat every pixel of
the crop alike unless a weight is given. SSIM is measured in float64, since variances cancel in float32. Which pixels an
image holds (background, mask) is for the caller to decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

WINDOW_TAPS = 11
WINDOW_SIGMA_PX = 1.5
C1, C2 = 0.01**2, 0.03**2
# Wang, Simoncelli and Bovik 2003, section 3.2, finest scale first.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Up to this side (pixel) windows are matrix products.
LARGEST_PRODUCT_PX = 256
# 0..255 images that differ nowhere have no finite PSNR; this bounds it at 100 dB.
SMALLEST_MSE = 1e-10

Images = Float[Tensor, "frame height width 3"]
Weights = Float[Tensor, "frame height width"]


def psnr(first: Images, second: Images, weight: Weights | None = None) -> Float[Tensor, " frame"]:
    """Peak signal-to-noise ratio of each frame, decibel, at most 100.

    Args:
        first: sRGB in 0..1.
        second: sRGB in 0..1.
        weight: Where given, the squared error is averaged with these weights (0: pixel left out; nan of a frame where all
            are).

    Source: 10 log10(1 / MSE), MSE over pixels and channels of one frame.
    """
    error = ((first - second) ** 2).mean(-1)
    mse = _weighted_mean(error[..., None], weight)[:, 0]
    return -10 * torch.log10(mse.clamp_min(SMALLEST_MSE))


@dataclass(frozen=True)
class SimilarityMaps:
    """Terms of the structural similarity at every window centre of one scale, (frame, height, width, 3)."""

    luminance: Tensor
    contrast: Tensor
    """Contrast times structure."""


def ssim(first: Images, second: Images, weight: Weights | None = None) -> Float[Tensor, " frame"]:
    """Structural similarity of each frame: 11-tap Gaussian window of 1.5 px, whole windows only, mean of the channels.

    Args:
        first: sRGB in 0..1, at least 11 px on each side.
        second: As ``first``.
        weight: Where given, the map of similarities is averaged with these weights at the window centres.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, eq. 13, K1 = 0.01, K2 = 0.03.
    """
    return ssim_of_maps(similarity_maps(first, second, scales=1), weight)


def ssim_of_maps(
    maps: list[SimilarityMaps], weight: Weights | None = None
) -> Float[Tensor, " frame"]:
    """:func:`ssim` from maps that are there already (the first scale is used)."""
    finest = maps[0]
    return _weighted_mean(finest.luminance * finest.contrast, _inner(weight)).mean(-1)


def ms_ssim_scales(height: int, width: int) -> int:
    """Number of scales (at most 5) whose image still holds one whole 11-tap window.

    Raises:
        ValueError: not even the first does.
    """
    scales = 0
    side = min(height, width)
    while side >= WINDOW_TAPS and scales < len(MS_SSIM_WEIGHTS):
        scales, side = scales + 1, side // 2
    if scales == 0:
        raise ValueError(
            f"an image of {width} x {height} px is smaller than one {WINDOW_TAPS}-px window"
        )
    return scales


def ms_ssim_name(height: int, width: int) -> str:
    """``ms_ssim`` for the published five scales, ``ms_ssim_<n>scale`` where the image is too small for them."""
    scales = ms_ssim_scales(height, width)
    return "ms_ssim" if scales == len(MS_SSIM_WEIGHTS) else f"ms_ssim_{scales}scale"


def ms_ssim(
    first: Images, second: Images, weight: Weights | None = None
) -> Float[Tensor, " frame"]:
    """Multi-scale structural similarity of each frame, over :func:`ms_ssim_scales` scales.

    Contrast-structure at every scale, luminance at the coarsest only; each scale halves the last by
    2 x 2 means (an odd last row or column is dropped). Where fewer than five scales fit, the first
    weights are rescaled to sum to 1 and the metric is named after its scales (:func:`ms_ssim_name`).
    A negative mean is taken as 0 before the powers. Channels are averaged at the end.

    Args:
        first: sRGB in 0..1.
        second: sRGB in 0..1.
        weight: Where given, every scale's map is averaged with these weights, halved with the images.

    Source: Wang, Simoncelli and Bovik 2003, eq. 7; the treatment of small images is own.
    """
    scales = ms_ssim_scales(*first.shape[1:3])
    return ms_ssim_of_maps(similarity_maps(first, second, scales), weight)


def ms_ssim_of_maps(
    maps: list[SimilarityMaps], weight: Weights | None = None
) -> Float[Tensor, " frame"]:
    """:func:`ms_ssim` from maps that are there already, one for each scale."""
    powers = torch.tensor(MS_SSIM_WEIGHTS[: len(maps)], dtype=torch.float64)
    powers = (powers / powers.sum()).tolist()
    result = torch.ones_like(maps[0].contrast[:, 0, 0])
    for scale, (of_scale, power) in enumerate(zip(maps, powers, strict=True)):
        coarsest = scale == len(maps) - 1
        similarity = of_scale.luminance * of_scale.contrast if coarsest else of_scale.contrast
        result = result * _weighted_mean(similarity, _inner(weight)).clamp_min(0) ** power
        weight = None if weight is None else _halve(weight[..., None])[..., 0]
    return result.mean(-1)


def similarity_maps(
    first: Images, second: Images, scales: int, dtype: torch.dtype = torch.float64
) -> list[SimilarityMaps]:
    """Similarity terms at ``scales`` scales, finest first; each scale halves the last by 2 x 2 means.

    Args:
        first: sRGB in 0..1.
        second: sRGB in 0..1.
        scales: At most :func:`ms_ssim_scales`.
        dtype: What to compute in; float32 is enough for a loss.
    """
    first, second = first.to(dtype), second.to(dtype)
    maps = [_maps_of_scale(first, second)]
    for _ in range(scales - 1):
        first, second = _halve(first), _halve(second)
        maps.append(_maps_of_scale(first, second))
    return maps


def _inner(
    weight: Weights | None,
) -> Float[Tensor, "frame inner_height inner_width"] | None:
    """Weights at the window centres."""
    border = WINDOW_TAPS // 2
    return None if weight is None else weight[:, border:-border, border:-border]


def _weighted_mean(
    values: Float[Tensor, "frame height width channel"], weight: Weights | None
) -> Float[Tensor, "frame channel"]:
    if weight is None:
        return values.mean((1, 2))
    # Of no pixel at all there is no mean: nan.
    return (values * weight[..., None]).sum((1, 2)) / weight.sum((1, 2))[:, None]


def _halve(
    images: Float[Tensor, "frame height width channel"],
) -> Float[Tensor, "frame half_height half_width channel"]:
    return functional.avg_pool2d(images.movedim(-1, 1), 2).movedim(1, -1)


def _blur(
    images: Float[Tensor, "frame height width channel"],
) -> Float[Tensor, "frame inner_height inner_width channel"]:
    """Gaussian window means, whole windows only.

    Small images by two matrix products, two to ten times faster under autograd than anything else tried. Large ones as
    sums of shifted planes, one plane at a time so that it stays in the processor's cache: twenty times faster here than
    a float64 convolution of 512 x 512 pixels, and twice as fast as the products.
    """
    planes = images.movedim(-1, 1)
    if max(planes.shape[2:]) <= LARGEST_PRODUCT_PX:
        rows, columns = (_window_matrix(side, images) for side in planes.shape[2:])
        return (rows @ planes @ columns.T).movedim(1, -1)
    weights = _window_taps().tolist()
    blurred = [_blur_plane(plane.contiguous(), weights) for plane in planes.flatten(0, 1)]
    return torch.stack(blurred).unflatten(0, planes.shape[:2]).movedim(1, -1)


def _window_taps() -> Float[Tensor, " tap"]:
    offset = torch.arange(WINDOW_TAPS, dtype=torch.float64) - WINDOW_TAPS // 2
    taps = torch.exp(-0.5 * (offset / WINDOW_SIGMA_PX) ** 2)
    return taps / taps.sum()


def _window_matrix(side: int, like: Tensor) -> Float[Tensor, "inner side"]:
    """Row i holds the window's weights from column i on."""
    eye = torch.eye(side - WINDOW_TAPS + 1, dtype=torch.float64)
    rows = functional.conv1d(
        eye[:, None], _window_taps()[None, None].flip(-1), padding=WINDOW_TAPS - 1
    )
    return rows[:, 0].to(like)


def _blur_plane(
    plane: Float[Tensor, "height width"], weights: list[float]
) -> Float[Tensor, "inner_height inner_width"]:
    height, width = (side - WINDOW_TAPS + 1 for side in plane.shape)
    rows = torch.zeros_like(plane[:height])
    for shift, weight in enumerate(weights):
        rows.add_(plane[shift : shift + height], alpha=weight)
    window = torch.zeros_like(rows[:, :width])
    for shift, weight in enumerate(weights):
        window.add_(rows[:, shift : shift + width], alpha=weight)
    return window


def _maps_of_scale(first: Images, second: Images) -> SimilarityMaps:
    mean_first, mean_second = _blur(first), _blur(second)
    variance_first = _blur(first**2) - mean_first**2
    variance_second = _blur(second**2) - mean_second**2
    covariance = _blur(first * second) - mean_first * mean_second
    return SimilarityMaps(
        luminance=(2 * mean_first * mean_second + C1) / (mean_first**2 + mean_second**2 + C1),
        contrast=(2 * covariance + C2) / (variance_first + variance_second + C2),
    )
