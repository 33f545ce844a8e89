"""From a tree whose root is the base of the neck (FLAME, GNM) to ours, whose root is the head, and back.

Those models turn the whole bust about a joint ``base``, and the head against it about a joint ``carrier``, which
carries jaw and eyes. Ours moves the head by ``world_from_head`` and turns the bust against it. With G0 and G1 the
motions of the two joints in the published tree, a vertex of the head moves by G1 in both, and one of the bust by
G0 = G1 · A⁻¹, where A turns about the carrier. So ``world_from_head`` is G1, and our joint ``neck`` lies at the
carrier and turns by the inverse of the carrier's rotation. This is exact: no vertex moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from head_geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle

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
    world_from_head = torch.eye(4).to(rotation).repeat(len(rotation), 1, 1)
    world_from_head[:, :3, :3] = rotation
    world_from_head[:, :3, 3] = (base @ inner[..., None])[..., 0] + base_joint + pose.translation
    return world_from_head, -pose.carrier


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
