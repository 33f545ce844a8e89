"""What a published head model gives, and the ``head_model`` arrays made of it; one way for all models."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from preprocessing.head_models.mesh import PARTS
from preprocessing.head_models.mirror import mirror_vertices
from preprocessing.head_models.unwrap import unwrap

log = logging.getLogger(__name__)

JOINTS = ("head", "neck", "eye_left", "eye_right")
ALL_PARTS = (*PARTS, "eye_socket")
TO_LABEL = -1
"""Part of a vertex of the skin, which is divided up once the places of the face points are known."""
Arrays = dict[str, np.ndarray | list[str]]


@dataclass(frozen=True)
class Rig:
    """Joints and skinning in our tree (see HeadModel): the head is the root, its children turn against it.

    Attributes:
        joint_name: ``head`` first, then its children.
        joint_regressor: Rows sum to 1.
        skin_weight: Rows sum to 1.
        corrective_joint: Joint that drives each pose corrective.
        pose_corrective: Metres per element of R - I.
        joint_expression: Metres, by expression; no rows where expressions do not move the joints.
    """

    joint_name: tuple[str, ...]
    joint_regressor: Float[np.ndarray, "joint vertex"]
    skin_weight: Float[np.ndarray, "vertex joint"]
    corrective_joint: tuple[int, ...]
    pose_corrective: Float[np.ndarray, "corrective 9 vertex 3"]
    joint_expression: Float[np.ndarray, "moving_expression joint 3"]


@dataclass(frozen=True)
class TextureMap:
    """Texture coordinates, (0, 0) at the top-left corner, and the corners' indices into them."""

    uv: Float[np.ndarray, "uv_vertex 2"]
    triangle_uv: Int[np.ndarray, "face 3"]


@dataclass(frozen=True)
class Albedo:
    """Colours of the vertices, sRGB 0..1, and their displacement per standard deviation."""

    mean: Float[np.ndarray, "vertex 3"]
    basis: Float[np.ndarray, "albedo vertex 3"]


@dataclass(frozen=True)
class PublishedHead:
    """A head model as published, in metres and head axes.

    Attributes:
        template: Mean head.
        identity: Displacement by one standard deviation along each direction.
        expression: Displacement at coefficient 1.
        expression_name: Name of each expression.
        expression_range: Smallest and largest sensible coefficient, the same for all.
        triangle: Counter-clockwise seen from outside.
        part: Index into ALL_PARTS, or TO_LABEL for skin.
        texture: None where the file has no texture coordinates.
        rig: None where the model has no joints; they are then made from its geometry.
        albedo: None where the model has no colours.
        sparse68: Vertices of the classic 68 points, where the model says which they are.
    """

    template: Float[np.ndarray, "vertex 3"]
    identity: Float[np.ndarray, "identity vertex 3"]
    expression: Float[np.ndarray, "expression vertex 3"]
    expression_name: tuple[str, ...]
    expression_range: tuple[float, float]
    triangle: Int[np.ndarray, "face 3"]
    part: Int[np.ndarray, " vertex"]
    texture: TextureMap | None = None
    rig: Rig | None = None
    albedo: Albedo | None = None
    sparse68: Int[np.ndarray, "68"] | None = None


def head_arrays(head: PublishedHead, rig: Rig, part: Int[np.ndarray, " vertex"]) -> Arrays:
    """Every dataset of the ``head_model`` artifact but the landmark embeddings.

    Args:
        head: The published model.
        rig: Its joints, or those made for it.
        part: Index into ALL_PARTS of every vertex.
    """
    texture = head.texture
    if texture is None:
        texture = TextureMap(*unwrap(head.template, head.triangle))
        log.info(
            "texture: the model has no texture coordinates; it got own ones, %d islands without overlap "
            "(textures painted for the published model do not fit them)",
            _islands(texture),
        )
    mirror, symmetric = mirror_vertices(head.template, head.triangle)
    log.info("mirror: %.1f %% of the triangles have a mirror image", 100 * symmetric)
    identity, identity_std = unit_directions(head.identity)
    albedo = head.albedo or Albedo(np.zeros((0, 3)), np.zeros((0, 0, 3)))
    albedo_basis, albedo_std = unit_directions(albedo.basis)
    lower, upper = head.expression_range
    count = len(head.expression)
    real: dict[str, np.ndarray] = {
        "template": head.template,
        "identity_basis": identity,
        "identity_std": identity_std,
        "expression_basis": head.expression,
        "expression_lower": np.full(count, lower),
        "expression_upper": np.full(count, upper),
        "uv": texture.uv,
        "albedo_mean": albedo.mean,
        "albedo_basis": albedo_basis,
        "albedo_std": albedo_std,
    }
    whole: dict[str, np.ndarray] = {
        "triangle": head.triangle,
        "triangle_uv": texture.triangle_uv,
        "mirror_vertex": mirror,
    }
    arrays = _stored(real, whole) | {"expression_name": list(head.expression_name)}
    return arrays | rig_arrays(rig, part)


def rig_arrays(rig: Rig, part: Int[np.ndarray, " vertex"]) -> Arrays:
    """Those datasets of the ``head_model`` artifact that say how the mesh moves and what its parts are.

    Args:
        rig: Joints.
        part: Index into ALL_PARTS of every vertex.
    """
    names = ALL_PARTS if (part == ALL_PARTS.index("eye_socket")).any() else PARTS
    real = {
        "joint_regressor": rig.joint_regressor,
        "skin_weight": rig.skin_weight,
        "pose_corrective": rig.pose_corrective,
        "joint_expression": rig.joint_expression,
    }
    whole = {
        "joint_parent": np.array([-1] + [0] * (len(rig.joint_name) - 1)),
        "vertex_part": part,
        "corrective_joint": np.array(rig.corrective_joint, np.int32),
    }
    return _stored(real, whole) | {"joint_name": list(rig.joint_name), "part_name": list(names)}


def _stored(real: dict[str, np.ndarray], whole: dict[str, np.ndarray]) -> Arrays:
    return {
        **{name: np.ascontiguousarray(array, np.float32) for name, array in real.items()},
        **{name: np.ascontiguousarray(array, np.int32) for name, array in whole.items()},
    }


def unit_directions(
    displacement: Float[np.ndarray, "component vertex 3"],
) -> tuple[Float[np.ndarray, "component vertex 3"], Float[np.ndarray, " component"]]:
    """Directions of unit length and how long they were (a direction of no length stays as it is)."""
    length = np.sqrt((displacement**2).sum((1, 2)))
    return displacement / np.where(length > 0, length, 1)[:, None, None], length


def _islands(texture: TextureMap) -> int:
    from preprocessing.head_models.mesh import texture_islands

    return int(texture_islands(texture.triangle_uv).max()) + 1
