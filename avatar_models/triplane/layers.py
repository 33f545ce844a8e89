"""Layers of a StyleGAN2 generator: equalised linear, modulated convolution, the 1-3-3-1 filter."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

LEAK = 0.2
GAIN = math.sqrt(2)


def leaky(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Leaky ReLU of slope .2 times √2, which keeps the variance of a normal input.

    Source: Karras et al. 2020 (StyleGAN2), published networks.
    """
    return functional.leaky_relu(value, LEAK) * GAIN


def unit_moment(vector: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
    """Scaled so that the mean square of each vector is 1."""
    return vector * torch.rsqrt(vector.square().mean(-1, keepdim=True) + 1e-8)


class EqualisedLinear(nn.Module):
    """Linear layer whose stored weight is N(0, 1)/m and is scaled by m/√inputs when it is used.

    Args:
        n_in: Inputs.
        n_out: Outputs.
        lr_multiplier: m, which slows learning down.
        bias: Initial bias.

    Source: Karras et al. 2018 (progressive GANs), section 4.1.
    """

    def __init__(
        self, n_in: int, n_out: int, lr_multiplier: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((n_out,), bias / lr_multiplier))
        self.lr_multiplier = lr_multiplier

    def effective(self) -> tuple[Float[Tensor, "out in"], Float[Tensor, " out"]]:
        """Weight and bias as they are used."""
        weight = self.weight * (self.lr_multiplier / math.sqrt(self.weight.shape[1]))
        return weight, self.bias * self.lr_multiplier

    def forward(self, vector: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """The affine map, without activation."""
        return functional.linear(vector, *self.effective())


def smoothing_filter(image: Float[Tensor, "n channel height width"], gain: float = 1.0) -> Tensor:
    """[1, 3, 3, 1]/8 along both axes, no padding: three pixels less per axis.

    Two sums of neighbours and one of their sums: (1, 1) * (1, 1) * (1, 1) is (1, 3, 3, 1).
    """
    rows = image[..., 1:, :] + image[..., :-1, :]
    rows = rows[..., 1:, :] + rows[..., :-1, :]
    rows = rows[..., 1:, :] + rows[..., :-1, :]
    both = rows[..., 1:] + rows[..., :-1]
    both = both[..., 1:] + both[..., :-1]
    return (both[..., 1:] + both[..., :-1]) * (gain / 64)


def double_size(image: Float[Tensor, "n channel height width"]) -> Tensor:
    """Twice the size by the 1-3-3-1 filter: pixels weigh 1/4 and 3/4, zeros lie outside.

    Source: Karras et al. 2020 (StyleGAN2), skip architecture.
    """
    for axis in (-2, -1):
        padding = [0, 0, 1, 1] if axis == -2 else [1, 1]
        padded = functional.pad(image, padding)
        size = image.shape[axis]
        before, here, after = (padded.narrow(axis, start, size) for start in (0, 1, 2))
        pair = torch.stack([before + 3 * here, 3 * here + after], axis if axis == -1 else -2)
        image = pair.flatten(-2) if axis == -1 else pair.flatten(-3, -2)
        image = image / 4
    return image


class ModulatedConvolution(nn.Module):
    """3 × 3 (or 1 × 1) convolution whose input channels are scaled by a style, and its outputs normalised.

    Scaling the input by the style and the output by the normalisation gives the same numbers as scaling the
    weight of every sample, and needs one convolution for the whole batch.

    Args:
        n_in: Input channels.
        n_out: Output channels.
        w_dim: Length of a latent.
        doubles: The output has twice the size.
        side: Side of the output, pixels (of the constant noise).

    Source: Karras et al. 2020 (StyleGAN2), section 2.2.
    """

    noise_const: Tensor

    def __init__(self, n_in: int, n_out: int, w_dim: int, side: int, doubles: bool = False) -> None:
        super().__init__()
        self.affine = EqualisedLinear(w_dim, n_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(side, side))
        self.doubles = doubles

    def forward(
        self,
        image: Float[Tensor, "n in height width"],
        latent: Float[Tensor, "n w"],
        noise: str = "const",
    ) -> Float[Tensor, "n out side side"]:
        """Convolution, noise, bias and activation.

        Args:
            image: Input.
            latent: One per sample.
            noise: ``const`` adds the stored noise, ``none`` adds nothing.
        """
        style = self.affine(latent)
        # The style's own size cancels in the normalisation; the weight's is what the network learnt.
        power = style.square() @ self.weight.square().sum((2, 3)).T
        scale = torch.rsqrt(power + 1e-8)
        if len(style) == 1:
            # One sample: the scales go into the weight, which is far smaller than the image.
            weight = self.weight * style[0, :, None, None] * scale[0, :, None, None, None]
            result = self._convolve(image, weight)
        else:
            result = self._convolve(image * style[:, :, None, None], self.weight)
            result = result * scale[:, :, None, None]
        if noise == "const":
            result = result + self.noise_const * self.noise_strength
        return leaky(result + self.bias[:, None, None])

    def _convolve(self, image: Tensor, weight: Tensor) -> Tensor:
        if not self.doubles:
            return functional.conv2d(image, weight, padding=1)
        spread = functional.conv_transpose2d(image, weight.transpose(0, 1), stride=2)
        return smoothing_filter(functional.pad(spread, [1, 1, 1, 1]), gain=4.0)


class ToRgb(nn.Module):
    """1 × 1 modulated convolution to the picture's channels, not normalised, without activation."""

    def __init__(self, n_in: int, n_out: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualisedLinear(w_dim, n_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(
        self, image: Float[Tensor, "n in height width"], latent: Float[Tensor, "n w"]
    ) -> Float[Tensor, "n out height width"]:
        """The picture of one block."""
        style = self.affine(latent) / math.sqrt(self.weight.shape[1])
        weight = self.weight[None, :, :, 0, 0] * style[:, None]
        flat = torch.baddbmm(self.bias[:, None], weight, image.flatten(2))
        return flat.unflatten(2, image.shape[2:])
