"""From a tree whose root is the base of the neck (FLAME, GNM) to ours, whose root is the head, and back.

Those models turn the whole bust about a joint ``base``, and the head against it about a joint ``carrier``, which
carries jaw and eyes. Ours moves the head by ``world_from_head`` and turns the bust against it. With G0 and G1 the
motions of the two joints in the published tree, a vertex of the head moves by G1 in both, and one of the bust by
G0 = G1 · A⁻¹, where A turns about the carrier. So ``world_from_head`` is G1, and our joint ``neck`` lies at the
carrier and turns by the inverse of the carrier's rotation. This is exact: no vertex moves.

Head models whose root is the neck, or whose neck and head bend elsewhere, have such a pose too: :func:`flame_pose`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from head_geometry.camera_conventions import OPENCV_FROM_OPENGL
from head_geometry.head_model import HeadModel
from head_geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle

log = logging.getLogger(__name__)

# Joints nearer to each other than this are one (metre).
SAME_PLACE_M = 1e-6
TRANSPOSED = np.arange(9).reshape(3, 3).T.ravel()
"""Where the nine elements of an inverse rotation, row by row, come from."""


@dataclass(frozen=True)
class BasePose:
    """Pose of a model whose root is the base of the neck; axis-angle in radians, head axes, metres.

    Attributes:
        base: Rotation of the root.
        carrier: Rotation of the joint that carries the head, relative to the root.
        translation: Added to every vertex at the end.
    """

    base: Float[Tensor, "frame 3"]
    carrier: Float[Tensor, "frame 3"]
    translation: Float[Tensor, "frame 3"]


def to_head_root(
    pose: BasePose,
    base_joint: Float[Tensor, "*frames 3"],
    carrier_joint: Float[Tensor, "*frames 3"],
) -> tuple[Float[Tensor, "frame 4 4"], Float[Tensor, "frame 3"]]:
    """``world_from_head`` and the rotation of our joint ``neck`` for a pose of the published tree.

    Args:
        pose: Rotations and translation as the published model takes them.
        base_joint: Place of its root in the unposed head, metres.
        carrier_joint: Place of the joint that carries the head, metres.

    Source: own; the argument is at the head of this module.
    """
    base, carrier = matrix_from_axis_angle(pose.base), matrix_from_axis_angle(pose.carrier)
    # G0 · A: x -> R0 (R1 (x - c1) + c1 - c0) + c0 + t
    rotation = base @ carrier
    inner = carrier_joint - base_joint - (carrier @ carrier_joint[..., None])[..., 0]
    shift = (base @ inner[..., None])[..., 0] + base_joint + pose.translation
    return _rigid(rotation, shift), -pose.carrier


def from_head_root(
    world_from_head: Float[Tensor, "frame 4 4"],
    neck: Float[Tensor, "frame 3"],
    base_joint: Float[Tensor, "*frames 3"],
    carrier_joint: Float[Tensor, "*frames 3"],
) -> BasePose:
    """The pose of the published tree that places every vertex as ours does; the inverse of :func:`to_head_root`."""
    carrier = matrix_from_axis_angle(-neck)
    base = world_from_head[:, :3, :3] @ carrier.mT
    inner = carrier_joint - base_joint - (carrier @ carrier_joint[..., None])[..., 0]
    moved = (base @ inner[..., None])[..., 0] + base_joint
    return BasePose(axis_angle_from_matrix(base), -neck, world_from_head[:, :3, 3] - moved)


def reroot_correctives(
    pose_corrective: Float[np.ndarray, "published 9 vertex 3"],
    order: Int[np.ndarray, " corrective"],
    inverted: int,
) -> Float[np.ndarray, "corrective 9 vertex 3"]:
    """Pose correctives of the published joints, for ours.

    Args:
        pose_corrective: Displacement per element of R - I of each published joint.
        order: Published row of each of ours.
        inverted: Row of the result whose joint turns the other way in our tree.
    """
    ours = pose_corrective[order]
    ours[inverted] = ours[inverted][TRANSPOSED]
    return ours


@dataclass(frozen=True)
class FlamePose(BasePose):
    """FLAME's pose of every frame.

    ``base`` is FLAME's global rotation, ``carrier`` that of its joint "neck"; axes are those that the joint's parent
    turns.

    Attributes:
        jaw: Rotation of the jaw, a child of ``carrier``.
        eyes: Of the left, then the right eye; children of ``carrier`` too.
    """

    jaw: Float[Tensor, "frame 3"]
    eyes: Float[Tensor, "frame 6"]

    def full(self) -> Float[Tensor, "frame 15"]:
        """FLAME's pose vector: global, neck, jaw, left eye, right eye."""
        return torch.cat([self.base, self.carrier, self.jaw, self.eyes], -1)


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
        neck = head.joint_name.index("neck")
        lower = _rigid(turn[:, neck], shift[:, neck])
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
    turn, shift = head.joint_motion(joints.double(), joint_rotation.double())
    neck, skull = head.joint_name.index("neck"), head.joint_name.index("head")
    upper = turn[:, skull]
    bent = axis_angle_from_matrix(turn[:, neck].mT @ upper)
    space_from_skull = space_from_head.double() @ _rigid(upper, shift[:, skull])
    root, pivot = (joints[:, joint].double() for joint in _root_and_pivot(head))
    placed = from_head_root(space_from_skull, -bent, root, pivot)

    def in_head(name: str) -> Float[Tensor, "frame 3"]:
        if name not in head.joint_name:
            return torch.zeros_like(bent)
        return axis_angle_from_matrix(upper.mT @ turn[:, head.joint_name.index(name)])

    return FlamePose(
        base=placed.base,
        carrier=placed.carrier,
        translation=placed.translation,
        jaw=in_head("jaw"),
        eyes=torch.cat([in_head("eye_left"), in_head("eye_right")], -1),
    )


def _root_and_pivot(head: HeadModel) -> tuple[int, int]:
    """The joint that takes the place of FLAME's root, and the one about which neck and head bend."""
    neck, skull = head.joint_name.index("neck"), head.joint_name.index("head")
    return (neck, skull) if head.joint_parent[skull] == neck else (skull, neck)


def _rigid(
    rotation: Float[Tensor, "frame 3 3"], translation: Float[Tensor, "frame 3"]
) -> Float[Tensor, "frame 4 4"]:
    motion = torch.eye(4).to(rotation).repeat(len(rotation), 1, 1)
    motion[:, :3, :3], motion[:, :3, 3] = rotation, translation
    return motion
