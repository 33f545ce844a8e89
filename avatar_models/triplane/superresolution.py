"""Super-resolution of the rendered feature picture: two StyleGAN2 blocks."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from avatar_models.triplane.backbone import SynthesisBlock
from avatar_models.triplane.layout import Layout


class Design(NamedTuple):
    """Input side, and per block its side, channels and whether it doubles the size."""

    input_side: int
    blocks: tuple[tuple[int, int, bool], tuple[int, int, bool]]
    only_enlarges: bool = False


DESIGNS = {
    "hybrid2x": Design(64, ((64, 128, False), (128, 64, True))),
    "hybrid4x": Design(128, ((128, 128, False), (256, 64, True)), only_enlarges=True),
    "hybrid8x": Design(128, ((256, 128, True), (512, 64, True))),
    "hybrid8xdc": Design(128, ((256, 256, True), (512, 128, True))),
}
"""The published modules. ``only_enlarges``: a larger input is left as it is."""


class SuperResolution(nn.Module):
    """One of :data:`DESIGNS`; the last latent drives every layer, no noise is added.

    Source: Chan et al. 2022 (EG3D), supplement; sizes of the published weights.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.design = DESIGNS[layout.superresolution]
        before = layout.feature_channels
        for index, (side, channels, doubles) in enumerate(self.design.blocks):
            block = SynthesisBlock(before, channels, 3, side, layout.w_dim, doubles)
            self.add_module(f"block{index}", block)
            before = channels

    def forward(
        self,
        features: Float[Tensor, "n channel height width"],
        latents: Float[Tensor, "n latent w"],
    ) -> Float[Tensor, "n 3 side side"]:
        """The finished picture, about -1..1; the first three feature channels are its start."""
        features = self._resized(features)
        picture = features[:, :3]
        own = latents[:, -1:].expand(-1, 3, -1)
        for index in range(len(self.design.blocks)):
            block = self.get_submodule(f"block{index}")
            features, picture = block(features, picture, own, "none")
        return picture

    def _resized(self, image: Tensor) -> Tensor:
        side = self.design.input_side
        fits = image.shape[-1] >= side if self.design.only_enlarges else image.shape[-1] == side
        if fits:
            return image
        return functional.interpolate(image, (side, side), mode="bilinear", antialias=True)
