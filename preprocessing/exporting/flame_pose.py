"""The border to FLAME's kinematics: its global, neck, jaw and eye rotations from our joints."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.camera_conventions import OPENCV_FROM_OPENGL
from head_geometry.head_model import HeadModel
from head_geometry.rotations import axis_angle_from_matrix

log = logging.getLogger(__name__)

# Joints nearer to each other than this are one (metre).
SAME_PLACE_M = 1e-6


@dataclass(frozen=True)
class FlamePose:
    """FLAME's pose of every frame: axis-angle in radians, in the axes that the joint's parent turns.

    ``rotation`` turns everything about the root joint, ``neck`` the head against the lower neck, ``jaw`` and
    ``eyes`` (left, then right) are children of the head; ``translation`` is added last, metres.
    """

    rotation: Float[Tensor, "frame 3"]
    neck: Float[Tensor, "frame 3"]
    jaw: Float[Tensor, "frame 3"]
    eyes: Float[Tensor, "frame 6"]
    translation: Float[Tensor, "frame 3"]

    def full(self) -> Float[Tensor, "frame 15"]:
        """FLAME's pose vector: global, neck, jaw, left eye, right eye."""
        return torch.cat([self.rotation, self.neck, self.jaw, self.eyes], -1)


@dataclass(frozen=True)
class FlameStage:
    """FLAME's pose, and the camera before which it plays.

    Attributes:
        pose: Of every frame, in the axes of the stage.
        camera_from_stage: Metres; OpenCV camera axes.
    """

    pose: FlamePose
    camera_from_stage: Float[Tensor, "frame 4 4"]


def flame_stage(
    head: HeadModel,
    joints: Float[Tensor, "frame joint 3"],
    joint_rotation: Float[Tensor, "frame joint 3"],
    world_from_head: Float[Tensor, "frame 4 4"],
    camera_from_world: Float[Tensor, "frame 4 4"],
) -> FlameStage:
    """Say the clip's motion as FLAME does: the head moves before the clip's camera, in y-up axes.

    That needs the place of FLAME's root. Where the head model does not tell it apart from the neck's pivot, the
    lower neck stands still instead (global rotation and translation are 0) and the camera moves; the log says so. The
    pictures are the same.
    """
    turn, shift = head.joint_motion(joints.double(), joint_rotation.double())
    root, pivot = _root_and_pivot(head)
    if float((joints[:, root] - joints[:, pivot]).norm(dim=-1).max()) > SAME_PLACE_M:
        flip = OPENCV_FROM_OPENGL.double()
        stage_from_head, camera_from_stage = flip @ world_from_head, camera_from_world @ flip
    else:
        log.warning(
            "the head model does not say where FLAME's root joint lies: "
            "the camera moves instead of the head (global rotation and translation are 0)"
        )
        lower = torch.eye(4, dtype=torch.float64).repeat(len(turn), 1, 1)
        neck = head.joint_name.index("neck")
        lower[:, :3, :3], lower[:, :3, 3] = turn[:, neck], shift[:, neck]
        stage_from_head = torch.linalg.inv(lower)
        camera_from_stage = camera_from_world @ world_from_head @ lower
    pose = flame_pose(head, joints, joint_rotation, stage_from_head)
    return FlameStage(pose, camera_from_stage)


def flame_pose(
    head: HeadModel,
    joints: Float[Tensor, "frame joint 3"],
    joint_rotation: Float[Tensor, "frame joint 3"],
    space_from_head: Float[Tensor, "frame 4 4"],
) -> FlamePose:
    """The same pose said as FLAME does, in the axes of ``space``.

    FLAME's root carries the lower neck and its joint "neck" the head. Ours are ``neck`` and ``head``, and either
    may be the other's parent: the one that is takes the place of FLAME's root, and the other's place is the
    pivot between neck and head, as FLAME's own joint "neck" is. Without a joint of its own the jaw stays at rest.

    Args:
        head: Any head model with the joints head, neck, eye_left and eye_right.
        joints: Their places before any of them turns, head axes, metres.
        joint_rotation: Axis-angle, radians.
        space_from_head: Rigid motion into the axes wanted.

    Source: kinematic tree of Li et al., FLAME (2017); the change of root is own.
    """
    joints, space = joints.double(), space_from_head.double()
    turn, shift = head.joint_motion(joints, joint_rotation.double())
    turn = space[:, None, :3, :3] @ turn
    neck, skull = head.joint_name.index("neck"), head.joint_name.index("head")
    root, pivot = (joints[:, joint] for joint in _root_and_pivot(head))
    lower, upper = turn[:, neck], turn[:, skull]
    bent = lower.mT @ upper
    placed = _turned(space[:, :3, :3], shift[:, skull]) + space[:, :3, 3]
    # A point x of the head lies at lower (bent (x - pivot) + pivot - root) + root + translation.
    translation = placed - _turned(lower, pivot - _turned(bent, pivot) - root) - root

    def in_head(name: str) -> Float[Tensor, "frame 3"]:
        if name not in head.joint_name:
            return torch.zeros_like(translation)
        return axis_angle_from_matrix(upper.mT @ turn[:, head.joint_name.index(name)])

    return FlamePose(
        rotation=axis_angle_from_matrix(lower),
        neck=axis_angle_from_matrix(bent),
        jaw=in_head("jaw"),
        eyes=torch.cat([in_head("eye_left"), in_head("eye_right")], -1),
        translation=translation,
    )


def _root_and_pivot(head: HeadModel) -> tuple[int, int]:
    """The joint that takes the place of FLAME's root, and the one about which neck and head bend."""
    neck, skull = head.joint_name.index("neck"), head.joint_name.index("head")
    return (neck, skull) if head.joint_parent[skull] == neck else (skull, neck)


def _turned(
    rotation: Float[Tensor, "frame 3 3"], vector: Float[Tensor, "frame 3"]
) -> Float[Tensor, "frame 3"]:
    return (rotation @ vector[..., None])[..., 0]


def padded(values: Float[Tensor, "*batch own"], length: int) -> Float[Tensor, "*batch padded"]:
    """Coefficients followed by zeros, at least ``length`` of them."""
    missing = max(length - values.shape[-1], 0)
    return torch.nn.functional.pad(values, (0, missing))
