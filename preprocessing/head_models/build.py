"""The head model without its landmark embeddings: mesh, bases, joints and skinning."""

from __future__ import annotations

import logging

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix

from preprocessing.head_models.basis import (
    align_heads,
    fit_joint_regressor,
    sphere_centres,
    symmetric_principal_directions,
)
from preprocessing.head_models.mesh import PARTS, HeadMesh, above_collar_m, crop_head
from preprocessing.head_models.samples import read_facial_actions, read_targets, sample_heads
from preprocessing.head_models.source import BaseMesh, data_folder, read_base_mesh, read_rig

log = logging.getLogger(__name__)

JOINTS = ("head", "neck", "eye_left", "eye_right")
JOINT_PARENTS = (-1, 0, 0, 0)
# The neck turns about a point this far down from the head joint to the base of the neck.
NECK_PIVOT = 0.35
# Share of the head's turn by which vertices of the upper neck bone stay behind; lower ones stay entirely.
NECK_SHARE = {"neck03": 0.45}
NECK_SMOOTHING_ROUNDS = 10
COLLAR_BAND_M = 0.014
# The dental arches are made a little smaller, or they show through the corners of closed lips.
TEETH_WIDTH, TEETH_SHIFT_M = 0.92, -0.003


def build_head_arrays(
    sample_count: int, component_count: int, seed: int
) -> dict[str, np.ndarray | list[str]]:
    """Every dataset of the ``head_model`` artifact but the landmark embeddings.

    Args:
        sample_count: Random heads that the identity basis is made from.
        component_count: Identity components kept.
        seed: Random seed.
    """
    folder = data_folder()
    base = read_base_mesh(folder)
    mesh = crop_head(base, folder)
    cubes = [np.unique(base.quads[name]) for name in ("joint-head", "joint-neck")]
    for name in ("helper-upper-teeth", "helper-lower-teeth"):
        teeth = np.unique(base.quads[name])
        base.vertices[teeth] = base.vertices[teeth] * [TEETH_WIDTH, 1, 1] + [0, 0, TEETH_SHIFT_M]
    keep = np.concatenate([mesh.base_vertex, *cubes])
    targets = read_targets(folder, len(base.vertices), keep)
    heads = sample_heads(base.vertices[keep], targets, sample_count, seed)
    heads = align_heads(heads, _face_front(base, mesh))
    n = len(mesh.base_vertex)
    cube_points = np.split(heads[:, n:], [len(cubes[0])], axis=1)
    heads, (head_joint, neck_base) = heads[:, :n], [points.mean(1) for points in cube_points]
    joint_places = _joint_places(heads, mesh, head_joint, neck_base)
    # Origin: the mean head's head joint, on the middle plane.
    origin = head_joint.mean(0) * [0, 1, 1]
    heads = heads - origin
    template, basis, std, explained = symmetric_principal_directions(
        heads, mesh.mirror_vertex, component_count
    )
    log.info(
        "identity: %d samples, %d vertices, %d components hold %.3f %% of the variance",
        sample_count,
        n,
        component_count,
        100 * explained,
    )
    actions = read_facial_actions(folder, len(base.vertices), mesh.base_vertex)
    eyes = np.isin(mesh.vertex_part, [PARTS.index("eye_left"), PARTS.index("eye_right")])
    expression = np.stack(list(actions.values()))
    # Gaze belongs to the eye joints: of eyeLook* only the lids' motion stays.
    expression[:, eyes] = 0
    return {
        "template": template.astype(np.float32),
        "identity_basis": basis.astype(np.float32),
        "identity_std": std.astype(np.float32),
        "expression_basis": expression.astype(np.float32),
        "expression_name": list(actions),
        "expression_lower": np.zeros(len(actions), np.float32),
        "expression_upper": np.ones(len(actions), np.float32),
        "joint_name": list(JOINTS),
        "joint_parent": np.array(JOINT_PARENTS, np.int32),
        "joint_regressor": _joint_regressor(heads, mesh, joint_places - origin),
        "skin_weight": _skin_weights(base, mesh),
        "triangle": mesh.triangle.astype(np.int32),
        "uv": mesh.uv.astype(np.float32),
        "triangle_uv": mesh.triangle_uv.astype(np.int32),
        "vertex_part": mesh.vertex_part.astype(np.int32),
        "part_name": list(PARTS),
        "mirror_vertex": mesh.mirror_vertex.astype(np.int32),
        # It has no pose correctives and no colours.
        "corrective_joint": np.zeros(0, np.int32),
        "pose_corrective": np.zeros((0, 9, len(template), 3), np.float32),
        "joint_expression": np.zeros((0, len(JOINTS), 3), np.float32),
        "albedo_mean": np.zeros((0, 3), np.float32),
        "albedo_basis": np.zeros((0, 0, 3), np.float32),
        "albedo_std": np.zeros(0, np.float32),
    }


