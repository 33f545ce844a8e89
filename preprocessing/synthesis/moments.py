"""Random moments of random people, and random cameras around them: what a generative prior learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.head_model import HeadModel
from head_geometry.rotations import matrix_from_axis_angle
from head_geometry.spherical_harmonics import turn_light
from preprocessing.synthesis.light import make_light
from preprocessing.synthesis.motion import LARGEST_GAZE_RAD, Pose, joint_rotations, turn_about
from preprocessing.synthesis.person import CLOTHES, HAIR_STYLES, Person
from preprocessing.synthesis.scene import DISTANCE_M
from preprocessing.synthesis.visemes import VISEMES

# Spread of the camera around the head: most views are a talking person's, some are from anywhere.
USUAL_TURN_DEG = (10.0, 22.0, 5.0)
WIDEST_TURN_DEG = (35.0, 80.0, 15.0)
ANYWHERE_SHARE = 0.3
NECK_TURN_DEG = (6.0, 8.0, 4.0)
# Width that a picture shows at the head's distance, and how far off its middle the head is (metres).
VIEW_WIDTH_M = (0.30, 0.38)
AIM_M = 0.012
# Actions besides those of speech: how often, and how strongly at most.
_MOODS: dict[str, tuple[float, float]] = {
    "mouthSmile": (0.35, 0.9),
    "mouthFrown": (0.12, 0.8),
    "mouthStretch": (0.1, 0.6),
    "mouthDimple": (0.08, 0.7),
    "mouthPress": (0.1, 0.7),
    "noseSneer": (0.1, 0.8),
    "browDown": (0.2, 0.9),
    "browOuterUp": (0.25, 0.9),
    "eyeWide": (0.12, 0.8),
    "eyeSquint": (0.15, 0.8),
    "cheekSquint": (0.15, 0.7),
}
_SINGLE: dict[str, tuple[float, float]] = {
    "jawOpen": (0.25, 0.9),
    "jawLeft": (0.05, 0.5),
    "jawRight": (0.05, 0.5),
    "jawForward": (0.05, 0.5),
    "mouthLeft": (0.06, 0.7),
    "mouthRight": (0.06, 0.7),
    "mouthRollLower": (0.08, 0.7),
    "mouthRollUpper": (0.08, 0.7),
    "mouthShrugLower": (0.08, 0.7),
    "mouthShrugUpper": (0.06, 0.7),
    "mouthPucker": (0.1, 0.9),
    "mouthFunnel": (0.08, 0.8),
    "cheekPuff": (0.04, 0.8),
    "browInnerUp": (0.25, 0.9),
}
_TALKS, _BLINKS, _SHUT = 0.8, 0.25, 0.6


@dataclass(frozen=True)
class Moment:
    """One expression under one light.

    Attributes:
        expression: By the head model's order, 0..1.
        joint_rotation: Axis-angle, radians, head axes.
        head_from_rest: Axes of the head at rest on the torso to head axes: the turn of the neck.
        light: Spherical harmonics in head axes.
    """

    expression: Float[Tensor, " expression"]
    joint_rotation: Float[Tensor, "joint 3"]
    head_from_rest: Float[Tensor, "4 4"]
    light: Float[Tensor, "9 3"]


@dataclass(frozen=True)
class View:
    """A camera: where the head is before it, and its focal length in picture widths."""

    world_from_head: Float[Tensor, "4 4"]
    focal: float


def make_moment(
    random: np.random.Generator, model: HeadModel, neck_joint: Float[Tensor, "3"]
) -> Moment:
    """Draw an expression, gaze, turn of the neck and light.

    Args:
        random: Where the choices come from.
        model: The head model.
        neck_joint: Where head and torso turn against each other, head axes.
    """
    gaze = random.normal(0, 0.4, 2).clip(-1, 1) * LARGEST_GAZE_RAD
    turn = matrix_from_axis_angle(_radians(random.normal(0, NECK_TURN_DEG)))
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    return Moment(
        expression=_expression(random, model.expression_name, float(gaze[0])),
        joint_rotation=joint_rotations(model, turn, gaze),
        head_from_rest=turn_about(turn, neck_joint.double()),
        light=_turned(make_light(random), facing),
    )


def make_view(random: np.random.Generator, pivot: Float[np.ndarray, "3"]) -> View:
    """Draw a camera that looks at the head.

    Args:
        random: Where the choices come from.
        pivot: What it looks at, head axes, metres.
    """
    if random.uniform() < ANYWHERE_SHARE:
        degrees = random.uniform(-1, 1, 3) * WIDEST_TURN_DEG
    else:
        degrees = np.clip(
            random.normal(0, USUAL_TURN_DEG), np.negative(WIDEST_TURN_DEG), WIDEST_TURN_DEG
        )
    distance = float(np.exp(random.uniform(*np.log(DISTANCE_M))))
    motion = torch.eye(4, dtype=torch.float64)
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    motion[:3, :3] = facing @ matrix_from_axis_angle(_radians(degrees))
    aim = random.uniform(-AIM_M, AIM_M, 2)
    place = torch.tensor([*aim, distance], dtype=torch.float64)
    motion[:3, 3] = place - motion[:3, :3] @ torch.from_numpy(pivot).double()
    return View(motion, distance / random.uniform(*VIEW_WIDTH_M))


def pose_of(moment: Moment, view: View) -> Pose:
    """The moment before a camera."""
    return Pose(
        expression=moment.expression,
        joint_rotation=moment.joint_rotation,
        world_from_head=view.world_from_head,
        world_from_torso=view.world_from_head @ moment.head_from_rest,
    )


def light_of(moment: Moment, view: View) -> Float[Tensor, "9 3"]:
    """The moment's light in the camera's axes: it stands still against the head, not against the camera."""
    return _turned(moment.light, view.world_from_head[:3, :3].mT)


def describe(person: Person, moment: Moment) -> dict[str, float]:
    """What is known of a moment, by name: shape, looks, expression, light. Colours as logarithms."""
    known = {f"identity{i}": float(value) for i, value in enumerate(person.identity)}
    for name in ("feminine", "ruddy", "freckles", "stubble", "brow_strength"):
        known[name] = float(getattr(person, name))
    for name in ("skin", "lip", "hair", "iris"):
        for axis, value in zip("rgb", np.log(getattr(person, name)), strict=True):
            known[f"{name}_{axis}"] = float(value)
    for style in HAIR_STYLES:
        known[f"hair_{style}"] = float(person.hair_style == style)
    for clothes in CLOTHES:  # they cover more or less of the neck
        known[f"clothes_{clothes}"] = float(person.clothes == clothes)
    known |= {f"expression{i}": float(value) for i, value in enumerate(moment.expression)}
    known |= {f"joint{i}": float(v) for i, v in enumerate(moment.joint_rotation.flatten())}
    known |= {f"light{i}": float(value) for i, value in enumerate(moment.light.flatten())}
    return known


def _expression(
    random: np.random.Generator, names: tuple[str, ...], look_down_rad: float
) -> Float[Tensor, " expression"]:
    """A mouth that talks, at times a mood, eyes open or closed."""
    value = dict.fromkeys(names, 0.0)

    def add(name: str, amount: float) -> None:
        for side in [name] if name in value else [f"{name}Left", f"{name}Right"]:
            value[side] += amount

    talks = random.uniform() < _TALKS
    for share in (random.uniform(0.5, 1.3), random.uniform(0, 0.4)) if talks else ():
        shape = VISEMES[str(random.choice(list(VISEMES)))]
        for name, target in shape.target.items():
            add(name, share * target)
    for name, (often, most) in (_MOODS | _SINGLE).items():
        add(name, random.uniform(0, most) * (random.uniform() < often))
    closed = (1.0 if random.uniform() < _SHUT else random.uniform(0, 1)) * (
        random.uniform() < _BLINKS
    )
    add("eyeBlink", closed)
    # Lids follow the eyes.
    add("eyeLookDown", max(look_down_rad, 0.0) / 0.45 * (1 - closed))
    add("eyeLookUp", max(-look_down_rad, 0.0) / 0.45 * (1 - closed))
    uneven = random.uniform(0.85, 1.15, len(names))
    return torch.from_numpy(np.array(list(value.values())) * uneven).float().clamp(0, 1)


def _turned(light: Float[Tensor, "9 3"], rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "9 3"]:
    # In double precision: what a solver rounds differs from call to call.
    return turn_light(light.double(), rotation.double()).float()


def _radians(degrees: Float[np.ndarray, "3"]) -> Tensor:
    return torch.from_numpy(np.radians(np.asarray(degrees, np.float64)))
