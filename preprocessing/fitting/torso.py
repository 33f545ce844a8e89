"""Motion of the torso in the image: one similarity per frame, tracked from pixels, steady and without lag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.linalg import solveh_banded
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

# Side of the images that are aligned, coarse to fine, pixels; steps on each level.
LEVELS = ((32, 8), (64, 6), (128, 5), (256, 4))
# The pixels with the strongest edges say all there is to say.
_PIXELS_PER_LEVEL = 2000
# An alignment that explains less of the reference's contrast than this has failed. A body that turns, or a tie that
# swings, is no similarity and explains little, yet is followed far better than by what lies between other frames.
MIN_CORRELATION = 0.4
_MAX_ZOOM = 1.35
_MAX_TURN_RAD = 0.35
# A torso hardly grows or turns: where pixels do not say (a plain shirt), it stays. Zoom, turn, shift; working
# pixels; as much evidence as this many independent pixels.
_PRIOR_PX = (5.0, 5.0, 60.0, 60.0)
_PRIOR_PIXELS = 10.0
# Expected second difference in time of each parameter, in working pixels at the torso's radius.
_ACCELERATION_PX = 0.35
_NOISE_PX = 0.25


@dataclass(frozen=True)
class TorsoImages:
    """Frames as the tracker sees them, at working size (square).

    ``torso`` is where the torso may be seen: opacity of the person, zero where the head covers it.
    """

    grey: Float[Tensor, "frame side side"]
    """Brightness over black where there is no person, 0..1."""
    person: Float[Tensor, "frame side side"]
    torso: Float[Tensor, "frame side side"]

    def select(self, frames: slice) -> TorsoImages:
        """A part of the frames."""
        return TorsoImages(self.grey[frames], self.person[frames], self.torso[frames])


@dataclass(frozen=True)
class TorsoMotion:
    """Similarities from the reference frame to every frame, and what they rest on."""

    parameters: Float[Tensor, "frame 4"]
    """Zoom - 1 and turn about the centre, both in working pixels at ``radius``, then the shift."""
    correlation: Float[Tensor, " frame"]
    centre: Float[Tensor, "2"]
    radius: float


@dataclass(frozen=True)
class _Level:
    """Chosen reference pixels of one level and what Gauss–Newton needs of them."""

    side: int
    steps: int
    pixel: Float[Tensor, "pixel 2"]
    value: Float[Tensor, "channel pixel"]
    jacobian: Float[Tensor, "channel pixel 4"]


def prepare_images(
    image: UInt8[Tensor, "frame height width 3"],
    alpha: UInt8[Tensor, "frame height width"],
    head: Float[Tensor, "frame side_y side_x"],
    side: int,
) -> TorsoImages:
    """Bring frames (sRGB), mattes (0..255) and head masks (0..1) to working size."""
    luma = image.float() @ (torch.tensor([0.299, 0.587, 0.114]) / 255)
    alpha = alpha.float().div_(255)
    both = interpolate(torch.stack([luma * alpha, alpha], 1), size=(side, side), mode="area")
    covered = interpolate(head[:, None], size=(side, side), mode="bilinear", align_corners=False)
    person = both[:, 1]
    return TorsoImages(both[:, 0], person, (1 - covered[:, 0]).clamp(0, 1))


class TorsoTracker:
    """Aligns frames with one reference frame by inverse-compositional Gauss–Newton, coarse to fine.

    Source: Baker and Matthews, Lucas–Kanade 20 years on (IJCV 2004), for similarities, with a brightness
    gain per frame and Geman–McClure weights; all frames of a batch at once.
    """

    def __init__(self, reference: TorsoImages) -> None:
        """``reference``: images of one frame.

        Raises:
            ValueError: the torso is not seen in it.
        """
        side = reference.grey.shape[-1]
        seen = reference.torso[0] * (reference.person[0] > 0.5)
        if float((seen > 0.5).sum()) < 0.01 * side * side:
            raise ValueError("the torso is not seen in the reference frame")
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        grid = torch.stack([x, y], -1).float()
        inside = seen > 0.5
        self.side = side
        self.centre = grid[inside].mean(0)
        self.radius = float(torch.linalg.vector_norm(grid[inside] - self.centre, dim=1).mean())
        self.levels = [
            self._make_level(reference, level, steps) for level, steps in LEVELS if level <= side
        ]

    def _make_level(self, reference: TorsoImages, side: int, steps: int) -> _Level:
        factor = self.side // side
        images = _channels(reference)
        channels = avg_pool2d(images, factor)[0]
        usable = avg_pool2d(reference.torso[:, None], factor)[0, 0] > 0.9
        usable &= _spread(avg_pool2d(reference.person[:, None], factor)) > 0.3
        slope_y, slope_x = torch.gradient(channels, dim=(1, 2))
        edge = (slope_x**2 + slope_y**2).sum(0) * usable
        count = min(_PIXELS_PER_LEVEL, int((edge > 1e-8).sum()))
        chosen = edge.flatten().topk(max(count, 1)).indices
        pixel = torch.stack([chosen % side, chosen // side], 1).float()
        # Pixels, centre and slopes in working (finest) pixels, so that parameters mean the same everywhere.
        placed = (pixel + 0.5) * factor - 0.5
        arm = (placed - self.centre) / self.radius
        gx, gy = (slope.flatten(1)[:, chosen] / factor for slope in (slope_x, slope_y))
        jacobian = torch.stack(
            [gx * arm[:, 0] + gy * arm[:, 1], gy * arm[:, 0] - gx * arm[:, 1], gx, gy], -1
        )
        return _Level(side, steps, placed, channels.flatten(1)[:, chosen], jacobian)

    def track(
        self, images: TorsoImages, guesses: Float[Tensor, "guess frame 4"]
    ) -> tuple[Float[Tensor, "frame 4"], Float[Tensor, " frame"]]:
        """Parameters of every frame, and the correlation with the reference that they reach.

        Args:
            images: Frames at working size.
            guesses: Starts to try; the best after the coarsest level goes on.
        """
        starts = []
        for guess in guesses:
            refined = self._align(images, self.levels[0], self.matrices(guess))
            starts.append((self._correlation(images, self.levels[1], refined), refined))
        scores = torch.stack([score for score, _ in starts])
        best = scores.argmax(0)
        matrix = torch.stack([refined for _, refined in starts])[best, torch.arange(len(best))]
        for level in self.levels[1:]:
            matrix = self._align(images, level, matrix)
        return self.parameters(matrix), self._correlation(images, self.levels[-1], matrix)

    def matrices(self, parameters: Float[Tensor, "frame 4"]) -> Float[Tensor, "frame 3 3"]:
        """Homogeneous similarities (working pixels) from parameters."""
        return similarity(parameters, self.centre.to(parameters), self.radius)

    def parameters(self, matrix: Float[Tensor, "frame 3 3"]) -> Float[Tensor, "frame 4"]:
        """The inverse of :meth:`matrices`."""
        centre = self.centre.to(matrix)
        moved = matrix[:, :2, :2] @ centre + matrix[:, :2, 2] - centre
        return torch.cat(
            [
                (matrix[:, 0, 0] - 1)[:, None] * self.radius,
                matrix[:, 1, 0][:, None] * self.radius,
                moved,
            ],
            1,
        )

    def _align(self, images: TorsoImages, level: _Level, matrix: Tensor) -> Tensor:
        sampler = _Sampler(images, self.side // level.side)
        for _ in range(level.steps):
            value, seen = sampler.at(_apply(matrix, level.pixel))
            residual = _match_brightness(value, level.value, seen) - level.value
            square = (residual**2).sum(1)
            scale = 2.5 * _weighted_median_scale(square, seen)
            weight = seen / (1 + square / scale[:, None]) ** 2
            weighted = weight[:, None, :, None] * level.jacobian
            hessian = torch.einsum("fcpi,cpj->fij", weighted, level.jacobian)
            prior = _PRIOR_PIXELS * scale[:, None] / torch.tensor(_PRIOR_PX) ** 2
            hessian.diagonal(dim1=1, dim2=2).add_(1e-6 + prior)
            force = torch.einsum("fcpi,fcp->fi", weighted, residual)
            force = force + prior * self.parameters(matrix)
            step = torch.linalg.solve(hessian, force)
            step = step.clamp(-0.1 * self.radius, 0.1 * self.radius)
            matrix = matrix @ torch.linalg.inv(self.matrices(step))
        return matrix

    def _correlation(self, images: TorsoImages, level: _Level, matrix: Tensor) -> Tensor:
        sampler = _Sampler(images, self.side // level.side)
        value, seen = sampler.at(_apply(matrix, level.pixel))
        seen = seen[:, None] / seen.sum(1).clamp_min(1e-6)[:, None, None]
        a = value - (value * seen).sum(2, keepdim=True)
        b = level.value - (level.value * seen).sum(2, keepdim=True)
        top = (a * b * seen).sum((1, 2))
        bottom = (a * a * seen).sum((1, 2)) * (b * b * seen).sum((1, 2))
        return top / bottom.clamp_min(1e-12).sqrt()


class _Sampler:
    """Bilinear samples of all frames at one level; places are in working pixels."""

    def __init__(self, images: TorsoImages, factor: int) -> None:
        self.factor = factor
        stack = torch.cat([_channels(images), images.torso[:, None]], 1)
        self.stack = avg_pool2d(stack, factor) if factor > 1 else stack

    def at(self, places: Float[Tensor, "frame pixel 2"]) -> tuple[Tensor, Tensor]:
        """Channels there, and how far the torso may be seen there (0 outside the image)."""
        side = self.stack.shape[-1] * self.factor
        normalised = (places + 0.5) * (2 / side) - 1
        sampled = grid_sample(self.stack, normalised[:, None], align_corners=False)[:, :, 0]
        inside = (normalised.abs() < 1 - 2 / side).all(-1)
        return sampled[:, :-1], sampled[:, -1] * inside


def similarity(
    parameters: Float[Tensor, "frame 4"], centre: Float[Tensor, "2"], radius: float
) -> Float[Tensor, "frame 3 3"]:
    """Homogeneous similarities: zoom and turn about ``centre``, then a shift (all in pixels at ``radius``)."""
    a, b = 1 + parameters[:, 0] / radius, parameters[:, 1] / radius
    matrix = torch.zeros(len(parameters), 3, 3, dtype=parameters.dtype)
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = a, -b, b, a
    matrix[:, :2, 2] = centre + parameters[:, 2:] - matrix[:, :2, :2] @ centre
    matrix[:, 2, 2] = 1
    return matrix


def smooth_in_time(
    parameters: Float[Tensor, "frame 4"], valid: Bool[Tensor, " frame"]
) -> Float[Tensor, "frame 4"]:
    """Most likely smooth motion through the valid frames; it looks both ways in time, so nothing lags.

    Source: own (Whittaker smoother, with a small penalty on speed that ends long gaps gently).
    """
    frames = len(parameters)
    smooth = (_NOISE_PX / _ACCELERATION_PX) ** 2
    bands = np.zeros((3, frames))
    bands[0] = valid.numpy() + 1e-9
    for n, stencil, weight in ((2, (1.0, -2.0, 1.0), smooth), (1, (-1.0, 1.0), 0.003 * smooth)):
        for i, first in enumerate(stencil):
            for j, second in enumerate(stencil[i:]):
                if frames > n:
                    bands[j, i : frames - n + i] += weight * first * second
    right = (parameters * valid[:, None]).double().numpy()
    solved = solveh_banded(bands[: min(3, frames)], right, lower=True)
    return torch.from_numpy(solved).to(parameters)


def is_plausible(motion: TorsoMotion) -> Bool[Tensor, " frame"]:
    """True for the frames whose alignment can be trusted."""
    zoom = 1 + motion.parameters[:, 0] / motion.radius
    turn = motion.parameters[:, 1] / motion.radius
    small = (zoom < _MAX_ZOOM) & (zoom > 1 / _MAX_ZOOM) & (turn.abs() < _MAX_TURN_RAD)
    return small & (motion.correlation > MIN_CORRELATION)


def _channels(images: TorsoImages) -> Float[Tensor, "frame 2 side side"]:
    return torch.stack([images.grey, 0.3 * images.person], 1)


def _spread(mask: Float[Tensor, "1 1 side side"]) -> Float[Tensor, "side side"]:
    """The mask grown by two pixels, so that the outline counts."""
    return torch.nn.functional.max_pool2d(mask, 5, stride=1, padding=2)[0, 0]


def _apply(matrix: Tensor, pixel: Tensor) -> Float[Tensor, "frame pixel 2"]:
    return pixel @ matrix[:, :2, :2].mT + matrix[:, None, :2, 2]


def _match_brightness(value: Tensor, target: Tensor, seen: Tensor) -> Tensor:
    """``value`` with its grey channel scaled and shifted to the target's mean and contrast."""
    grey, share = value[:, 0], seen / seen.sum(1, keepdim=True).clamp_min(1e-6)
    mean = (grey * share).sum(1, keepdim=True)
    target_mean = (target[0] * share).sum(1, keepdim=True)
    covariance = ((grey - mean) * (target[0] - target_mean) * share).sum(1)
    variance = ((grey - mean) ** 2 * share).sum(1).clamp_min(1e-8)
    gain = (covariance / variance).clamp(0.7, 1.4)[:, None]
    return torch.stack([(grey - mean) * gain + target_mean, value[:, 1]], 1)


def _weighted_median_scale(square: Tensor, seen: Tensor) -> Float[Tensor, " frame"]:
    """Robust size of squared residuals where the torso is seen."""
    hidden = torch.where(seen > 0.5, square, torch.full_like(square, torch.nan))
    return hidden.nanmedian(1).values.nan_to_num(1.0).clamp_min(1e-5) / 0.455
