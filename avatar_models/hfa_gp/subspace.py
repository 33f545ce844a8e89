"""The personal subspace: a few directions of the prior's latents, and where they start from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from artifacts.errors import InputError
from avatar_models.triplane.backbone import Mapping
from avatar_models.triplane.framing import front_label

# Latents that the prior's own directions are measured over.
_SAMPLES = 2048
# What is less than this of the largest deviation is not a direction but rounding.
_LEAST_SPREAD = 1e-4


class PersonalSubspace(nn.Module):
    """Latents w = Σ aₖ rₖ qₖ + δ with orthonormal qₖ.

    Args:
        n_directions: Directions.
        n_latents: Latents of the generator's layers.
        w_dim: Length of one.

    Attributes:
        vector: What the directions are made from, N(0, 1) at first.
        offset: δ, the mean of the vectors at first.
        reach: rₖ, length of a step of 1 along each direction: 1 as published.

    Raises:
        InputError: more directions than numbers in the latents.

    Source: HFA-GP (CVPR 2023), personal subspace; the reach is own.
    """

    reach: Tensor

    def __init__(self, n_directions: int, n_latents: int, w_dim: int) -> None:
        super().__init__()
        if not 1 <= n_directions <= n_latents * w_dim:
            raise InputError(
                f"directions is {n_directions}, but the prior's latents have {n_latents} x {w_dim} numbers; "
                f"choose 1 to {n_latents * w_dim}"
            )
        self.shape = n_latents, w_dim
        self.vector = nn.Parameter(torch.randn(n_directions, n_latents * w_dim))
        self.offset = nn.Parameter(self.vector.detach().mean(0))
        self.register_buffer("reach", torch.ones(n_directions))

    @torch.no_grad()
    def start_at(self, mapping: Mapping, generator: torch.Generator) -> None:
        """Begin at a prior's mean latent, with the directions along which its latents vary most, as far as they do.

        Where the prior tells apart who is drawn and how he looks at a moment, with those of the moment. Directions beyond
        those that the prior has stay as they are.

        Args:
            mapping: The prior's.
            generator: Of the random latents, on the CPU.

        Source: own; directions as in GANSpace (Härkönen et al. 2020), section 3.1.
        """
        n_latents, w_dim = self.shape
        layout = mapping.layout
        z = torch.randn(_SAMPLES, layout.z_dim, generator=generator)
        z[:, : layout.person_z] = 0
        label = front_label(layout).expand(_SAMPLES, -1)
        latents = mapping(z.to(self.vector), label.to(self.vector))[:, 0]
        _, spread, directions = torch.linalg.svd(latents - latents.mean(0), full_matrices=False)
        spread = spread / _SAMPLES**0.5
        count = min(len(self.vector), int((spread > _LEAST_SPREAD * spread[0]).sum()))
        # Numbers of the vectors' size at random, so that learning turns them as fast.
        self.vector[:count] = w_dim**0.5 * directions[:count].repeat(1, n_latents)
        self.reach.fill_(float(spread[count - 1]) * n_latents**0.5)
        self.reach[:count] = spread[:count] * n_latents**0.5
        self.offset.copy_(mapping.w_avg.repeat(n_latents))

    def basis(self) -> Float[Tensor, "direction entry"]:
        """The orthonormal directions.

        They turn no more than the vectors do: each has a positive share of its own vector.
        """
        directions, triangle = torch.linalg.qr(self.vector.T)
        return (directions * torch.sign(triangle.diagonal())).T

    def forward(self, amount: Float[Tensor, "n direction"]) -> Float[Tensor, "n latent w"]:
        """Latents at some place of the subspace."""
        return ((amount * self.reach) @ self.basis() + self.offset).unflatten(1, self.shape)
