"""Where in the personal subspace a training has been, and along which directions it moved most."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Weight of the newest step in the statistics: the last few hundred steps count.
_SHARE = 0.005


class Places(nn.Module):
    """Mean and second moments of the places of the last steps.

    Args:
        n_directions: Of the subspace.

    Attributes:
        mean: Mean place, in steps of the subspace (its ``reach``).
        product: Mean of the products of its numbers, (direction, direction).
        count: Steps taken in.

    Source: own.
    """

    mean: Tensor
    product: Tensor
    count: Tensor

    def __init__(self, n_directions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_directions))
        self.register_buffer("product", torch.zeros(n_directions, n_directions))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def take(self, amounts: Float[Tensor, "n direction"]) -> None:
        """Take the places of one step in, all at once: their order does not matter."""
        self.count += 1
        share = max(1 / float(self.count), _SHARE)
        self.mean.lerp_(amounts.mean(0), share)
        self.product.lerp_(amounts.mT @ amounts / len(amounts), share)

    @torch.no_grad()
    def steps(self, reach: Float[Tensor, " direction"]) -> Float[Tensor, "axis direction"]:
        """One standard deviation of the places along each of their principal axes, the longest first.

        The axes are principal, and orthogonal, in the latents: a rotation of the subspace's own directions. What a training
        moves along together, as lips and jaw, is one of them and not a little of many.

        Args:
            reach: Length of each number of a place in the latents (:class:`PersonalSubspace`).

        Source: own; principal component analysis.
        """
        deviation, axes = self._principal(reach)
        # Signs are a matter of chance of the computation; the largest number is taken to be positive.
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        steps = axes * torch.sign(largest) * deviation / reach.double()[:, None]
        return steps.mT.flip(0).to(self.mean)

    @torch.no_grad()
    def within(
        self,
        amount: Float[Tensor, " direction"],
        reach: Float[Tensor, " direction"],
        deviations: float,
    ) -> Float[Tensor, " direction"]:
        """The place, no further out along each principal axis than so many standard deviations.

        Args:
            amount: A place.
            reach: As for :meth:`steps`.
            deviations: The bound. Places of a model that has not been trained are not bounded.

        Source: own; as the truncation of latents in StyleGAN (Karras et al. 2019), section B.
        """
        if self.count == 0:
            return amount
        deviation, axes = self._principal(reach)
        length = reach.double()
        along = ((amount - self.mean).double() * length) @ axes
        bound = deviations * deviation
        kept = along.clamp(-bound, bound)
        if torch.equal(kept, along):
            return amount
        return self.mean + (axes @ kept / length).to(amount)

    def _principal(self, reach: Tensor) -> tuple[Tensor, Tensor]:
        """Standard deviations in the latents, the shortest first, and their axes (direction, axis)."""
        mean, product, length = self.mean.double(), self.product.double(), reach.double()
        spread = (product - torch.outer(mean, mean)) * torch.outer(length, length)
        variance, axes = torch.linalg.eigh(spread)
        return variance.clamp_min(0).sqrt(), axes
