"""The encoder of pictures: StyleGAN2's residual discriminator without its end."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from avatar_models.triplane.layers import leaky
from avatar_models.triplane.strips import smoothing_filter

_SMALLEST_SIDE = 4


class EqualisedConvolution(nn.Module):
    """Convolution whose stored weight is N(0, 1) and is scaled by 1/√inputs when it is used.

    Args:
        n_in: Input channels.
        n_out: Output channels.
        size: Side of the kernel.
        halves: The output has half the size; the 1-3-3-1 filter comes first.
        has_bias: Adds a bias and applies the activation.
        padding: Zeros on each side; half the kernel where not given.

    Source: Karras et al. 2020 (StyleGAN2), published networks.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        size: int,
        halves: bool = False,
        has_bias: bool = True,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, size, size))
        self.bias = nn.Parameter(torch.zeros(n_out)) if has_bias else None
        self.halves = halves
        self.padding = size // 2 if padding is None else padding

    def forward(
        self, image: Float[Tensor, "n in height width"]
    ) -> Float[Tensor, "n out new_height new_width"]:
        """Filter, convolution and activation."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        if self.halves:
            # As much around as the filter and the kernel take away, so that the size is just halved.
            around = 1 + self.padding
            image = smoothing_filter(image, (around, around))
            found = functional.conv2d(image, weight, stride=2)
        else:
            found = functional.conv2d(image, weight, padding=self.padding)
        return found if self.bias is None else leaky(found + self.bias[:, None, None])


class ResidualBlock(nn.Module):
    """Two convolutions to half the size, beside one of size 1.

    Source: Karras et al. 2020 (StyleGAN2), residual discriminator.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv0 = EqualisedConvolution(n_in, n_in, 3)
        self.conv1 = EqualisedConvolution(n_in, n_out, 3, halves=True)
        self.skip = EqualisedConvolution(n_in, n_out, 1, halves=True, has_bias=False)

    def forward(self, image: Float[Tensor, "n in h w"]) -> Float[Tensor, "n out half_h half_w"]:
        """Features of half the size."""
        return (self.conv1(self.conv0(image)) + self.skip(image)) / math.sqrt(2)


class PictureEncoder(nn.Module):
    """A square picture to a vector.

    Args:
        side: Of the pictures, a power of two; others are resized.
        base: A block of side r has min(base / r, width) channels.
        width: Length of the vector.

    Source: HFA-GP (CVPR 2023); Wang et al. 2022 (LIA), encoder.
    """

    def __init__(self, side: int, base: int, width: int) -> None:
        super().__init__()
        self.side = side
        sides = [side >> level for level in range(int(math.log2(side // _SMALLEST_SIDE)) + 1)]
        channels = [min(base // at, width) for at in sides]
        self.first = EqualisedConvolution(3, channels[0], 1)
        self.blocks = nn.Sequential(*[ResidualBlock(one, two) for one, two in pairwise(channels)])
        # One number per channel is left: the kernel covers all.
        self.last = EqualisedConvolution(
            channels[-1], width, _SMALLEST_SIDE, has_bias=False, padding=0
        )

    def forward(self, picture: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n code"]:
        """The vector of each picture (0..1)."""
        small = functional.interpolate(
            picture, (self.side, self.side), mode="bilinear", antialias=True
        )
        return self.last(self.blocks(self.first(2 * small - 1))).flatten(1)
