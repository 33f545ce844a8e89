"""How good a prior is on people it was not trained on, while it is trained."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from avatar_models.prior.known import MOMENT
from avatar_models.prior.pictures import PriorPictures

# Heads that are drawn from what is known of them, and random ones; sides of their pictures (pixel).
COMPARED, COMPARED_SIDE = 24, 64
RANDOM, RANDOM_SIDE = 64, 32
_CELLS, _BANDS = 4, 3


def recombined(
    pictures: PriorPictures, count: int, generator: torch.Generator
) -> Float[Tensor, "n known"]:
    """What could be known of random heads: looks of one training moment, expression and light of two others."""
    of = {
        name: torch.tensor([known.startswith(name) for known in pictures.known_name])
        for name in MOMENT
    }
    chosen = torch.randint(len(pictures.train_moments), (3, count), generator=generator)
    looks, expression, light = (
        pictures.known[torch.from_numpy(pictures.train_moments[row.numpy()])] for row in chosen
    )
    found = torch.where((of["expression"] | of["joint"]).to(looks.device), expression, looks)
    return torch.where(of["light"].to(looks.device), light, found)


def picture_features(
    pictures: Float[Tensor, "n channel side side"],
) -> Float[np.ndarray, "n feature"]:
    """Mean colour and strength of detail at three scales, over a grid of cells.

    Source: own. No network is at hand that judges pictures as people do, so the Fréchet distance is over these: its
    numbers compare with each other alone.
    """
    found = [functional.adaptive_avg_pool2d(pictures, _CELLS).flatten(1)]
    image = pictures
    for _ in range(_BANDS):
        small = functional.avg_pool2d(image, 2)
        detail = image - functional.interpolate(small, scale_factor=2, mode="bilinear")
        found.append(functional.adaptive_avg_pool2d(detail.abs().mean(1), _CELLS).flatten(1))
        image = small
    return torch.cat(found, 1).double().cpu().numpy()


def frechet_distance(
    one: Float[np.ndarray, "n feature"], other: Float[np.ndarray, "m feature"]
) -> float:
    """|μ₁ − μ₂|² + Tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), of normal distributions with the features' moments.

    Source: Dowson and Landau 1982; Heusel et al. 2017.
    """
    covariance = [np.cov(features.T) for features in (one, other)]
    # The product of two covariances has eigenvalues of at least 0; the trace of its root is the sum of their roots.
    roots = np.sqrt(np.linalg.eigvals(covariance[0] @ covariance[1]).real.clip(0))
    gap = one.mean(0) - other.mean(0)
    return float(gap @ gap + np.trace(covariance[0] + covariance[1]) - 2 * roots.sum())


def peak_signal_to_noise(one: Tensor, other: Tensor) -> float:
    """PSNR of pictures in 0..1, dB; the mean over pictures."""
    error = (one - other).square().flatten(1).mean(1)
    return float((-10 * torch.log10(error.clamp_min(1e-10))).mean())
