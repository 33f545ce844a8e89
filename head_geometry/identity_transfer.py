"""The shape of one head model, and how it lies, that comes nearest to places wanted for its vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.correspondence import Similarity, align
from head_geometry.head_model import HeadModel
from head_geometry.rotations import matrix_from_axis_angle

SIGMA_M = 0.001
"""Distance of a vertex that counts as one."""
EVIDENCE = 2000.0
"""All vertices together count as this many independent ones."""
SCALE_STD = 0.05
STEPS = 8


@dataclass(frozen=True)
class Shape:
    """Identity coefficients and the similarity from the model's head axes to those of the places wanted."""

    identity: Float[np.ndarray, " identity"]
    similarity: Similarity


def fit_identity(
    model: HeadModel,
    wanted: Float[np.ndarray, "vertex 3"],
    weight: Float[np.ndarray, " vertex"],
) -> Shape:
    """Identity, rotation, translation and scale together, by Gauss-Newton steps.

    Args:
        model: In double precision.
        wanted: Metres, in the axes of another head.
        weight: Trust in each place, 0 for none.

    Source: own; a Gaussian prior on the coefficients (standard deviations) and on the logarithm of the scale.
    """
    used = np.flatnonzero(weight > 0)
    template = model.template[used]
    basis = (model.identity_basis[:, used] * model.identity_std[:, None, None]).flatten(1)
    share = torch.from_numpy(weight[used] / weight[used].sum() * EVIDENCE / SIGMA_M**2)
    target = torch.from_numpy(wanted[used])
    start = align(template.numpy(), wanted[used], weight[used])
    n = len(basis)
    identity = torch.zeros(n, dtype=torch.float64)
    log_scale = torch.tensor(np.log(start.scale))
    rotation, translation = (torch.from_numpy(x) for x in (start.rotation, start.translation))
    prior = torch.cat([torch.ones(n), torch.tensor([1 / SCALE_STD**2]), torch.zeros(6)]).double()
    for _ in range(STEPS):
        scale = torch.exp(log_scale)
        shaped = template + (identity @ basis).unflatten(0, (-1, 3))
        turned = scale * shaped @ rotation.T
        gap = (target - turned - translation).flatten()
        directions = scale * basis.unflatten(1, (-1, 3)) @ rotation.T
        motion = [turned, *_turns(turned), *_shifts(turned)]
        columns = torch.cat([directions.flatten(1), torch.stack(motion).flatten(1)])
        weighted = columns * share.repeat_interleave(3)
        here = torch.cat([identity, log_scale[None], torch.zeros(6, dtype=torch.float64)])
        step = torch.linalg.solve(
            weighted @ columns.T + torch.diag(prior), weighted @ gap - prior * here
        )
        identity = identity + step[:n]
        log_scale = log_scale + step[n]
        turn = matrix_from_axis_angle(step[n + 1 : n + 4])
        rotation, translation = turn @ rotation, translation + step[n + 4 :]
    found = Similarity(float(torch.exp(log_scale)), rotation.numpy(), translation.numpy())
    return Shape(identity.numpy(), found)


def _turns(points: Float[Tensor, "point 3"]) -> list[Float[Tensor, "point 3"]]:
    """Displacement of the points by small turns about the three axes."""
    axes = torch.eye(3, dtype=points.dtype)
    return [torch.linalg.cross(axis.expand_as(points), points) for axis in axes]


def _shifts(points: Float[Tensor, "point 3"]) -> list[Float[Tensor, "point 3"]]:
    return [axis.expand_as(points) for axis in torch.eye(3, dtype=points.dtype)]
