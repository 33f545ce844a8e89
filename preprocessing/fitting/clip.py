"""Fit a head model to the landmarks of a whole clip: shared shape and focal length, then every frame in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from head_geometry.head_model import HeadModel
from preprocessing.fitting.landmarks import eye_corner_distance_px
from preprocessing.fitting.model import (
    FitState,
    LandmarkModel,
    head_rotation,
    pose_points,
    turn_axis_angle,
)
from preprocessing.fitting.normal import NormalBuilder, Observations, Quadratic, project_points
from preprocessing.fitting.solve import Prior, solve_frames, solve_offsets, solve_shared
from preprocessing.fitting.start import bridge_gaps, choose_keyframes, start_state

# Median acceleration of the middle of the face in clips of people who talk to a camera, metre/frame².
_USUAL_ACCELERATION_M = 0.0008
# Frames whose points are placed at a time.
_AT_ONCE = 500


@dataclass(frozen=True)
class FitSettings:
    """How a clip is fitted."""

    identities: int = 40
    """Identity components that are estimated; the rest stay at the mean."""
    keyframes: int = 48
    """Frames that identity, focal length and offsets are estimated from."""
    sigma: float = 0.010
    """Residual that counts as one, in outer-eye-corner distances."""
    robust_scale: float = 2.5
    """Residuals beyond this many sigmas lose influence."""
    evidence: float = 50.0
    """Landmarks of one frame count as this many independent ones: their errors go together."""
    expression_std: float = 0.35
    """Expected size of an expression coefficient."""
    asymmetry_std: float = 0.3
    """Expected difference of a left and a right coefficient."""
    identity_std: float = 0.25
    """Expected size of an identity coefficient. Below 1, since the landmarks' own bias is the same in every
    frame: many frames are not many independent witnesses of a shape."""
    focal_std: float = 0.01
    """Relative error of the focal length that is expected, against the landmarks' say. They know next to nothing of
    it: a detector's bias looks like perspective and is the same in every frame. On synthetic people the focal
    length was 44 % off where landmarks decided (0.25 here), and shapes were worse than with one that is held."""
    offset_std_m: float = 0.003
    """Expected size of a landmark's personal offset, metres; 0 switches offsets off."""
    opening_offset_std_m: float = 0.0007
    """The same for the rims of lips and eyelids, metres."""
    rotation_std: float = 0.0012
    """Expected angular acceleration of the head, radian/frame²."""
    translation_std_m: float = 0.00024
    """Expected acceleration of the head, metre/frame²."""
    expression_acceleration: float = 0.027
    """Expected acceleration of an expression coefficient, 1/frame²."""
    turn_std: float = 0.009
    """Expected acceleration of the gaze, radian/frame²."""
    expression_jerk: float = 1.0
    """Accelerations of expression and gaze beyond this many times the expected one are taken for real."""
    pose_jerk: float = 20.0
    """The same for the pose of the head, which does not blink."""
    window: int = 1500
    """Frames that are solved together; longer clips are solved in overlapping windows."""


@dataclass(frozen=True)
class Subject:
    """What all frames of a subject share."""

    identity: Float[Tensor, " identity"]
    log_focal: Float[Tensor, ""]
    offset: Float[Tensor, "landmark 3"]
    keyframes: FittedFrames | None = None
    """The frames that the above was found from, for others to start from."""


@dataclass(frozen=True)
class FittedFrames:
    """Unknowns of some frames of a clip."""

    index: Int[Tensor, " chosen"]
    frame: Float[Tensor, "chosen unknown"]


@dataclass(frozen=True)
class ClipFit:
    """The fit of a clip, in the terms of the ``face_fit`` artifact."""

    identity: Float[np.ndarray, " identity"]
    expression: Float[np.ndarray, "frame expression"]
    joint_rotation: Float[np.ndarray, "frame joint 3"]
    camera_from_head: Float[np.ndarray, "frame 4 4"]
    intrinsics: Float[np.ndarray, "3 3"]
    landmark_offset: Float[np.ndarray, "offset 3"]
    nme: Float[np.ndarray, " frame"]


