"""Levenberg–Marquardt for a face fit: shared unknowns by Schur complement, frames coupled in time by a banded system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.linalg import solveh_banded
from threadpoolctl import threadpool_limits
from torch import Tensor

from preprocessing.fitting.model import FitState, LandmarkModel
from preprocessing.fitting.normal import (
    Normal,
    NormalBuilder,
    Observations,
    Quadratic,
    Residuals,
    add_normals,
    evaluate,
    image_jacobian,
)

_DAMPING_START = 1e-3
_DAMPING_FELT, _DAMPING_MAX = 1e-2, 1e6
# A step that gains less than this share of the cost is the last.
_ENOUGH = 5e-4
_ACTIVE_SET_ROUNDS = 4


@dataclass(frozen=True)
class Prior:
    """Everything that is known before a landmark is seen."""

    expression: Float[Tensor, "expression expression"]
    """Quadratic prior on the expression coefficients of every frame."""
    turn: float
    """Precision of each joint angle, 1/radian²."""
    identity: float
    """Precision of each identity coefficient."""
    log_focal: float
    """Mean of the log focal length (pixels)."""
    log_focal_precision: float
    acceleration: Float[Tensor, " unknown"]
    """Precision of the second difference in time of each frame unknown."""
    jerk: Float[Tensor, " unknown"]
    """Second differences beyond this many standard deviations are taken for real (a blink, a glance) and
    cost only in proportion to their size (pseudo-Huber)."""
    velocity: Float[Tensor, " unknown"]
    """Precision of its first difference: ends long gaps gently."""

    def frame_matrix(self, model: LandmarkModel) -> Float[Tensor, "unknown unknown"]:
        """Quadratic prior on the unknowns of one frame."""
        matrix = torch.zeros(model.unknowns, model.unknowns, dtype=torch.float64)
        n = model.expressions
        matrix[:n, :n] = self.expression
        turned = torch.arange(n, n + model.turn_unknowns)
        matrix[turned, turned] = self.turn
        return matrix


def clamp_frames(model: LandmarkModel, frame: Tensor) -> Tensor:
    """``frame`` with the expression coefficients inside their bounds."""
    clamped = frame.clone()
    lower, upper = _bounds(model, frame)
    clamped[:, : model.expressions] = torch.clamp(frame[:, : model.expressions], lower, upper)
    return clamped


def _bounds(model: LandmarkModel, frame: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of every coefficient; ``mouthClose`` closes at most what ``jawOpen`` opened."""
    lower = model.lower.expand(len(frame), -1)
    upper = model.upper.expand(len(frame), -1)
    if "jawOpen" in model.name and "mouthClose" in model.name:
        jaw, close = model.name.index("jawOpen"), model.name.index("mouthClose")
        upper = upper.clone()
        opened = torch.clamp(frame[:, jaw], model.lower[jaw], model.upper[jaw])
        upper[:, close] = torch.minimum(upper[:, close], opened)
    return lower, upper


def _free(model: LandmarkModel, frame: Tensor, gradient: Tensor) -> Bool[Tensor, "frame unknown"]:
    """False where a coefficient sits at a bound and the gradient pushes it outwards (active set)."""
    n = model.expressions
    lower, upper = _bounds(model, frame)
    at, slope = frame[:, :n], gradient[:, :n]
    free = torch.ones_like(frame, dtype=torch.bool)
    free[:, :n] = ~(((at <= lower) & (slope >= 0)) | ((at >= upper) & (slope <= 0)))
    return free


class _ActiveSet:
    """Steps inside the bounds: what a step would carry beyond its bound stops there, the rest is solved again."""

    def __init__(self, model: LandmarkModel, frame: Tensor, gradient: Tensor) -> None:
        n = model.expressions
        lower, upper = _bounds(model, frame)
        self._n = n
        self._least, self._most = lower - frame[:, :n], upper - frame[:, :n]
        self.free = _free(model, frame, gradient)
        self.fixed_step = torch.zeros_like(frame)

    def tighten(self, step: Tensor) -> bool:
        """Stop what ``step`` carries out of bounds; False when nothing new had to be stopped."""
        part, free = step[:, : self._n], self.free[:, : self._n]
        beyond = free & ((part < self._least - 1e-9) | (part > self._most + 1e-9))
        if not bool(beyond.any()):
            return False
        stopped = torch.minimum(torch.maximum(part, self._least), self._most)
        self.fixed_step[:, : self._n] = torch.where(beyond, stopped, self.fixed_step[:, : self._n])
        self.free[:, : self._n] = free & ~beyond
        return True


