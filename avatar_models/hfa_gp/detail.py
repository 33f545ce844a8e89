"""What a person's own volume adds to the planes of a prior."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avatar_models.triplane.framing import front_label
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.layout import Layout

# Random heads that the spread of the planes is measured over.
_SPREAD_HEADS = 8


class PersonalDetail(nn.Module):
    """Planes d₀ + Σ aₖ dₖ of a person: what never changes, and what changes along some directions of the subspace.

    It is learnt where one texel's features do not disturb another's, as they do through the weights of convolutions.

    Args:
        layout: Of the prior.
        n_moving: Directions, the first ones, along which it changes.

    Attributes:
        volume: d₀, d₁ …, in units of ``unit``; channels last.
        unit: How far the prior's planes differ from head to head.

    Source: own; the sum over expressions as in NeRFBlendShape (Gao et al. 2022), section 3.2.
    """

    unit: Tensor

    def __init__(self, layout: Layout, n_moving: int) -> None:
        super().__init__()
        side = layout.plane_side
        self.volume = nn.Parameter(torch.zeros(1 + n_moving, 3, side, side, layout.plane_channels))
        self.register_buffer("unit", torch.ones(()))

    @torch.no_grad()
    def measure(self, generator: TriPlaneGenerator) -> None:
        """Take the standard deviation of a prior's planes over random heads, mean over the texels, as the unit."""
        layout, mapping = generator.layout, generator.backbone.mapping
        label = front_label(layout).to(self.volume).expand(_SPREAD_HEADS, -1)
        # Drawn on the CPU: the same heads on every device.
        z = torch.randn(_SPREAD_HEADS, layout.z_dim, generator=torch.Generator().manual_seed(0))
        self.unit.copy_(generator.planes(mapping(z.to(label), label)).std(0).mean())

    def forward(
        self, amount: Float[Tensor, " direction"]
    ) -> Float[Tensor, "1 3 channel side side"]:
        """What is added to the planes at a place of the subspace."""
        n_moving = len(self.volume) - 1
        shares = torch.cat([amount.new_ones(1), amount[:n_moving]])
        planes = torch.tensordot(self.unit * shares, self.volume, dims=1)
        return planes.movedim(-1, 1)[None]
