"""Mapping and synthesis networks of StyleGAN2: latent to feature planes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avatar_models.parallel import all_cores
from avatar_models.triplane.layers import (
    EqualisedLinear,
    ModulatedConvolution,
    ToRgb,
    double_size,
    leaky,
    unit_moment,
)
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.strips import SMALLEST_SIDE


class Mapping(nn.Module):
    """Normal vector and camera label to the latent that every layer reads.

    Source: Chan et al. 2022 (EG3D), section 4.4; behaviour of the published weights.
    """

    w_avg: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.embed = EqualisedLinear(layout.label_dim, layout.w_dim)
        n_in = layout.z_dim + layout.w_dim
        for layer in range(layout.mapping_layers):
            self.add_module(f"fc{layer}", EqualisedLinear(n_in, layout.w_dim, 0.01))
            n_in = layout.w_dim
        self.register_buffer("w_avg", torch.zeros(layout.w_dim))

    def forward(
        self,
        z: Float[Tensor, "n z"],
        label: Float[Tensor, "n label"],
        truncation: float = 1.0,
    ) -> Float[Tensor, "n latent w"]:
        """Latents of a batch, the same for every layer.

        Args:
            z: Standard normal.
            label: Camera labels (:func:`head_geometry.camera_conventions.eg3d_label_from_camera`).
            truncation: 1 leaves latents as they are, 0 gives the mean one.
        """
        seen = label * (0.0 if self.layout.label_off else self.layout.label_scale)
        drawn = unit_moment(z) if self.layout.z_unit_moment else z
        vector = torch.cat([drawn, unit_moment(self.embed(seen))], -1)
        for layer in range(self.layout.mapping_layers):
            vector = leaky(self.get_submodule(f"fc{layer}")(vector))
        if truncation != 1:
            vector = self.w_avg.lerp(vector, truncation)
        return vector[:, None].expand(-1, self.layout.n_latents, -1)


class SynthesisBlock(nn.Module):
    """One resolution: up to two convolutions, and its share of the picture.

    Args:
        n_in: Input channels; 0 for the first block, which starts from a learnt constant.
        n_out: Channels.
        n_picture: Channels of the picture.
        side: Side of the output, pixels.
        w_dim: Length of a latent.
        doubles: The block doubles the size.
    """

    def __init__(
        self, n_in: int, n_out: int, n_picture: int, side: int, w_dim: int, doubles: bool = True
    ) -> None:
        super().__init__()
        self.doubles = doubles
        if n_in == 0:
            self.const = nn.Parameter(torch.randn(n_out, side, side))
        else:
            self.conv0 = ModulatedConvolution(n_in, n_out, w_dim, side, doubles)
        self.conv1 = ModulatedConvolution(n_out, n_out, w_dim, side)
        self.torgb = ToRgb(n_out, n_picture, w_dim)
        self.n_convolutions = 1 if n_in == 0 else 2

    def forward(
        self,
        image: Float[Tensor, "n in height width"] | None,
        picture: Float[Tensor, "n picture height width"] | None,
        latents: Float[Tensor, "n own w"],
        noise: str = "const",
    ) -> tuple[Float[Tensor, "n out side side"], Float[Tensor, "n picture side side"]]:
        """Features and the running picture, from those of the block before (None in the first).

        Args:
            image: Features.
            picture: Running picture.
            latents: One per convolution and one for toRGB.
            noise: ``const`` or ``none``.
        """
        if image is None:
            before: Tensor = self.const.expand(len(latents), -1, -1, -1)
        else:
            before = self.conv0(image, latents[:, 0], noise)
        features: Tensor = self.conv1(before, latents[:, -2], noise)
        added: Tensor = self.torgb(features, latents[:, -1])
        if picture is not None:
            added = added + (double_size(picture) if self.doubles else picture)
        return features, added


class Synthesis(nn.Module):
    """Latents to the feature planes, in the skip architecture.

    Source: Karras et al. 2020 (StyleGAN2), published networks.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.sides = layout.block_sides
        n_picture = 3 * layout.plane_channels
        before = 0
        for side in self.sides:
            channels = layout.channels(side)
            block = SynthesisBlock(before, channels, n_picture, side, layout.w_dim)
            self.add_module(f"b{side}", block)
            before = channels

    def forward(
        self, latents: Float[Tensor, "n latent w"], noise: str = "const"
    ) -> Float[Tensor, "n picture side side"]:
        """The planes, channels of the first before those of the second and third."""
        image = picture = None
        first = 0
        for side in self.sides:
            block = cast(SynthesisBlock, self.get_submodule(f"b{side}"))
            # toRGB shares its latent with the next block's first convolution.
            own = latents[:, first : first + block.n_convolutions + 1]
            # What strips.py cuts shares the cores by itself; smaller pictures do with each operation.
            is_cut = side >= SMALLEST_SIDE or torch.is_grad_enabled()
            with nullcontext() if is_cut else all_cores(latents.device):
                image, picture = block(image, picture, own, noise)
            first += block.n_convolutions
        assert picture is not None  # noqa: S101 - there are at least two blocks
        return picture


class Backbone(nn.Module):
    """Mapping and synthesis, under the published names."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.mapping = Mapping(layout)
        self.synthesis = Synthesis(layout)
