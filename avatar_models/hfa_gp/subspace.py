"""The personal subspace: a few directions of the prior's latents, and where they start from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from artifacts.errors import InputError


class PersonalSubspace(nn.Module):
    """Latents w = Σ aₖ qₖ + δ with orthonormal qₖ.

    Args:
        n_directions: Directions.
        n_latents: Latents of the generator's layers.
        w_dim: Length of one.

    Attributes:
        vector: What the directions are made from, N(0, 1) at first.
        offset: δ, the mean of the vectors at first.

    Raises:
        InputError: more directions than numbers in the latents.

    Source: HFA-GP (CVPR 2023), personal subspace.
    """

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

    def basis(self) -> Float[Tensor, "direction entry"]:
        """The orthonormal directions.

        They turn no more than the vectors do: each has a positive share of its own vector.
        """
        directions, triangle = torch.linalg.qr(self.vector.T)
        return (directions * torch.sign(triangle.diagonal())).T

    def forward(self, amount: Float[Tensor, "n direction"]) -> Float[Tensor, "n latent w"]:
        """Latents at some place of the subspace."""
        return (amount @ self.basis() + self.offset).unflatten(1, self.shape)
