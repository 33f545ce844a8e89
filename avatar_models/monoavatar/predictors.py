"""Vertex features from driving signals: a U-Net on the displacement map, a decoder on the code, or constants."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from avatar_models.monoavatar.uv import UvMap

NEGATIVE_SLOPE = 0.2
# Displacements are centimetres inside the networks.
DISPLACEMENT_UNIT_M = 0.01


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 shortcut.

    Source: MonoAvatar's residual U-Net; the block's inner order is own.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.shortcut = nn.Conv2d(n_in, n_out, 1)

    def forward(
        self, image: Float[Tensor, "frame channel_in height width"]
    ) -> Float[Tensor, "frame channel_out height width"]:
        """Same size, other channels."""
        inner = self.second(leaky_relu(self.first(image), NEGATIVE_SLOPE))
        return leaky_relu(inner + self.shortcut(image), NEGATIVE_SLOPE)


class Decoder(nn.Module):
    """Transposed convolutions from the coarsest map to the feature map, with or without skip inputs.

    Source: MonoAvatar; for the code the paper leaves the channels open, so they mirror the U-Net's (own).
    """

    def __init__(self, channels: tuple[int, ...], n_out: int, with_skips: bool) -> None:
        super().__init__()
        self.up = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for fine, coarse in zip(reversed(channels[:-1]), reversed(channels[1:]), strict=True):
            self.up.append(nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1))
            self.blocks.append(ResidualBlock(2 * fine if with_skips else fine, fine))
        self.out = nn.Conv2d(channels[0], n_out, 3, padding=1)

    def forward(
        self,
        coarsest: Float[Tensor, "frame channel height width"],
        skips: list[Tensor] | None = None,
    ) -> Float[Tensor, "frame feature uv_height uv_width"]:
        """The feature map.

        Args:
            coarsest: Map at the coarsest level.
            skips: Maps of the finer levels, finest first.
        """
        image = coarsest
        for level, (up, block) in enumerate(zip(self.up, self.blocks, strict=True)):
            image = leaky_relu(up(image), NEGATIVE_SLOPE)
            if skips is not None:
                image = torch.cat([image, skips[len(skips) - 1 - level]], 1)
            image = block(image)
        return self.out(image)


class DisplacementPredictor(nn.Module):
    """Ours-D: the displacement from neutral, rasterised into UV space, through a residual U-Net.

    Source: MonoAvatar (CVPR 2023).
    """

    def __init__(self, uv: UvMap, channels: tuple[int, ...], n_features: int) -> None:
        super().__init__()
        self.uv = uv
        self.encoder = nn.ModuleList()
        size = 3
        for channel in channels:
            self.encoder.append(ResidualBlock(size, channel))
            size = channel
        self.down = nn.ModuleList(
            nn.Conv2d(channel, channel, 3, stride=2, padding=1) for channel in channels[:-1]
        )
        self.decoder = Decoder(channels, n_features, with_skips=True)

    def forward(
        self,
        displacement: Float[Tensor, "frame vertex 3"],
        code: Float[Tensor, "frame code"],
    ) -> Float[Tensor, "frame vertex feature"]:
        """Features of every vertex from the displacement (metres); the code is not read."""
        image = self.uv.rasterise(displacement / DISPLACEMENT_UNIT_M)
        skips = []
        for level, block in enumerate(self.encoder):
            image = block(image)
            if level < len(self.down):
                skips.append(image)
                image = leaky_relu(self.down[level](image), NEGATIVE_SLOPE)
        return self.uv.sample(self.decoder(image, skips))


class CodePredictor(nn.Module):
    """Ours-C: expression and pose code to the UV feature map by transposed convolutions.

    Source: MonoAvatar (CVPR 2023); sizes are own (the paper leaves them open).
    """

    def __init__(
        self, uv: UvMap, channels: tuple[int, ...], n_features: int, code_size: int
    ) -> None:
        super().__init__()
        self.uv = uv
        self.side = uv.size // 2 ** (len(channels) - 1)
        self.coarsest = nn.Linear(code_size, channels[-1] * self.side**2)
        self.decoder = Decoder(channels, n_features, with_skips=False)

    def forward(
        self,
        displacement: Float[Tensor, "frame vertex 3"],
        code: Float[Tensor, "frame code"],
    ) -> Float[Tensor, "frame vertex feature"]:
        """Features of every vertex from the code; the displacement is not read."""
        flat = leaky_relu(self.coarsest(code), NEGATIVE_SLOPE)
        return self.uv.sample(self.decoder(flat.view(len(code), -1, self.side, self.side)))


class StaticPredictor(nn.Module):
    """Constant features: the vertices' motion is all that drives the field.

    Source: MonoAvatar's ablation "static vertex features".
    """

    def __init__(self, n_vertices: int, n_features: int) -> None:
        super().__init__()
        self.features = nn.Parameter(0.1 * torch.randn(n_vertices, n_features))

    def forward(
        self,
        displacement: Float[Tensor, "frame vertex 3"],
        code: Float[Tensor, "frame code"],
    ) -> Float[Tensor, "frame vertex feature"]:
        """The same features for every frame."""
        return self.features.expand(len(displacement), -1, -1)
