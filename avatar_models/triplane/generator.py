"""The whole generator: latents and a camera to a picture, by way of three feature planes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avatar_models.triplane.backbone import Backbone
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.superresolution import SuperResolution
from avatar_models.triplane.volume import Decoder, Rendered, VolumeRenderer


@dataclass(frozen=True)
class Generated:
    """Pictures of a batch.

    Attributes:
        image: Finished pictures, about -1..1.
        rendered: The volume rendering they were made from.
    """

    image: Float[Tensor, "n 3 side side"]
    rendered: Rendered


class TriPlaneGenerator(nn.Module):
    """EG3D's generator under the parameter names of its published weights.

    Source: Chan et al. 2022 (EG3D), sections 4 and 5; behaviour of the published weights.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.backbone = Backbone(layout)
        self.decoder = Decoder(layout)
        self.superresolution = None if layout.superresolution == "none" else SuperResolution(layout)

    def planes(
        self, latents: Float[Tensor, "n latent w"], noise: str = "const"
    ) -> Float[Tensor, "n 3 channel side side"]:
        """Feature planes of latents; for a fixed latent they may be kept and rendered from many cameras.

        Args:
            latents: One per layer of the backbone.
            noise: ``const`` adds the stored noise, ``none`` adds nothing.
        """
        flat = self.backbone.synthesis(latents, noise)
        # A point's channels lie side by side, so that looking it up reads a single row.
        return flat.unflatten(1, (3, -1)).movedim(2, -1).contiguous().movedim(-1, 2)

    def render(
        self,
        planes: Float[Tensor, "n 3 channel height width"],
        latents: Float[Tensor, "n latent w"],
        label: Float[Tensor, "n 25"],
        side: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """Pictures of planes.

        Args:
            planes: From :meth:`planes`.
            latents: The latents they were made from (super-resolution reads the last).
            label: Camera labels.
            side: Side of the volume rendering, pixels; the layout's own when absent.
            generator: Of the places of samples along rays; fixed places without.
        """
        side = side or self.layout.neural_side
        rendered = self.renderer().render(planes, label, side, generator)
        if self.superresolution is None:
            return Generated(rendered.features[:, :3], rendered)
        return Generated(self.superresolution(rendered.features, latents), rendered)

    def forward(
        self,
        latents: Float[Tensor, "n latent w"],
        label: Float[Tensor, "n 25"],
        side: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """Pictures of latents."""
        return self.render(self.planes(latents), latents, label, side, generator)

    def renderer(self) -> VolumeRenderer:
        """The renderer of this generator's volumes."""
        return VolumeRenderer(self.layout, self.decoder)