def make_prior(model: LandmarkModel, settings: FitSettings, focal_px: float) -> Prior:
    """Prior in the solver's terms."""
    n, turns = model.expressions, model.turn_unknowns
    # Coefficients in standard deviations reach further than actions, whose full strength is 1.
    reach = model.upper.clamp_min(1)
    expression = torch.diag(1 / (settings.expression_std * reach) ** 2)
    for left, right in _mirrored(model.name):
        difference = torch.zeros(n, dtype=torch.float64)
        difference[left], difference[right] = 1, -1
        expression += difference[:, None] * difference / settings.asymmetry_std**2
    spread = torch.cat(
        [
            settings.expression_acceleration * reach,
            torch.full((turns,), settings.turn_std),
            torch.full((3,), settings.rotation_std),
            torch.full((3,), settings.translation_std_m),
        ]
    ).double()
    return Prior(
        expression=expression,
        turn=1 / 0.4**2,
        identity=1 / settings.identity_std**2,
        log_focal=float(np.log(focal_px)),
        log_focal_precision=1 / settings.focal_std**2,
        acceleration=1 / spread**2,
        jerk=torch.cat(
            [
                torch.full((n + turns,), settings.expression_jerk),
                torch.full((6,), settings.pose_jerk),
            ]
        ).double(),
        velocity=0.003 / spread**2,
    )


