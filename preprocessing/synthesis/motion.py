"""How a synthetic person moves: talking mouth, swaying head and torso, breath, blinks, glances, brows.

Every motion is a function of time, so that frame n is the same in a short and in a long clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from head_geometry.head_model import HeadModel
from head_geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from preprocessing.synthesis.speech import Speech
from preprocessing.synthesis.visemes import MouthTrack, make_mouth_track

# Largest sway: pitch, yaw, roll of the head, then of the torso (radians), shift of the torso (metres).
HEAD_SWAY_RAD = (0.10, 0.22, 0.07)
TORSO_SWAY_RAD = (0.02, 0.05, 0.025)
TORSO_SWAY_M = (0.008, 0.003, 0.008)
BREATH_M, BREATH_HZ = 0.0025, 0.27
BLINK_EVERY_S, BLINK_CLOSE_S, BLINK_SHUT_S, BLINK_OPEN_S = 3.0, 0.07, 0.05, 0.14
GLANCE_EVERY_S, GLANCE_S = 1.3, 0.045
GLANCE_RAD = (0.10, 0.20)
LARGEST_GAZE_RAD = (0.30, 0.45)
# How much of the head's turn the eyes make up for, to stay on the camera.
EYES_HOLD = 0.75


@dataclass(frozen=True)
class Pose:
    """One frame's motion.

    Attributes:
        expression: Coefficients by the head model's order.
        joint_rotation: Axis-angle of each joint, radians, head axes.
        world_from_head: Head axes to world axes, metres.
        world_from_torso: Axes of the head at rest to world axes, for what moves with the torso.
    """

    expression: Float[Tensor, " expression"]
    joint_rotation: Float[Tensor, "joint 3"]
    world_from_head: Float[Tensor, "4 4"]
    world_from_torso: Float[Tensor, "4 4"]


class Sway:
    """Slow random motion of several values: a few sine waves each."""

    def __init__(
        self, random: np.random.Generator, size: tuple[float, ...], fastest_hz: float
    ) -> None:
        """Draw the waves; values stay within ``size``."""
        self._size = np.array(size)
        self._rate_hz = fastest_hz * random.uniform(0.15, 1.0, (4, len(size)))
        self._phase = random.uniform(0, 2 * np.pi, (4, len(size)))
        weight = random.uniform(0.3, 1.0, (4, len(size))) / (0.3 + self._rate_hz / fastest_hz)
        self._weight = weight / weight.sum(0)

    def at(self, time_s: float) -> Float64[np.ndarray, " value"]:
        """The values at one time."""
        waves = np.sin(2 * np.pi * self._rate_hz * time_s + self._phase)
        return self._size * (self._weight * waves).sum(0)


def blink_amount(time_s: float, starts_s: Float64[np.ndarray, " blink"]) -> float:
    """How far the lids are closed, 0..1; each blink closes fast, stays shut a moment and opens more slowly."""
    since = time_s - starts_s[max(int(np.searchsorted(starts_s, time_s)) - 1, 0)]
    shut, open_again = BLINK_CLOSE_S, BLINK_CLOSE_S + BLINK_SHUT_S
    knots = [0, shut, open_again, open_again + BLINK_OPEN_S]
    closed = float(np.interp(since, knots, [0, 1, 1, 0], left=0, right=0))
    return closed * closed * (3 - 2 * closed)


def turn_about(
    rotation: Float[Tensor, "3 3"],
    pivot: Float[Tensor, "3"],
    shift: Float[Tensor, "3"] | None = None,
) -> Float[Tensor, "4 4"]:
    """Rigid motion that turns around a point, and then shifts (float64, the unit of the points)."""
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = rotation
    motion[:3, 3] = (pivot if shift is None else pivot + shift) - rotation @ pivot
    return motion


def joint_rotations(
    model: HeadModel, neck_turn: Float[Tensor, "3 3"], gaze: Float64[np.ndarray, "2"]
) -> Float[Tensor, "joint 3"]:
    """Axis-angle of each joint, radians, head axes, for a turn of the neck and a gaze.

    Args:
        model: The head model.
        neck_turn: Of what lies below the neck against the head.
        gaze: Pitch and yaw of both eyes, radians.
    """
    found = torch.zeros(len(model.joint_name), 3)
    for name, value in (
        ("neck", axis_angle_from_matrix(neck_turn)),
        ("eye_left", torch.tensor([*gaze, 0.0])),
        ("eye_right", torch.tensor([*gaze, 0.0])),
    ):
        found[model.joint_name.index(name)] = value.float()
    return found


class Motion:
    """A person's motion while they say something."""

    def __init__(
        self,
        model: HeadModel,
        speech: Speech,
        random: np.random.Generator,
        world_from_rest: Float[Tensor, "4 4"],
        neck_joint: Float[Tensor, "3"],
    ) -> None:
        """Draw all motions of a clip.

        Args:
            model: The head model.
            speech: What is said.
            random: Where the motions are drawn from.
            world_from_rest: Where the torso's rest is.
            neck_joint: Where the head turns against the torso, head axes at rest.
        """
        self._model, self._world_from_rest = model, world_from_rest
        self._neck = neck_joint.double()
        self._index = {name: i for i, name in enumerate(model.expression_name)}
        self.mouth: MouthTrack = make_mouth_track(
            speech, model.expression_name, random.uniform(0.75, 1.15)
        )
        scale = random.uniform(0.55, 1.0)
        self._head = Sway(random, tuple(scale * size for size in HEAD_SWAY_RAD), 0.7)
        self._facing = random.uniform(-1, 1, 3) * [0.06, 0.14, 0.03]
        self._torso = Sway(random, TORSO_SWAY_RAD + TORSO_SWAY_M, 0.25)
        self._breath_phase = random.uniform(0, 2 * np.pi)
        end_s = speech.duration_s + 10
        gaps = 0.8 + random.exponential(BLINK_EVERY_S - 0.8, int(end_s / 0.8) + 2)
        self._blinks = np.cumsum(gaps) - random.uniform(0.3, 0.8) * gaps[0]
        gaps = 0.3 + random.exponential(GLANCE_EVERY_S - 0.3, int(end_s / 0.3) + 2)
        self._glance_s = np.cumsum(gaps) - gaps[0]
        self._glance = random.normal(0, 0.55, (len(gaps), 2)).clip(-1, 1) * GLANCE_RAD
        self._brows = Sway(random, (0.5, 0.25, 0.3), 0.8)
        self._mood = Sway(random, (0.15,), 0.3)
        self._smile = random.uniform(0.0, 0.2)

    def at(self, time_s: float) -> Pose:
        """The pose at one time."""
        torso = self._torso.at(time_s)
        breath = BREATH_M * np.sin(2 * np.pi * BREATH_HZ * time_s + self._breath_phase)
        turned_torso = _rotation(torso[:3])
        shift = torso[3:] + np.array([0.0, breath, 0.3 * breath])
        # The torso sways about the base of the neck.
        moved = turn_about(turned_torso, self._neck, torch.from_numpy(shift))
        world_from_torso = self._world_from_rest @ moved
        turned_head = _rotation(self._facing + self._head.at(time_s) + 0.5 * torso[:3])
        # The lower neck stays with the torso: against the head it turns the other way.
        neck_turn = turned_head.mT @ turned_torso
        back = turn_about(neck_turn, self._neck)
        gaze = self._gaze(time_s, turned_head)
        return Pose(
            expression=self._expression(time_s, gaze),
            joint_rotation=joint_rotations(self._model, neck_turn, gaze),
            world_from_head=world_from_torso @ torch.linalg.inv(back),
            world_from_torso=world_from_torso,
        )

    def _gaze(self, time_s: float, turned_head: Float[Tensor, "3 3"]) -> Float64[np.ndarray, "2"]:
        """Pitch and yaw of both eyes in the head, radians: near the camera, with glances aside."""
        index = int(np.searchsorted(self._glance_s, time_s, side="right")) - 1
        share = np.clip((time_s - self._glance_s[index]) / GLANCE_S, 0, 1)
        glance = self._glance[index]
        if index > 0:
            glance = share * glance + (1 - share) * self._glance[index - 1]
        forward = turned_head[:, 2].numpy()
        turned = np.array([-np.arcsin(forward[1]), np.arctan2(forward[0], forward[2])])
        return np.clip(glance - EYES_HOLD * turned, *np.outer([-1, 1], LARGEST_GAZE_RAD))

    def _expression(
        self, time_s: float, gaze: Float64[np.ndarray, "2"]
    ) -> Float[Tensor, " expression"]:
        value = self.mouth.at(time_s).copy()
        blink = blink_amount(time_s, self._blinks)
        brow_up, brow_down, uneven = self._brows.at(time_s)
        smile = self._smile + float(self._mood.at(time_s)[0])
        # Lids follow the eyes.
        down, up = max(gaze[0], 0.0) / 0.45, max(-gaze[0], 0.0) / 0.45
        for side, sign in (("Left", 1), ("Right", -1)):
            value[self._index[f"eyeBlink{side}"]] = blink
            value[self._index[f"eyeLookDown{side}"]] = down * (1 - blink)
            value[self._index[f"eyeLookUp{side}"]] = up * (1 - blink)
            value[self._index[f"browOuterUp{side}"]] = brow_up + 0.5 * sign * uneven
            value[self._index[f"browDown{side}"]] = brow_down
            value[self._index[f"mouthSmile{side}"]] += max(smile, 0.0)
            value[self._index[f"cheekSquint{side}"]] = 0.6 * max(smile, 0.0)
        value[self._index["browInnerUp"]] = 0.8 * brow_up
        return torch.from_numpy(value).float().clamp(0, 1)


def _rotation(turn: Float64[np.ndarray, "3"]) -> Float[Tensor, "3 3"]:
    """Pitch, yaw, roll (radians, head axes) as a matrix."""
    return matrix_from_axis_angle(torch.from_numpy(np.asarray(turn, np.float64)))
