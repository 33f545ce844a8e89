"""The head model as landmarks see it: the few points that are compared, linear in identity and expression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from head_geometry.head_model import HeadModel
from head_geometry.landmark_sets import MEDIAPIPE, LandmarkSet
from head_geometry.rotations import matrix_from_axis_angle, skew
from head_geometry.surface_points import SurfacePoints
from preprocessing.fitting.landmarks import landmark_weights, opening_pairs

# Frontal head in OpenCV camera axes; the rotation unknown of a frame is relative to it.
FRONTAL = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
# An expression that moves the irises more than this does what the eye joints do, and is held at zero.
GAZE_EXPRESSION_M = 0.0015
# Axes of each kind of joint that the fit turns (head axes: x pitch, y yaw, z roll).
_TURNED_AXES = {"eye_left": (0, 1), "eye_right": (0, 1), "jaw": (0, 1)}


@dataclass(frozen=True)
class Turn:
    """A leaf joint that the fit rotates, and the compared points that it moves."""

    joint: int
    axes: tuple[int, ...]
    column: int
    """Place of its first unknown among all turn unknowns."""
    rows: Int[Tensor, " moved"]
    arm_mean: Float[Tensor, "moved 3"]
    """Skinned distance from the joint, metres; linear in the coefficients like the points."""
    arm_identity: Float[Tensor, "identity moved 3"]
    arm_expression: Float[Tensor, "expression moved 3"]


@dataclass(frozen=True)
class LandmarkModel:
    """Compared points: position = mean + identity + expression + personal offset, then joint turns.

    Metres, head axes. ``weight`` covers the points and then the pairs; ``lower`` and ``upper`` bound each
    expression coefficient.
    """

    landmarks: LandmarkSet
    index: Int[Tensor, " landmark"]
    mean: Float[Tensor, "landmark 3"]
    identity: Float[Tensor, "identity landmark 3"]
    expression: Float[Tensor, "expression landmark 3"]
    turns: tuple[Turn, ...]
    pair: Int[Tensor, "pair 2"]
    weight: Float[Tensor, " row"]
    lower: Float[Tensor, " expression"]
    upper: Float[Tensor, " expression"]
    name: tuple[str, ...]

    @property
    def expressions(self) -> int:
        """Number of expression coefficients."""
        return self.expression.shape[0]

    @property
    def turn_unknowns(self) -> int:
        """Number of joint angles per frame."""
        return sum(len(turn.axes) for turn in self.turns)

    @property
    def unknowns(self) -> int:
        """Unknowns per frame: expression, joint angles, rotation (3), translation (3)."""
        return self.expressions + self.turn_unknowns + 6

    def with_pairs(self, rows: Tensor, dim: int) -> Tensor:
        """``rows`` followed along ``dim`` by upper minus lower point of each pair."""
        upper, lower = (rows.index_select(dim, self.pair[:, side]) for side in range(2))
        return torch.cat([rows, upper - lower], dim)


@dataclass
class FitState:
    """All unknowns of a fit (float64)."""

    identity: Float[Tensor, " identity"]
    log_focal: Float[Tensor, ""]
    offset: Float[Tensor, "landmark 3"]
    frame: Float[Tensor, "frame unknown"]
    """Per frame: expression, joint angles, axis-angle of the head relative to frontal, translation."""

    def to(self, device: torch.device, dtype: torch.dtype) -> FitState:
        """The same on another device and in another precision."""
        moved = (self.identity, self.log_focal, self.offset, self.frame)
        return FitState(*(value.to(device, dtype) for value in moved))

    def select(self, frames: Int[Tensor, " chosen"] | slice) -> FitState:
        """The same shared unknowns with a part of the frames."""
        return FitState(self.identity, self.log_focal, self.offset, self.frame[frames])


@dataclass(frozen=True)
class Posed:
    """Compared points of every frame and what their derivatives need."""

    rotation: Float[Tensor, "frame 3 3"]
    head: Float[Tensor, "frame landmark 3"]
    """Head axes, metres."""
    camera: Float[Tensor, "frame landmark 3"]
    """Camera axes, metres."""
    turned_arm: tuple[Float[Tensor, "frame _ 3"], ...]

    def select(self, frames: Int[Tensor, " chosen"] | slice) -> Posed:
        """A part of the frames."""
        arms = tuple(arm[frames] for arm in self.turned_arm)
        return Posed(self.rotation[frames], self.head[frames], self.camera[frames], arms)


def make_landmark_model(
    model: HeadModel, identities: int, landmarks: LandmarkSet = MEDIAPIPE
) -> LandmarkModel:
    """Restrict ``model`` to the landmarks that have a place on it and to its first identity components."""
    model = model.to("cpu", torch.float64)
    places = model.landmark_places(landmarks)
    trust = places.weight.numpy() * landmark_weights(landmarks)
    index = np.flatnonzero(places.weight.numpy() > 0)
    row_of = {int(point): row for row, point in enumerate(index)}
    pairs, pair_weight = opening_pairs(landmarks)
    kept = [i for i, (upper, lower) in enumerate(pairs) if upper in row_of and lower in row_of]
    pair_rows = [[row_of[int(point)] for point in pairs[i]] for i in kept]
    face = places.face[index]
    points = SurfacePoints(face, model.triangle[face], places.barycentric[index])
    compared = make_point_model(model, points, identities, landmarks)
    moves_gaze = _moves_irises(model) if "eye_left" in model.joint_name else []
    lower, upper = model.expression_lower.clone(), model.expression_upper.clone()
    lower[moves_gaze] = 0
    upper[moves_gaze] = 0
    return replace(
        compared,
        index=torch.from_numpy(index),
        pair=torch.tensor(pair_rows, dtype=torch.long).reshape(-1, 2),
        weight=torch.from_numpy(np.concatenate([trust[index], pair_weight[kept]])),
        lower=lower,
        upper=upper,
    )


def make_point_model(
    model: HeadModel, points: SurfacePoints, identities: int, landmarks: LandmarkSet = MEDIAPIPE
) -> LandmarkModel:
    """Any places on ``model`` as points of a fit, in its precision and on its device: all of weight 1, no pairs.

    Args:
        model: The head model.
        points: Places on it.
        identities: Identity components.
        landmarks: The landmarks that the fit compares besides: what they see decides which joints turn.
    """
    identity = model.identity_basis[:identities] * model.identity_std[:identities, None, None]
    count, device = len(points.face), model.template.device
    return LandmarkModel(
        landmarks=landmarks,
        index=torch.arange(count, device=device),
        mean=points.at(model.template),
        identity=points.at(identity),
        expression=points.at(model.expression_basis),
        turns=_make_turns(model, points, identity, bool(landmarks.irises)),
        pair=torch.zeros(0, 2, dtype=torch.long, device=device),
        weight=torch.ones(count, dtype=model.template.dtype, device=device),
        lower=model.expression_lower,
        upper=model.expression_upper,
        name=model.expression_name,
    )


def _moves_irises(model: HeadModel) -> list[int]:
    """Expressions that move the irises, whether or not the detector sees them."""
    irises = [i for i in MEDIAPIPE.irises if model.mediapipe_weight[i] > 0]
    if not irises:
        return []
    corner = model.triangle[model.mediapipe_face[irises]]
    weights = model.mediapipe_barycentric[irises][..., None]
    moved = (model.expression_basis[:, corner] * weights).sum(-2)
    size = torch.linalg.vector_norm(moved, dim=-1).amax(1)
    return (size > GAZE_EXPRESSION_M).nonzero()[:, 0].tolist()


def _make_turns(
    model: HeadModel, points: SurfacePoints, identity: Tensor, gaze_is_seen: bool
) -> tuple[Turn, ...]:
    turns, column = [], 0
    for joint, name in enumerate(model.joint_name):
        axes = _TURNED_AXES.get(name)
        if axes is None or (name.startswith("eye_") and not gaze_is_seen):
            continue
        share = model.skin_weight[points.corner, joint] * points.barycentric
        rows = (share.sum(1) > 1e-3).nonzero()[:, 0]
        share = share[rows]
        regressor = model.joint_regressor[joint]

        def arm(
            field: Tensor,
            centre: Tensor,
            share: Tensor = share,
            chosen: Tensor = points.corner[rows],
        ) -> Tensor:
            relative = field[..., chosen, :] - centre[..., None, None, :]
            return (relative * share[..., None]).sum(-2)

        moved = identity.new_zeros(len(model.expression_basis), 3)
        if len(model.joint_expression):
            moved = model.joint_expression[:, joint]
        turns.append(
            Turn(
                joint=joint,
                axes=axes,
                column=column,
                rows=rows,
                arm_mean=arm(model.template, regressor @ model.template),
                arm_identity=arm(identity, torch.einsum("v,nva->na", regressor, identity)),
                arm_expression=arm(model.expression_basis, moved),
            )
        )
        column += len(axes)
    return tuple(turns)


def turn_axis_angle(turn: Turn, angles: Float[Tensor, "frame turn"]) -> Float[Tensor, "frame 3"]:
    """Axis-angle of one joint from the joint angles of every frame."""
    axis_angle = angles.new_zeros(len(angles), 3)
    for i, axis in enumerate(turn.axes):
        axis_angle[:, axis] = angles[:, turn.column + i]
    return axis_angle


def left_jacobian(axis_angle: Float[Tensor, "frame 3"]) -> Float[Tensor, "frame 3 3"]:
    """J with exp(w + dw) = exp(J dw) exp(w) to first order.

    Source: closed form of the left Jacobian of SO(3) (e.g. Barfoot, State Estimation for Robotics, eq. 7.77).
    """
    angle = torch.linalg.vector_norm(axis_angle, dim=-1)[..., None, None]
    cross = skew(axis_angle)
    small = angle < 1e-4
    safe = torch.where(small, torch.ones_like(angle), angle)
    first = torch.where(small, 0.5 - angle**2 / 24, (1 - torch.cos(safe)) / safe**2)
    second = torch.where(small, 1 / 6 - angle**2 / 120, (safe - torch.sin(safe)) / safe**3)
    one = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return one + first * cross + second * (cross @ cross)


def head_rotation(state: FitState) -> Float[Tensor, "frame 3 3"]:
    """Rotation from head axes to camera axes of every frame."""
    return matrix_from_axis_angle(state.frame[:, -6:-3]) @ FRONTAL.to(state.frame)


def pose_points(model: LandmarkModel, state: FitState) -> Posed:
    """Place the compared points of every frame."""
    n_expression = model.expressions
    expression = state.frame[:, :n_expression]
    angles = state.frame[:, n_expression : n_expression + model.turn_unknowns]
    shape = model.mean + torch.tensordot(state.identity, model.identity, dims=1) + state.offset
    moved = expression @ model.expression.flatten(1)
    head = shape + moved.unflatten(1, (-1, 3))
    turned_arms = []
    for turn in model.turns:
        arm = turn.arm_mean + torch.tensordot(state.identity, turn.arm_identity, dims=1)
        arm = arm + (expression @ turn.arm_expression.flatten(1)).unflatten(1, (-1, 3))
        turned = arm @ matrix_from_axis_angle(turn_axis_angle(turn, angles)).mT
        head[:, turn.rows] += turned - arm
        turned_arms.append(turned)
    rotation = head_rotation(state)
    camera = head @ rotation.mT + state.frame[:, None, -3:]
    return Posed(rotation, head, camera, tuple(turned_arms))