def _face_front(base: BaseMesh, mesh: HeadMesh) -> Int[np.ndarray, " face_vertex"]:
    """Vertices of the front of the face, which aligns the random heads."""
    skin = np.isin(mesh.vertex_part, [PARTS.index("face"), PARTS.index("lips")])
    return np.flatnonzero(skin & (base.vertices[mesh.base_vertex, 2] > 0.09))


def _joint_places(
    heads: Float[np.ndarray, "sample vertex 3"],
    mesh: HeadMesh,
    head_joint: Float[np.ndarray, "sample 3"],
    neck_base: Float[np.ndarray, "sample 3"],
) -> Float[np.ndarray, "joint sample 3"]:
    eyes = [sphere_centres(heads[:, mesh.vertex_part == PARTS.index(name)]) for name in JOINTS[2:]]
    return np.stack([head_joint, head_joint + NECK_PIVOT * (neck_base - head_joint), *eyes])


def _joint_regressor(
    heads: Float[np.ndarray, "sample vertex 3"],
    mesh: HeadMesh,
    joint_places: Float[np.ndarray, "joint sample 3"],
) -> Float[np.ndarray, "joint vertex"]:
    """Symmetric regression weights of every joint, from a part of the samples."""
    few = heads[:200]
    skin = np.flatnonzero(np.isin(mesh.vertex_part, [PARTS.index("scalp"), PARTS.index("neck")]))
    middle = [fit_joint_regressor(few, places[:200], skin) for places in joint_places[:2]]
    left = fit_joint_regressor(
        few,
        joint_places[2, :200],
        np.flatnonzero(mesh.vertex_part == PARTS.index("eye_left")),
    )
    rows = [(weights + weights[mesh.mirror_vertex]) / 2 for weights in middle]
    rows += [left, left[mesh.mirror_vertex]]
    misses = [
        np.linalg.norm(np.einsum("v,svc->sc", row, heads) - places, axis=-1)
        for row, places in zip(rows, joint_places, strict=True)
    ]
    log.info(
        "joints: regression error, median over samples: %s",
        ", ".join(
            f"{name} {1e3 * np.median(miss):.2f} mm"
            for name, miss in zip(JOINTS, misses, strict=True)
        ),
    )
    return np.stack(rows).astype(np.float32)


def _skin_weights(base: BaseMesh, mesh: HeadMesh) -> Float[np.ndarray, "vertex joint"]:
    """The eyeballs follow their joints; the rest is shared between head and neck along the neck."""
    parents, bone_weights = read_rig(data_folder())
    share = np.zeros(len(base.vertices))
    total = np.zeros(len(base.vertices))
    for bone, rows in bone_weights.items():
        index = rows[:, 0].astype(np.int64)
        stays = 0.0 if _descends_from(bone, "head", parents) else NECK_SHARE.get(bone, 1.0)
        share[index] += stays * rows[:, 1]
        total[index] += rows[:, 1]
    neck = share[mesh.base_vertex] / np.maximum(total[mesh.base_vertex], 1e-9)
    inside = np.isin(
        mesh.vertex_part,
        [PARTS.index(name) for name in PARTS if name not in ("face", "scalp", "neck")],
    )
    neck[inside] = 0
    # The rig's weights change within a few edges: smooth them, so that the throat does not crease.
    edges = np.concatenate([mesh.triangle[:, [0, 1]], mesh.triangle[:, [1, 2]]])
    edges = np.concatenate([edges, mesh.triangle[:, [2, 0]]])
    pairs = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    n = len(neck)
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(n, n)).tocsr()
    degree = np.asarray(graph.sum(1))[:, 0]
    for _ in range(NECK_SMOOTHING_ROUNDS):
        neck = np.where(inside, 0, 0.5 * neck + 0.5 * (graph @ neck) / degree)
    neck = (neck + neck[mesh.mirror_vertex]) / 2
    # The collar stays entirely.
    neck = np.minimum(neck / neck[above_collar_m(base, mesh) < COLLAR_BAND_M].min(), 1)
    weights = np.zeros((n, len(JOINTS)))
    weights[:, 0], weights[:, 1] = 1 - neck, neck
    for column, name in enumerate(JOINTS[2:], start=2):
        weights[mesh.vertex_part == PARTS.index(name)] = np.eye(len(JOINTS))[column]
    return weights.astype(np.float32)


def _descends_from(bone: str, ancestor: str, parents: dict[str, str]) -> bool:
    while bone:
        if bone == ancestor:
            return True
        bone = parents.get(bone, "")
    return False
