"""The border to FLAME's kinematics: its global, neck, jaw and eye rotations from our joints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.head_model import HeadModel
from head_geometry.rotations import axis_angle_from_matrix


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


def flame_pose(
    head: HeadModel,
    joints: Float[Tensor, "joint 3"],
    joint_rotation: Float[Tensor, "frame joint 3"],
    space_from_head: Float[Tensor, "frame 4 4"],
) -> FlamePose:
    """The same pose said as FLAME does, in the axes of ``space``.

    FLAME's root carries the lower neck and its joint "neck" the head. Ours are ``neck`` and ``head``, and either
    may be the other's parent: the one that is takes the place of FLAME's root, and the other's place is the
    pivot between neck and head, as FLAME's own joint "neck" is. Without a joint of its own the jaw stays at rest.

    Args:
        head: Any head model with the joints head, neck, eye_left and eye_right.
        joints: Their places in the subject's neutral head, head axes, metres.
        joint_rotation: Axis-angle, radians.
        space_from_head: Rigid motion into the axes wanted.

    Source: kinematic tree of Li et al., FLAME (2017); the change of root is own.
    """
    joints, space = joints.double(), space_from_head.double()
    turn, shift = head.joint_motion(joints, joint_rotation.double())
    turn = space[:, None, :3, :3] @ turn
    neck, skull = head.joint_name.index("neck"), head.joint_name.index("head")
    root, pivot = (neck, skull) if head.joint_parent[skull] == neck else (skull, neck)
    lower, upper = turn[:, neck], turn[:, skull]
    bent = lower.mT @ upper
    placed = (space[:, :3, :3] @ shift[:, skull, :, None])[..., 0] + space[:, :3, 3]
    about_root = joints[pivot] - bent @ joints[pivot] - joints[root]
    translation = placed - (lower @ about_root[..., None])[..., 0] - joints[root]

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


def padded(values: Float[Tensor, "*batch own"], length: int) -> Float[Tensor, "*batch padded"]:
    """Coefficients followed by zeros, at least ``length`` of them."""
    missing = max(length - values.shape[-1], 0)
    return torch.nn.functional.pad(values, (0, missing))
