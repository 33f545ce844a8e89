"""Residuals of a face fit and their normal equations, with analytic derivatives (float64, all frames at once)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from head_geometry.rotations import skew
from preprocessing.fitting.model import (
    FitState,
    LandmarkModel,
    Posed,
    left_jacobian,
    pose_points,
    turn_axis_angle,
)

# Frames whose normal equations are built at a time: derivatives of one frame's points are 150 kB, and those of all
# frames at once leave the caches.
_AT_ONCE = 100


@dataclass(frozen=True)
class Observations:
    """What the fit compares with."""

    points: Float[Tensor, "frame landmark 2"]
    """Detected points, pixels; the rows of the landmark model."""
    valid: Bool[Tensor, " frame"]
    centre: Float[Tensor, "2"]
    """Principal point, pixels."""
    sigma_px: float
    """Residual that counts as one."""
    robust_scale: float
    """Residuals beyond this many sigmas lose influence."""

    def select(self, frames: Tensor | slice) -> Observations:
        """A part of the frames."""
        return Observations(
            self.points[frames], self.valid[frames], self.centre, self.sigma_px, self.robust_scale
        )


@dataclass(frozen=True)
class Residuals:
    """Residuals in sigmas, one row per point and per pair, and their robust cost."""

    posed: Posed
    value: Float[Tensor, "frame row 2"]
    weight: Float[Tensor, "frame row"]
    """Weight of each row in the normal equations (iteratively reweighted)."""
    cost: Float[Tensor, " frame"]

    def select(self, frames: Tensor | slice) -> Residuals:
        """A part of the frames."""
        posed, value = self.posed.select(frames), self.value[frames]
        return Residuals(posed, value, self.weight[frames], self.cost[frames])


@dataclass(frozen=True)
class SharedBlocks:
    """Blocks of identity and log focal length."""

    matrix: Float[Tensor, "shared shared"]
    gradient: Float[Tensor, " shared"]
    cross: Float[Tensor, "frame shared unknown"]


@dataclass(frozen=True)
class Normal:
    """Normal equations of the data term: ``matrix @ step = -gradient`` per frame, and shared blocks."""

    matrix: Float[Tensor, "frame unknown unknown"]
    gradient: Float[Tensor, "frame unknown"]
    shared: SharedBlocks | None


@dataclass(frozen=True)
class Quadratic:
    """A further data term, known by its normal equations at one state: what photographs say, say.

    Attributes:
        at: Where it was linearised.
        normal: Its normal equations there; with shared blocks where identity and focal length may move.
    """

    at: FitState
    normal: Normal

    def select(self, frames: slice) -> Quadratic:
        """A part of the frames; the shared unknowns are held."""
        normal = self.normal
        part = Normal(normal.matrix[frames], normal.gradient[frames], None)
        return Quadratic(self.at.select(frames), part)

    def normal_at(self, state: FitState) -> Normal:
        """The normal equations moved to another state."""
        frame, shared = self._moved(state)
        normal, blocks = self.normal, self.normal.shared
        gradient = normal.gradient + (normal.matrix @ frame[..., None])[..., 0]
        if blocks is None:
            return Normal(normal.matrix, gradient, None)
        gradient = gradient + torch.einsum("fsu,s->fu", blocks.cross, shared)
        shared_gradient = blocks.gradient + blocks.matrix @ shared
        shared_gradient = shared_gradient + torch.einsum("fsu,fu->s", blocks.cross, frame)
        return Normal(
            normal.matrix, gradient, SharedBlocks(blocks.matrix, shared_gradient, blocks.cross)
        )

    def cost(self, state: FitState) -> float:
        """Cost beyond the one where it was linearised (twice the gradient is the slope, as everywhere here)."""
        frame, shared = self._moved(state)
        there, here = self.normal_at(state), self.normal
        cost = (frame * (there.gradient + here.gradient)).sum()
        if there.shared is not None and here.shared is not None:
            cost = cost + (shared * (there.shared.gradient + here.shared.gradient)).sum()
        return float(cost)

    def _moved(self, state: FitState) -> tuple[Tensor, Tensor]:
        """Steps from where it was linearised; that of the depth without what the focal length takes along."""
        zoom = state.log_focal - self.at.log_focal
        frame = state.frame - self.at.frame
        frame[:, -1] -= zoom * self.at.frame[:, -1]
        return frame, torch.cat([state.identity - self.at.identity, zoom[None]])


def add_normals(first: Normal, second: Normal) -> Normal:
    """Sum of two data terms; shared blocks only where both have them."""
    shared = None
    if first.shared is not None and second.shared is not None:
        shared = SharedBlocks(
            first.shared.matrix + second.shared.matrix,
            first.shared.gradient + second.shared.gradient,
            first.shared.cross + second.shared.cross,
        )
    return Normal(first.matrix + second.matrix, first.gradient + second.gradient, shared)


def project_points(
    camera: Float[Tensor, "frame landmark 3"], log_focal: Tensor, centre: Tensor
) -> Float[Tensor, "frame landmark 2"]:
    """Pixels of points in camera axes."""
    return torch.exp(log_focal) * camera[..., :2] / camera[..., 2:] + centre


def evaluate(model: LandmarkModel, state: FitState, seen: Observations) -> Residuals:
    """Residuals and robust cost of every frame; invalid frames weigh nothing.

    Source: pseudo-Huber loss (Charbonnier et al. 1997) with iterative reweighting.
    """
    posed = pose_points(model, state)
    pixels = project_points(posed.camera, state.log_focal, seen.centre)
    value = model.with_pairs(pixels - seen.points, 1) / seen.sigma_px
    relative = 1 + (value**2).sum(-1) / seen.robust_scale**2
    root = torch.sqrt(relative)
    base = model.weight * seen.valid[:, None]
    cost = (base * (root - 1)).sum(1) * (2 * seen.robust_scale**2)
    return Residuals(posed, value, base / root, cost)


def image_jacobian(
    residuals: Residuals, state: FitState, model: LandmarkModel, sigma_px: float
) -> Float[Tensor, "frame row 2 3"]:
    """Derivative of each row's residual by a displacement of its point in head axes.

    A pair takes the mean of its two points: their depths differ by millimetres.
    """
    x, y, z = residuals.posed.camera.unbind(-1)
    scale = torch.exp(state.log_focal) / (sigma_px * z)
    rotation = residuals.posed.rotation[:, None]
    rows = []
    for axis, across in enumerate((x, y)):
        slope = across / z
        rows.append(
            scale[..., None] * (rotation[:, :, axis] - slope[..., None] * rotation[:, :, 2])
        )
    jacobian = torch.stack(rows, 2)
    upper, lower = (jacobian.index_select(1, model.pair[:, side]) for side in range(2))
    return torch.cat([jacobian, 0.5 * (upper + lower)], 1)


def motion_columns(
    model: LandmarkModel, state: FitState, posed: Posed
) -> Float[Tensor, "frame row 3 motion"]:
    """Displacement of each point (head axes) by each joint angle, rotation and translation unknown."""
    frames, points = posed.head.shape[:2]
    columns = posed.head.new_zeros(frames, points, 3, model.turn_unknowns + 6)
    start = model.expressions
    angles = state.frame[:, start : start + model.turn_unknowns]
    for turn, arm in zip(model.turns, posed.turned_arm, strict=True):
        jacobian = left_jacobian(turn_axis_angle(turn, angles))
        derivative = -skew(arm) @ jacobian[:, None]
        for i, axis in enumerate(turn.axes):
            columns[:, turn.rows, :, turn.column + i] = derivative[..., axis]
    inverse = posed.rotation.mT
    # R^T (-[R p]x J) = -[p]x R^T J
    turned = inverse @ left_jacobian(state.frame[:, -6:-3])
    columns[..., -6:-3] = -skew(posed.head) @ turned[:, None]
    columns[..., -3:] = inverse[:, None]
    return model.with_pairs(columns, 1)


class NormalBuilder:
    """Builds normal equations; keeps the products of basis vectors that every iteration needs."""

    def __init__(self, model: LandmarkModel) -> None:
        self.model = model
        self.expression = model.with_pairs(model.expression, 1)
        self.identity = model.with_pairs(model.identity, 1)
        n = model.expressions
        self.first, self.second = torch.triu_indices(n, n)
        # Products of two expressions for each pair of axes; the weights are symmetric in the axes.
        basis = self.expression.permute(1, 2, 0)
        gram = []
        for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            product = basis[:, a, self.first] * basis[:, b, self.second]
            if a != b:
                product = product + basis[:, b, self.first] * basis[:, a, self.second]
            gram.append(product)
        # Curvature only steers the steps: single precision does; gradients stay in double.
        self.gram = torch.stack(gram, 1).flatten(0, 1).float()

    def build(
        self, state: FitState, residuals: Residuals, seen: Observations, shared: bool
    ) -> Normal:
        """Normal equations of the data term at ``state``.

        Args:
            state: Where to linearise.
            residuals: From :func:`evaluate` at the same place.
            seen: What is compared with.
            shared: Also build the blocks of identity and log focal length.
        """
        if shared:  # of the few keyframes
            return self._build_at_once(state, residuals, seen, shared)
        parts = [
            self._build_at_once(state.select(part), residuals.select(part), seen, shared)
            for part in torch.arange(len(state.frame)).split(_AT_ONCE)
        ]
        matrix = torch.cat([part.matrix for part in parts])
        return Normal(matrix, torch.cat([part.gradient for part in parts]), None)

    def _build_at_once(
        self, state: FitState, residuals: Residuals, seen: Observations, shared: bool
    ) -> Normal:
        """The same, all frames together; ``seen`` may have more frames."""
        model, n = self.model, self.model.expressions
        jacobian = image_jacobian(residuals, state, model, seen.sigma_px)
        weighted = jacobian * residuals.weight[..., None, None]
        metric = weighted.mT @ jacobian
        force = (weighted.mT @ residuals.value[..., None])[..., 0]
        motion = motion_columns(model, state, residuals.posed)
        light, coarse = metric.float(), motion.float()
        pull = light @ coarse

        matrix = torch.zeros(len(state.frame), model.unknowns, model.unknowns, dtype=torch.float64)
        packed = (self._pack(light).flatten(1) @ self.gram).double()
        matrix[:, self.first, self.second] = packed
        matrix[:, self.second, self.first] = packed
        matrix[:, n:, n:] = coarse.flatten(1, 2).mT @ pull.flatten(1, 2)
        mixed = self.expression.flatten(1).float() @ pull.flatten(1, 2)
        matrix[:, :n, n:] = mixed
        matrix[:, n:, :n] = mixed.mT
        gradient = torch.cat(
            [
                force.flatten(1) @ self.expression.flatten(1).T,
                torch.einsum("fpam,fpa->fm", motion, force),
            ],
            1,
        )
        if not shared:
            return Normal(matrix, gradient, None)
        linear = _Linear(jacobian, weighted, metric, force, motion, pull)
        return Normal(matrix, gradient, self._shared(state, residuals, seen, linear))

    def _shared(
        self, state: FitState, residuals: Residuals, seen: Observations, linear: _Linear
    ) -> SharedBlocks:
        """Matrix, gradient and cross block of identity and log focal length.

        A step of the log focal length includes the depths' step ``depth * step`` of every frame.
        """
        n = self.model.expressions
        pixels = project_points(residuals.posed.camera, state.log_focal, seen.centre)
        zoom = self.model.with_pairs(pixels - seen.centre, 1) / seen.sigma_px
        # Dolly zoom: the head moves back in proportion, so that its size in the image stays. Without this
        # change of variables focal length and depths would creep along together.
        backwards = linear.motion[..., -1] * state.frame[:, -1, None, None]
        zoom = zoom + (linear.jacobian @ backwards[..., None])[..., 0]
        zoom_force = (linear.weighted.mT @ zoom[..., None])[..., 0]
        identity = self.identity.flatten(1)

        cross = torch.empty(
            len(pixels), len(identity) + 1, self.model.unknowns, dtype=torch.float64
        )
        if n:  # a model may have no expressions
            # One large product instead of one per frame: (row axis) against (frame expression).
            by_row = linear.metric.float().permute(1, 0, 2, 3).flatten(1, 2)
            stretched = (by_row @ self.expression.float().permute(1, 2, 0)).unflatten(1, (-1, 3))
            stretched = stretched.transpose(1, 2).flatten(0, 1).flatten(1)
            by_expression = (identity.float() @ stretched).unflatten(1, (-1, n))
            cross[:, :-1, :n] = by_expression.transpose(0, 1)
        cross[:, :-1, n:] = identity.float() @ linear.pull.flatten(1, 2)
        cross[:, -1, :n] = zoom_force.flatten(1) @ self.expression.flatten(1).T
        cross[:, -1, n:] = torch.einsum("fpam,fpa->fm", linear.motion, zoom_force)

        total = (linear.metric.sum(0) @ self.identity.permute(1, 2, 0)).flatten(0, 1)
        by_zoom = identity @ zoom_force.sum(0).flatten()
        weighted_zoom = residuals.weight[..., None] * zoom
        matrix = torch.empty(len(identity) + 1, len(identity) + 1, dtype=torch.float64)
        matrix[:-1, :-1] = identity @ total
        matrix[:-1, -1] = matrix[-1, :-1] = by_zoom
        matrix[-1, -1] = (weighted_zoom * zoom).sum()
        gradient = torch.cat(
            [
                identity @ linear.force.sum(0).flatten(),
                (weighted_zoom * residuals.value).sum()[None],
            ]
        )
        return SharedBlocks(matrix, gradient, cross)

    @staticmethod
    def _pack(metric: Float[Tensor, "frame row 3 3"]) -> Float[Tensor, "frame row 6"]:
        first, second = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)
        return metric[..., first, second]


@dataclass(frozen=True)
class _Linear:
    """Per-row pieces of one linearisation."""

    jacobian: Float[Tensor, "frame row 2 3"]
    weighted: Float[Tensor, "frame row 2 3"]
    metric: Float[Tensor, "frame row 3 3"]
    force: Float[Tensor, "frame row 3"]
    motion: Float[Tensor, "frame row 3 motion"]
    pull: Float[Tensor, "frame row 3 motion"]
