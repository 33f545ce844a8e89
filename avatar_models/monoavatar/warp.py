"""The error-correction warp: a small per-frame deformation that absorbs registration error in training."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from avatar_models.rendering.encoding import band_weights, encoded_size, positional_encoding
from head_geometry.rotations import matrix_from_axis_angle

# Every size below but the code's is published.
TRUNK_WIDTH, TRUNK_DEPTH = 128, 5
BRANCH_WIDTH, BRANCH_DEPTH = 128, 2
BANDS = 6


class ErrorCorrectionWarp(nn.Module):
    """Rigid motion R (q + c) - c + t of each query, from its place and a code of its frame.

    R is the exponential of a log-quaternion (half the axis-angle), c a centre, t a translation. The last
    layers start near zero, so that the warp starts as the identity.

    Attributes:
        code: One code per frame of the clip.

    Source: MonoAvatar (CVPR 2023), its error-correction field, after Nerfies (Park et al. 2021). The
    size of the code is own.
    """

    def __init__(
        self, n_frames: int, code_size: int, unit_m: float, width: int = TRUNK_WIDTH
    ) -> None:
        super().__init__()
        self.unit_m = unit_m
        self.code = nn.Embedding(n_frames, code_size)
        nn.init.normal_(self.code.weight, std=0.01)
        layers: list[nn.Module] = []
        size = encoded_size(3, BANDS) + code_size
        for _ in range(TRUNK_DEPTH):
            layers += [nn.Linear(size, width), nn.ReLU()]
            size = width
        self.trunk = nn.Sequential(*layers)
        self.branches = nn.ModuleDict(
            {name: _branch(width) for name in ("log_quaternion", "centre", "translation")}
        )

    def forward(
        self,
        queries: Float[Tensor, "query 3"],
        frame: Int[Tensor, " query"],
        open_bands: float,
    ) -> Float[Tensor, "query 3"]:
        """Warped queries, metres, head axes.

        Args:
            queries: Metres, head axes.
            frame: Frame of each query.
            open_bands: How many of the six bands are open, 0..6.
        """
        weights = band_weights(open_bands, BANDS, queries.device, queries.dtype)
        encoded = positional_encoding(queries / self.unit_m, BANDS, weights)
        hidden = self.trunk(torch.cat([encoded, self.code(frame)], -1))
        motion = {name: branch(hidden) for name, branch in self.branches.items()}
        rotation = matrix_from_axis_angle(2 * motion["log_quaternion"])
        centre = self.unit_m * motion["centre"]
        moved = (rotation @ (queries + centre)[..., None])[..., 0]
        return moved - centre + self.unit_m * motion["translation"]


def _branch(width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(BRANCH_DEPTH):
        layers += [nn.Linear(width, BRANCH_WIDTH), nn.ReLU()]
        width = BRANCH_WIDTH
    last = nn.Linear(width, 3)
    nn.init.uniform_(last.weight, -1e-5, 1e-5)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def magnitude_loss(
    queries: Float[Tensor, "query 3"], warped: Float[Tensor, "query 3"]
) -> Float[Tensor, ""]:
    """Mean squared length of the warp, metres squared.

    Source: MonoAvatar: |q - T(q)|².
    """
    return (queries - warped).square().sum(-1).mean()


def elastic_loss(jacobian: Float[Tensor, "query 3 3"]) -> Float[Tensor, ""]:
    """Mean squared logarithm of the singular values of the warp's Jacobian: 0 where it is rigid.

    Source: Park et al. 2021 (Nerfies), eq. 3.
    """
    singular = torch.linalg.svdvals(jacobian.float())
    return singular.clamp_min(1e-6).log().square().sum(-1).mean()


def warp_jacobian(
    warp: ErrorCorrectionWarp,
    queries: Float[Tensor, "query 3"],
    frame: Int[Tensor, " query"],
    open_bands: float,
) -> Float[Tensor, "query 3 3"]:
    """Derivative of the warp by place, differentiable itself; row i is the gradient of coordinate i."""
    places = queries.detach().requires_grad_(True)
    warped = warp(places, frame, open_bands)
    rows = [
        torch.autograd.grad(warped[:, axis].sum(), places, create_graph=True)[0]
        for axis in range(3)
    ]
    return torch.stack(rows, 1)
