"""A subject's own expressions: how their smile, blink and vowels differ from the head model's.

The landmarks of a clip leave a residual that goes with the expression coefficients: a smile that pulls further
up on one side, lids that close lower. What goes with a coefficient is taken into the expression's own displacement,
at the landmarks first and from there, smoothly, over the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix, csc_matrix, diags
from scipy.sparse.linalg import splu
from torch import Tensor

from head_geometry.head_model import HeadModel
from preprocessing.fitting.bending import bending_energy
from preprocessing.fitting.model import FitState, LandmarkModel
from preprocessing.fitting.normal import Observations, evaluate, image_jacobian

# Expected difference of a subject's expression at full strength from the model's, metres.
_OWN_STD_M = 0.002
# Expressions that are told apart: those that the clip shows most.
_MOST_EXPRESSIONS = 60
# Frames that are looked at, evenly over the clip, and how many at once.
_MOST_FRAMES, _AT_ONCE = 1000, 25
# How closely the mesh follows its landmarks, and how much its displacement may bend, metres.
_FOLLOW_STD_M, _BEND_STD_M = 0.0002, 0.0006
# What is inside does not move with the skin.
_STILL_PARTS, _STILL_STD_M = ("eye_left", "eye_right", "teeth", "tongue"), 2e-5


@dataclass(frozen=True)
class OwnExpressions:
    """Differences at the landmarks.

    Attributes:
        expression: Which of the head model's expressions.
        difference: Displacement of each compared landmark per unit of coefficient, metres, head axes.
    """

    expression: Int[Tensor, " chosen"]
    difference: Float[Tensor, "chosen landmark 3"]


def find_own_expressions(
    model: LandmarkModel, state: FitState, seen: Observations, offset_precision: Tensor
) -> tuple[OwnExpressions, FitState]:
    """Displacements of the landmarks that go with the expression coefficients, and constant offsets beside them.

    What ``model`` has already of the subject's own is taken as given: differences are from it.

    Args:
        model: The compared points.
        state: All frames, fitted.
        seen: Detected points.
        offset_precision: Of each point's constant offset, 1/metre².

    Returns:
        The differences, and the state with its offsets solved for at the same time.

    Source: own (ridge regression of the fit's residuals, after the idea of example-based facial rigging,
    Li et al. 2010).
    """
    shown = seen.valid.nonzero()[:, 0]
    picked = torch.linspace(0, len(shown) - 1, min(len(shown), _MOST_FRAMES)).round().long()
    frames = shown[picked]
    strength = state.frame[frames, : model.expressions].square().sum(0)
    chosen = strength.argsort(descending=True, stable=True)[:_MOST_EXPRESSIONS]
    chosen = chosen[strength[chosen] > 0].sort().values
    points, count = len(model.index), len(chosen)
    size = 3 * (count + 1)
    matrix = torch.zeros(points, size, size, dtype=torch.float64)
    force = torch.zeros(points, size, dtype=torch.float64)
    for part in frames.split(_AT_ONCE):
        _add_rows(model, (state.select(part), seen.select(part)), chosen, matrix, force)
    reach = model.upper[chosen].clamp_min(1)
    own = (reach / _OWN_STD_M) ** 2
    # Openings hold their own among the offsets, and as much here.
    own = own * (offset_precision / offset_precision.min())[:, None]
    precision = torch.cat([own, offset_precision[:, None]], 1).repeat_interleave(3, 1)
    force[:, -3:] += offset_precision[:, None] * state.offset
    matrix.diagonal(dim1=1, dim2=2).add_(precision)  # in place: it is the largest array of the fit
    step = -torch.linalg.solve(matrix, force).view(points, count + 1, 3)
    # Irises turn with the eyes.
    still = torch.isin(model.index, torch.tensor(model.landmarks.irises, dtype=torch.long))
    difference = step[:, :count] * ~still[:, None, None]
    solved = replace(state, offset=state.offset + step[:, count])
    return OwnExpressions(chosen, difference.transpose(0, 1)), solved


def _add_rows(
    model: LandmarkModel,
    part: tuple[FitState, Observations],
    chosen: Tensor,
    matrix: Float[Tensor, "landmark own own"],
    force: Float[Tensor, "landmark own"],
) -> None:
    """Add some frames to the normal equations of every landmark (in place)."""
    state, seen = part
    points = len(model.index)
    residuals = evaluate(model, state, seen)
    jacobian = image_jacobian(residuals, state, model, seen.sigma_px)[:, :points]
    weighted = jacobian * residuals.weight[:, :points, None, None]
    coefficient = torch.cat([state.frame[:, chosen], torch.ones(len(state.frame), 1)], 1)
    metric = (weighted.mT @ jacobian).transpose(0, 1)
    gram = torch.einsum("pfab,fe,fg->peagb", metric, coefficient, coefficient)
    matrix += gram.reshape(matrix.shape)
    pull = (weighted.mT @ residuals.value[:, :points, :, None])[..., 0]
    force += torch.einsum("fpa,fe->pea", pull, coefficient).flatten(1)


def spread_over_mesh(
    head: HeadModel, model: LandmarkModel, own: OwnExpressions
) -> Float[Tensor, "expression vertex 3"]:
    """The smooth displacement of the whole mesh that carries the landmarks along.

    Args:
        head: The head model.
        model: Its compared landmarks.
        own: Differences at them.

    Returns:
        Displacement of each vertex per unit of coefficient, metres, head axes.
    """
    count, points = len(head.template), len(model.index)
    places = head.landmark_places(model.landmarks)
    corner = head.triangle[places.face[model.index]].numpy()
    share = places.barycentric[model.index].double().numpy()
    row = np.repeat(np.arange(points), 3)
    at = coo_matrix((share.ravel(), (row, corner.ravel())), (points, count)).tocsc()
    std = np.full(count, _OWN_STD_M)
    still = [part for part in _STILL_PARTS if part in head.part_name]
    std[head.part_vertices(*still).numpy()] = _STILL_STD_M
    smooth = bending_energy(head.triangle.numpy(), count) / _BEND_STD_M**2
    matrix = smooth + diags(1 / std**2) + at.T @ at / _FOLLOW_STD_M**2
    wanted = own.difference.transpose(0, 1).flatten(1).numpy()
    solved = splu(csc_matrix(matrix)).solve(at.T @ wanted / _FOLLOW_STD_M**2)
    field = torch.zeros(len(head.expression_name), count, 3, dtype=head.template.dtype)
    field[own.expression] = (
        torch.from_numpy(solved).view(count, -1, 3).transpose(0, 1).to(head.template)
    )
    return field