def _mirrored(names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Index pairs of the names that differ in Left and Right only."""
    return [
        (names.index(name), names.index(name.replace("Left", "Right")))
        for name in names
        if name.endswith("Left") and name.replace("Left", "Right") in names
    ]


def observe(
    model: LandmarkModel,
    points: Float[np.ndarray, "frame detected 2"],
    valid: Bool[np.ndarray, " frame"],
    centre: Float[Tensor, "2"],
    settings: FitSettings,
) -> Observations:
    """Detected points in the solver's terms."""
    unit = float(np.median(eye_corner_distance_px(points, model.landmarks)[valid]))
    chosen = torch.from_numpy(points[:, model.index.numpy()].astype(np.float64))
    chosen[~torch.from_numpy(valid)] = 0
    return Observations(
        points=chosen,
        valid=torch.from_numpy(valid),
        centre=centre.double(),
        sigma_px=settings.sigma * unit,
        robust_scale=settings.robust_scale,
    )


def weigh(model: LandmarkModel, settings: FitSettings) -> LandmarkModel:
    """``model`` with its weights scaled to the evidence of one frame."""
    points = len(model.index)
    total = model.weight[:points].sum()
    return replace(model, weight=model.weight * settings.evidence / total)


def fit_subject(
    builder: NormalBuilder, seen: Observations, focal_px: float, settings: FitSettings
) -> Subject:
    """Identity, focal length and landmark offsets from the keyframes of a clip."""
    model = builder.model
    keys = choose_keyframes(seen.valid, settings.keyframes)
    seen = seen.select(keys)
    log_focal = torch.tensor(np.log(focal_px), dtype=torch.float64)
    state = start_state(model, seen.points, seen.valid, seen.centre, log_focal)
    prior = make_prior(model, settings, focal_px)
    state = solve_shared(builder, state, seen, prior, 20)
    if settings.offset_std_m > 0:
        precision = offset_precision(model, settings)
        for _ in range(2):
            state = solve_offsets(model, state, seen, precision)
            state = solve_shared(builder, state, seen, prior, 3)
        state = solve_offsets(model, state, seen, precision)
    keyframes = FittedFrames(keys, state.frame)
    return Subject(state.identity, state.log_focal, state.offset, keyframes)


def offset_precision(model: LandmarkModel, settings: FitSettings) -> Float[Tensor, " landmark"]:
    """Precision of each landmark's personal offset, 1/metre²."""
    std = torch.full((len(model.index),), settings.offset_std_m, dtype=torch.float64)
    # An offset at an opening would let a mesh stay open where the face is closed.
    pairs = model.landmarks.lip_pairs + model.landmarks.eyelid_pairs
    std[torch.isin(model.index, torch.tensor(pairs))] = settings.opening_offset_std_m
    return 1 / std**2


def fit_frames(
    builder: NormalBuilder, subject: Subject, seen: Observations, settings: FitSettings
) -> FitState:
    """Expression, joints and pose of every frame of a clip, smooth in time; the subject is held."""
    model = builder.model
    start = start_state(
        _shaped(model, subject), seen.points, seen.valid, seen.centre, subject.log_focal
    ).frame
    if subject.keyframes is not None:
        start = correct_start(start, subject.keyframes)
    state = FitState(subject.identity, subject.log_focal, subject.offset, start)
    return improve_frames(builder, state, seen, settings)


def improve_frames(
    builder: NormalBuilder,
    state: FitState,
    seen: Observations,
    settings: FitSettings,
    further: Callable[[FitState, slice], Quadratic] | None = None,
) -> FitState:
    """The frames of a state, improved from where they are; the subject is held.

    Args:
        builder: Of the compared points.
        state: Of all frames.
        seen: Detected points of all frames.
        settings: How smooth the motion is expected to be.
        further: Makes the data term besides the landmarks of some frames; called once for each window.
    """
    settings = _allow_motion(settings, state, seen)
    prior = make_prior(builder.model, settings, float(torch.exp(state.log_focal)))
    frames, overlap = len(state.frame), 100
    solved = []
    for first in range(0, frames, settings.window):
        last = min(first + settings.window, frames)
        begin, end = max(first - overlap, 0), min(last + overlap, frames)
        part = slice(begin, end)
        term = None if further is None else further(state, part)
        window = solve_frames(builder, state.select(part), seen.select(part), prior, 15, term)
        solved.append(window.frame[first - begin : last - begin])
    return FitState(state.identity, state.log_focal, state.offset, torch.cat(solved))


def correct_start(start: Float[Tensor, "frame unknown"], known: FittedFrames) -> Tensor:
    """``start`` moved by what the known frames differ from it, interpolated between them."""
    difference = torch.zeros_like(start)
    difference[known.index] = known.frame - start[known.index]
    is_known = torch.zeros(len(start), dtype=torch.bool)
    is_known[known.index] = True
    return start + bridge_gaps(difference, is_known)


def _allow_motion(settings: FitSettings, state: FitState, seen: Observations) -> FitSettings:
    """``settings`` for a head that moves more than usual (in a car, say): then less is taken for noise.

    The middle of all points is far steadier than its detector's noise, so its acceleration is real.
    """
    if len(seen.points) < 3:
        return settings
    metre = state.frame[:, -1].median() / torch.exp(state.log_focal)
    bend = torch.linalg.vector_norm(seen.points.mean(1).diff(n=2, dim=0), dim=1) * metre
    watched = seen.valid[2:] & seen.valid[1:-1] & seen.valid[:-2]
    if not bool(watched.any()):
        return settings
    factor = float((bend[watched].median() / _USUAL_ACCELERATION_M).clamp(1.0, 1.5))
    return replace(
        settings,
        rotation_std=settings.rotation_std * factor,
        translation_std_m=settings.translation_std_m * factor,
    )


def _shaped(model: LandmarkModel, subject: Subject) -> LandmarkModel:
    shape = torch.tensordot(subject.identity, model.identity, dims=1)
    return replace(model, mean=model.mean + shape + subject.offset)


def landmark_nme(
    model: LandmarkModel, state: FitState, seen: Observations, corner_px: Float[Tensor, " frame"]
) -> Float[Tensor, " frame"]:
    """Mean distance of the compared points over the outer-eye-corner distance; 0 where not valid."""
    found = []
    # All points of a frame and what they are made of are 80 kB: not those of a long clip at once.
    for part in torch.arange(len(state.frame)).split(_AT_ONCE):
        camera = pose_points(model, state.select(part)).camera
        pixels = project_points(camera, state.log_focal, seen.centre)
        found.append(torch.linalg.vector_norm(pixels - seen.points[part], dim=-1).mean(1))
    distance = torch.cat(found)
    return torch.where(seen.valid, distance / corner_px, torch.zeros_like(distance))


def describe_fit(
    head: HeadModel,
    model: LandmarkModel,
    state: FitState,
    seen: Observations,
    points: Float[np.ndarray, "frame detected 2"],
) -> ClipFit:
    """A solved state in the terms of the artifact."""
    n = model.expressions
    frames = len(state.frame)
    angles = state.frame[:, n : n + model.turn_unknowns]
    joint_rotation = torch.zeros(frames, len(head.joint_name), 3, dtype=torch.float64)
    for turn in model.turns:
        joint_rotation[:, turn.joint] = turn_axis_angle(turn, angles)
    matrix = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    matrix[:, :3, :3] = head_rotation(state)
    matrix[:, :3, 3] = state.frame[:, -3:]
    focal = float(torch.exp(state.log_focal))
    x, y = seen.centre.tolist()
    offset = torch.zeros(model.landmarks.count, 3, dtype=torch.float64)
    offset[model.index] = state.offset
    corners = eye_corner_distance_px(points, model.landmarks)
    corners = torch.from_numpy(np.where(seen.valid.numpy(), corners, 1.0))
    identity = np.zeros(len(head.identity_std))
    identity[: len(state.identity)] = state.identity.numpy()
    return ClipFit(
        identity=identity,
        expression=state.frame[:, :n].numpy(),
        joint_rotation=joint_rotation.numpy(),
        camera_from_head=matrix.numpy(),
        intrinsics=np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]]),
        landmark_offset=offset.numpy(),
        nme=landmark_nme(model, state, seen, corners).numpy(),
    )
