"""How different two pictures look, as a loss: LPIPS where its weights are given, otherwise a substitute that says so."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from artifacts.errors import InputError
from avatar_models.registry import PERCEPTUAL_LOSSES
from image_similarity.lpips import load_lpips
from image_similarity.psnr_ssim import ms_ssim_scales, similarity_maps

LOGGER = logging.getLogger(__name__)

LPIPS_NAME = "lpips_alex"
SUBSTITUTE_NAME = "substitute: multi-scale structure and gradient"
# Sizes at which steps between neighbouring pixels are compared: full, half, quarter.
GRADIENT_SCALES = 3
# On faces of 64 to 256 px that are blurred or moved, the part of structure is 2 to 8 times that of gradients: so
# weighted, both count.
GRADIENT_WEIGHT = 4.0

Pictures = Float[Tensor, "n 3 height width"]


class PerceptualLoss(nn.Module):
    """Mean difference of pairs of pictures, 0 for equal ones. Holds no parameters, and nothing of it is saved.

    Attributes:
        name: Which loss it is; for logs and for the name of the loss term.
    """

    name: str

    def forward(self, found: Pictures, wanted: Pictures) -> Float[Tensor, ""]:
        """Difference of sRGB pictures in 0..1, at least 32 px a side."""
        # Differences of nearly equal numbers do not survive 16 bits.
        with torch.autocast(found.device.type, enabled=False):
            return self.difference(found.float(), wanted.float())

    def difference(self, found: Pictures, wanted: Pictures) -> Float[Tensor, ""]:
        """What :meth:`forward` returns, in float32."""
        raise NotImplementedError


class LpipsLoss(PerceptualLoss):
    """LPIPS 0.1 with AlexNet.

    Source: Zhang, Isola, Efros, Shechtman and Wang 2018, eq. 1.
    """

    name = LPIPS_NAME

    def __init__(self, weights: Sequence[Path]) -> None:
        """Read the weights.

        Raises:
            InputError: a file is missing or is not one of LPIPS.
        """
        super().__init__()
        self.lpips = load_lpips(weights)

    def difference(self, found: Pictures, wanted: Pictures) -> Float[Tensor, ""]:
        """Mean LPIPS."""
        return self.lpips(found.movedim(1, -1), wanted.movedim(1, -1)).mean()


class StructureLoss(PerceptualLoss):
    """What stands in for LPIPS: :func:`structure_loss` and :func:`gradient_loss`. It knows nothing about faces."""

    name = SUBSTITUTE_NAME

    def difference(self, found: Pictures, wanted: Pictures) -> Float[Tensor, ""]:
        """Both parts, weighted."""
        return structure_loss(found, wanted) + GRADIENT_WEIGHT * gradient_loss(found, wanted)


def perceptual_loss(
    kind: str, weights: Sequence[Path], device: torch.device | str
) -> PerceptualLoss:
    """The perceptual loss of a training; says in the log which one it is.

    Args:
        kind: ``lpips``; ``substitute``; or ``auto``, LPIPS where weights are given.
        weights: Files of AlexNet and of LPIPS's linear heads; none for the substitute.
        device: Where it is computed.

    Raises:
        InputError: weights are wanted and not given, or a file is not one of LPIPS.
    """
    if kind not in PERCEPTUAL_LOSSES:
        raise ValueError(f"unknown perceptual loss {kind!r}")
    if kind == "lpips" and not weights:
        raise InputError(
            "the perceptual loss lpips needs its weights (alexnet-owt-7be5be79.pth and lpips_alex_linear.pth): name "
            "both files with --lpips-weights, or choose perceptual=substitute"
        )
    loss = StructureLoss() if kind == "substitute" or not weights else LpipsLoss(weights)
    LOGGER.info("perceptual loss: %s", loss.name)
    return loss.to(device)


def structure_loss(found: Pictures, wanted: Pictures) -> Float[Tensor, ""]:
    """1 - SSIM, mean over the scales that hold a whole window (32 px: two), at most five.

    A mean where MS-SSIM has a product of powers, whose gradient is infinite where structures are opposite.

    Source: own, on Wang, Simoncelli and Bovik 2003.
    """
    scales = ms_ssim_scales(*found.shape[2:])
    maps = similarity_maps(found.movedim(1, -1), wanted.movedim(1, -1), scales, found.dtype)
    terms = [1 - (of_scale.luminance * of_scale.contrast).mean() for of_scale in maps]
    return torch.stack(terms).mean()


def gradient_loss(
    found: Float[Tensor, "n channel height width"], wanted: Float[Tensor, "n channel height width"]
) -> Float[Tensor, ""]:
    """Mean difference of the steps between neighbouring pixels, at full, half and quarter size.

    Source: own.
    """
    difference = found - wanted
    terms: list[Tensor] = []
    for _ in range(GRADIENT_SCALES):
        terms += [difference.diff(dim=-1).abs().mean(), difference.diff(dim=-2).abs().mean()]
        difference = functional.avg_pool2d(difference, 2)
    return torch.stack(terms).mean()
