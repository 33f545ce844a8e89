"""Layers of a StyleGAN2 generator: equalised linear, modulated convolution, the 1-3-3-1 filter."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from avatar_models.triplane.strips import activated_convolution, can_be_cut, smoothing_filter

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


def double_size(
    image: Float[Tensor, "n channel height width"],
) -> Float[Tensor, "n channel 2*height 2*width"]:
    """Twice the size by the 1-3-3-1 filter: pixels weigh 1/4 and 3/4, zeros lie outside.

    Source: Karras et al. 2020 (StyleGAN2), skip architecture.
    """
    padded = functional.pad(image, [1, 1, 1, 1])
    doubled = functional.interpolate(padded, scale_factor=2, mode="bilinear")
    return doubled[..., 2:-2, 2:-2]


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
        power = style.square() @ torch.linalg.vector_norm(self.weight, dim=(2, 3)).square().T
        scale = torch.rsqrt(power + 1e-8) * GAIN
        # The activation's gain is in the scale already, so it is due to what is added here too.
        added = self.bias[:, None, None] * GAIN
        if noise == "const":
            added = added + self.noise_const * (self.noise_strength * GAIN)
        if can_be_cut(image, self.weight, latent):
            # One sample: the scales go into the weight, which is far smaller than the image.
            both = scale[0, :, None] * style[0]
            weight = self.weight * both[:, :, None, None]
            return activated_convolution(image, weight, added, LEAK, self.doubles)
        result = self._convolve(image * style[:, :, None, None]) * scale[:, :, None, None]
        return functional.leaky_relu(result + added, LEAK)

    def _convolve(self, image: Tensor) -> Tensor:
        if not self.doubles:
            return functional.conv2d(image, self.weight, padding=1)
        spread = functional.conv_transpose2d(image, self.weight.transpose(0, 1), stride=2)
        return smoothing_filter(spread, (1, 1), 4.0)


class ToRgb(nn.Module):
    """1 × 1 modulated convolution to the picture's channels, not normalised, without activation.

    Source: Karras et al. 2020 (StyleGAN2), published networks.
    """

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
        # One matrix product over the channels of each pixel, in whatever order the image lies in memory.
        weight = self.weight[None, :, :, 0, 0] * style[:, None]
        pixels = image.movedim(1, -1).flatten(1, 2)
        found = torch.baddbmm(self.bias, pixels, weight.mT)
        return found.unflatten(1, image.shape[2:]).movedim(-1, 1)