def _hold(matrix: Tensor, free: Tensor) -> Tensor:
    """``matrix`` with the rows and columns of held unknowns replaced by the identity's."""
    kept = free.to(matrix.dtype)
    held = matrix * kept[:, :, None]
    held *= kept[:, None, :]
    held.diagonal(dim1=1, dim2=2).add_(1 - kept)
    return held


def _next_damping(damping: float, accepted: bool, rejected: bool) -> float:
    """Less after a step that was good at once; after a bad one as much as makes a difference."""
    if not accepted:
        return max(damping * 8, _DAMPING_FELT)
    return damping if rejected else max(damping / 5, 1e-7)


def _damp(matrix: Tensor, damping: float) -> Tensor:
    """Damp ``matrix`` itself, which is its caller's own: a copy of a long clip's is large."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(damping * diagonal + 1e-9)
    return matrix


def _minimise(
    model: LandmarkModel,
    state: FitState,
    seen: Observations,
    linearise: Callable[[FitState, Residuals], Callable[[float], FitState]],
    prior_cost: Callable[[FitState], float],
    iterations: int,
) -> FitState:
    """Levenberg–Marquardt: at most ``iterations`` steps, each damped until the cost falls.

    Args:
        model: The compared points.
        state: Start.
        seen: Detected points.
        linearise: At a state and its residuals: the function from a damping to the state it leads to.
        prior_cost: What a state costs apart from its residuals.
        iterations: At most this many steps.
    """
    residuals = evaluate(model, state, seen)
    cost = float(residuals.cost.sum()) + prior_cost(state)
    damping = _DAMPING_START
    for _ in range(iterations):
        step = linearise(state, residuals)
        accepted, rejected = False, False
        while not accepted and damping < _DAMPING_MAX:
            trial = step(damping)
            residuals = evaluate(model, trial, seen)
            trial_cost = float(residuals.cost.sum()) + prior_cost(trial)
            accepted = trial_cost < cost
            damping = _next_damping(damping, accepted, rejected)
            rejected = not accepted
        if not accepted:
            return state
        gain, cost, state = cost - trial_cost, trial_cost, trial
        if gain < _ENOUGH * cost:
            break
    return state


# ---- shared unknowns, frames independent of each other ---------------------------------------


def solve_shared(
    builder: NormalBuilder,
    state: FitState,
    seen: Observations,
    prior: Prior,
    iterations: int,
    further: Quadratic | None = None,
) -> FitState:
    """Fit identity, focal length and the unknowns of a set of frames, without any order in time.

    Args:
        builder: Of the compared points.
        state: Start.
        seen: Detected points of the same frames.
        prior: What is known before.
        iterations: At most this many steps.
        further: A data term besides the landmarks, with shared blocks.

    Source: own (Levenberg–Marquardt with the Schur complement of the arrow-shaped matrix).
    """
    model, fixed = builder.model, prior.frame_matrix(builder.model)

    def linearise(state: FitState, residuals: Residuals) -> Callable[[float], FitState]:
        normal = builder.build(state, residuals, seen, shared=True)
        if further is not None:
            normal = add_normals(normal, further.normal_at(state))
        return lambda damping: _arrow_step(model, state, normal, prior, fixed, damping)

    def prior_cost(state: FitState) -> float:
        extra = 0.0 if further is None else further.cost(state)
        return _shared_prior_cost(model, state, prior, fixed) + extra

    return _minimise(model, state, seen, linearise, prior_cost, iterations)


def _shared_prior_cost(model: LandmarkModel, state: FitState, prior: Prior, fixed: Tensor) -> float:
    frames = torch.einsum("fi,ij,fj->", state.frame, fixed, state.frame)
    shape = prior.identity * (state.identity**2).sum()
    focal = prior.log_focal_precision * (state.log_focal - prior.log_focal) ** 2
    return float(frames + shape + focal)


def _arrow_step(
    model: LandmarkModel,
    state: FitState,
    normal: Normal,
    prior: Prior,
    fixed: Tensor,
    damping: float,
) -> FitState:
    shared = normal.shared
    assert shared is not None  # noqa: S101 - for the type checker
    gradient = normal.gradient + state.frame @ fixed
    matrix = _damp(normal.matrix + fixed, damping)
    precision = torch.full((len(state.identity) + 1,), prior.identity, dtype=torch.float64)
    precision[-1] = prior.log_focal_precision
    at = torch.cat([state.identity, (state.log_focal - prior.log_focal)[None]])
    shared_gradient = shared.gradient + precision * at
    shared_matrix = _damp(shared.matrix + torch.diag(precision), damping)

    active = _ActiveSet(model, state.frame, gradient)
    for _ in range(_ACTIVE_SET_ROUNDS):
        moved = active.fixed_step[..., None]
        right = gradient + (matrix @ moved)[..., 0]
        cross = shared.cross * active.free[:, None]
        columns = torch.cat([(right * active.free)[..., None], cross.mT], 2)
        factor = torch.linalg.cholesky(_hold(matrix, active.free))
        solved = torch.cholesky_solve(columns, factor)
        schur = shared_matrix - (cross @ solved[..., 1:]).sum(0)
        reduced = shared_gradient + (shared.cross @ moved - cross @ solved[..., :1]).sum(0)[:, 0]
        step = -torch.linalg.solve(schur, reduced)
        frame_step = active.fixed_step - solved[..., 0] - solved[..., 1:] @ step
        if not active.tighten(frame_step):
            break
    zoomed = step[-1].clamp(-0.3, 0.3)
    frame_step[:, -1] += zoomed * state.frame[:, -1]
    return FitState(
        identity=state.identity + step[:-1],
        log_focal=state.log_focal + zoomed,
        offset=state.offset,
        frame=clamp_frames(model, state.frame + frame_step),
    )


def solve_offsets(
    model: LandmarkModel, state: FitState, seen: Observations, precision: Tensor
) -> FitState:
    """Personal offset of every point that best explains what all frames leave unexplained.

    Args:
        model: The compared points.
        state: Fitted without or with earlier offsets.
        seen: Detected points.
        precision: Of each point's offset, 1/metre².
    """
    residuals = evaluate(model, state, seen)
    points = len(model.index)
    jacobian = image_jacobian(residuals, state, model, seen.sigma_px)[:, :points]
    weighted = jacobian * residuals.weight[:, :points, None, None]
    matrix = (weighted.mT @ jacobian).sum(0)
    force = (weighted.mT @ residuals.value[:, :points, :, None]).sum(0)[..., 0]
    force = force + precision[:, None] * state.offset
    matrix = matrix + torch.diag_embed(precision[:, None].expand(-1, 3))
    step = -torch.linalg.solve(matrix, force)
    return FitState(state.identity, state.log_focal, state.offset + step, state.frame)


# ---- frames coupled in time, shared unknowns held --------------------------------------------


# The banded solver is scipy's, with threads of its own; between torch's they wait for each other: half the speed.
@threadpool_limits.wrap(limits=1, user_api="blas")
def solve_frames(
    builder: NormalBuilder,
    state: FitState,
    seen: Observations,
    prior: Prior,
    iterations: int,
    further: Quadratic | None = None,
) -> FitState:
    """Fit the unknowns of consecutive frames together with their smoothness in time; the shared ones are held.

    The prior on second differences looks both ways in time, so nothing lags; invalid frames have no data
    and take what the prior carries over from their neighbours. ``further`` is a data term besides the landmarks.

    Source: own (Levenberg–Marquardt; block-pentadiagonal normal equations by banded Cholesky).
    """
    model, fixed = builder.model, prior.frame_matrix(builder.model)

    def linearise(state: FitState, residuals: Residuals) -> Callable[[float], FitState]:
        normal = builder.build(state, residuals, seen, shared=False)
        if further is not None:
            normal = add_normals(normal, further.normal_at(state))
        coupling = _TimeCoupling.around(state.frame, prior)
        gradient = normal.gradient + state.frame @ fixed + coupling.times(state.frame)

        def trial(damping: float) -> FitState:
            matrix = _damp(normal.matrix + fixed, damping)
            step = _time_step(model, state.frame, matrix, gradient, coupling)
            frame = clamp_frames(model, state.frame + step)
            return FitState(state.identity, state.log_focal, state.offset, frame)

        return trial

    def prior_cost(state: FitState) -> float:
        extra = 0.0 if further is None else further.cost(state)
        return _time_cost(state.frame, prior, fixed) + extra

    return _minimise(model, state, seen, linearise, prior_cost, iterations)


@dataclass(frozen=True)
class _TimeCoupling:
    """The smoothness prior, its jerks reweighted: quadratic with these precisions around one state."""

    velocity: Float[Tensor, "step unknown"]
    acceleration: Float[Tensor, "bend unknown"]

    @classmethod
    def around(cls, frame: Tensor, prior: Prior) -> _TimeCoupling:
        """Coupling of the frames of a state."""
        velocity = prior.velocity.expand(max(len(frame) - 1, 0), -1)
        bend = frame.diff(n=2, dim=0) if len(frame) > 2 else frame[:0]
        weight = 1 / torch.sqrt(1 + prior.acceleration * (bend / prior.jerk) ** 2)
        return cls(velocity, prior.acceleration * weight)

    def times(self, frame: Tensor) -> Tensor:
        """The prior's matrix times ``frame``."""
        result = torch.zeros_like(frame)
        if len(self.velocity):
            velocity = self.velocity * frame.diff(dim=0)
            result[1:] += velocity
            result[:-1] -= velocity
        if len(self.acceleration):
            bend = self.acceleration * frame.diff(n=2, dim=0)
            result[:-2] += bend
            result[1:-1] -= 2 * bend
            result[2:] += bend
        return result

    def bands(self, free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Diagonal, first and second off-diagonal (in frames) per unknown, among the free unknowns."""
        kept = free.to(torch.float64)
        diagonal, first, second = (torch.zeros_like(kept) for _ in range(3))
        if len(self.velocity):
            diagonal[1:] += self.velocity
            diagonal[:-1] += self.velocity
            first[:-1] -= self.velocity
        if len(self.acceleration):
            diagonal[:-2] += self.acceleration
            diagonal[1:-1] += 4 * self.acceleration
            diagonal[2:] += self.acceleration
            first[:-2] -= 2 * self.acceleration
            first[1:-1] -= 2 * self.acceleration
            second[:-2] += self.acceleration
        first[:-1] *= kept[:-1] * kept[1:]
        second[:-2] *= kept[:-2] * kept[2:]
        return diagonal * kept, first, second


def _time_cost(frame: Tensor, prior: Prior, fixed: Tensor) -> float:
    cost = torch.einsum("fi,ij,fj->", frame, fixed, frame)
    if len(frame) > 1:
        cost = cost + (prior.velocity * frame.diff(dim=0) ** 2).sum()
    if len(frame) > 2:
        square = prior.acceleration * (frame.diff(n=2, dim=0) / prior.jerk) ** 2
        cost = cost + 2 * (prior.jerk**2 * (torch.sqrt(1 + square) - 1)).sum()
    return float(cost)


def _time_step(
    model: LandmarkModel,
    frame: Tensor,
    matrix: Tensor,
    gradient: Tensor,
    coupling: _TimeCoupling,
) -> Tensor:
    """Step of all frames inside the bounds."""
    active = _ActiveSet(model, frame, gradient)
    step = active.fixed_step
    for _ in range(_ACTIVE_SET_ROUNDS):
        moved = active.fixed_step
        right = gradient + (matrix @ moved[..., None])[..., 0] + coupling.times(moved)
        held = _hold(matrix, active.free)
        step = moved + _banded_step(held, right * active.free, coupling.bands(active.free))
        if not active.tighten(step):
            break
    return step


def _banded_step(matrix: Tensor, gradient: Tensor, bands: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Solve the block-pentadiagonal system: damped blocks of each frame, and the bands that couple frames."""
    n_frames, unknowns = gradient.shape
    diagonal, first, second = (band.numpy() for band in bands)
    # Column by column in memory, as LAPACK wants it: otherwise it is copied first, a third of the time.
    lower = np.zeros((n_frames, unknowns, 2 * unknowns + 1))
    blocks = matrix.numpy()
    for column in range(unknowns):
        lower[:, column, : unknowns - column] = blocks[:, column:, column]
    lower[..., 0] += diagonal
    lower[: n_frames - 1, :, unknowns] = first[:-1]
    lower[: n_frames - 2, :, 2 * unknowns] = second[:-2]
    step = solveh_banded(
        lower.reshape(n_frames * unknowns, -1).T,
        -gradient.reshape(-1).numpy(),
        overwrite_ab=True,
        lower=True,
        check_finite=False,
    )
    return torch.from_numpy(step).reshape(n_frames, unknowns)
