"""The clip as one glTF binary: the subject's mesh with morph targets and joints, animated, before its camera."""

from __future__ import annotations

import io
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from head_geometry.camera_conventions import OPENCV_FROM_OPENGL, opengl_from_camera
from head_geometry.rotations import matrix_from_axis_angle, quaternion_from_matrix
from preprocessing.exporting.canvas import centred_canvas
from preprocessing.exporting.clip import FittedClip
from preprocessing.exporting.folder import PictureWriter
from preprocessing.exporting.glb import INDICES, VERTICES, GlbWriter

log = logging.getLogger(__name__)

# glTF skins bind a vertex to four joints.
INFLUENCES = 4
NEAR_M = 0.01


@dataclass(frozen=True)
class Corners:
    """Vertices as glTF wants them: one for every pair of a vertex and a texture coordinate.

    Attributes:
        vertex: Index of the head model's vertex.
        uv: Texture coordinate; (0, 0) is the top-left corner, as in ours.
        triangle: Indices into the two.
    """

    vertex: Int[Tensor, " corner"]
    uv: Float[Tensor, "corner 2"]
    triangle: Int[Tensor, "face 3"]


def write_gltf(clip: FittedClip, folder: Path, pictures: PictureWriter) -> None:
    """Write ``head.glb``.

    World axes are y up, z towards the first camera (ours turned about x), metres. The node ``head_pose`` carries the rigid motion;
    below it are the joints, whose bind places are those of the subject's neutral head. The mesh is that head, its
    morph targets are the expressions by name (weight 1 is the full action). Frames that were not fitted have no
    keys: viewers interpolate. glTF cameras have their principal point in the middle: the camera's view is the
    smallest canvas around the picture for which that is so; the camera's ``extras`` say where on it the picture lies.

    Source: Khronos glTF 2.0 specification.
    """
    del pictures  # The file holds its only picture itself.
    if len(clip.head.corrective_joint) or len(clip.head.joint_expression):
        log.warning(
            "gltf: the format holds no pose correctives and no joints that follow the expression; "
            "the posed mesh differs by them"
        )
    writer = GlbWriter()
    corners = split_corners(clip)
    tracks = Tracks(writer, clip)
    camera = camera_entry(clip)
    nodes, joint_nodes = node_tree(clip)
    skin = {
        "joints": joint_nodes,
        "inverseBindMatrices": writer.accessor(bind_matrices(neutral_joints(clip))),
    }
    pose_node, camera_node = nodes_by_name(nodes, "head_pose"), nodes_by_name(nodes, "camera")
    flip = OPENCV_FROM_OPENGL.double()
    tracks.rigid(pose_node, flip @ clip.world_from_head)
    tracks.rigid(camera_node, flip @ opengl_from_camera(clip.camera_from_world))
    for joint, node in enumerate(joint_nodes):
        if bool(clip.joint_rotation[:, joint].any()):
            tracks.turn(node, matrix_from_axis_angle(clip.joint_rotation[:, joint].double()))
    tracks.weights(nodes_by_name(nodes, "head_mesh"))
    content: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "likeness"},
        "scene": 0,
        "scenes": [{"nodes": [pose_node, camera_node, nodes_by_name(nodes, "head_mesh")]}],
        "nodes": nodes,
        "cameras": [camera],
        "meshes": [mesh_entry(writer, clip, corners)],
        "materials": [
            {"name": "skin", "doubleSided": True, "pbrMetallicRoughness": {"metallicFactor": 0.0}}
        ],
        "skins": [skin],
        "animations": [tracks.entry()],
        "extras": {"head_model": clip.head_name, "frame_rate_hz": clip.frame_rate_hz},
    }
    add_albedo(writer, clip, content)
    writer.write(folder / "head.glb", content)


def split_corners(clip: FittedClip) -> Corners:
    """Split vertices at the seams of the texture."""
    pairs = torch.stack([clip.head.triangle, clip.head.triangle_uv], -1).reshape(-1, 2)
    unique, inverse = torch.unique(pairs, dim=0, return_inverse=True)
    return Corners(unique[:, 0], clip.head.uv[unique[:, 1]], inverse.reshape(-1, 3))


def camera_entry(clip: FittedClip) -> dict[str, Any]:
    """The pinhole camera of the canvas that has the principal point in its middle."""
    canvas = centred_canvas(clip.intrinsics, clip.size)
    width, height = canvas.size
    focal_x, focal_y = float(clip.intrinsics[0, 0]), float(clip.intrinsics[1, 1])
    return {
        "name": "camera",
        "type": "perspective",
        "perspective": {
            "yfov": 2 * math.atan(height / (2 * focal_y)),
            "aspectRatio": (width / focal_x) / (height / focal_y),
            "znear": NEAR_M,
        },
        "extras": {
            "view_size": [width, height],
            "picture_size": list(clip.size),
            "picture_offset": list(canvas.offset),
        },
    }


def node_tree(clip: FittedClip) -> tuple[list[dict[str, Any]], list[int]]:
    """All nodes, and those of the joints in the head model's order."""
    head = clip.head
    joints = neutral_joints(clip)
    nodes: list[dict[str, Any]] = [
        {"name": "head_pose", "children": []},
        {"name": "camera", "camera": 0},
        {"name": "head_mesh", "mesh": 0, "skin": 0},
    ]
    first = len(nodes)
    for joint, (name, parent) in enumerate(zip(head.joint_name, head.joint_parent, strict=True)):
        place = joints[joint]
        if parent >= 0:
            place = place - joints[parent]
        nodes.append({"name": name, "translation": place.tolist()})
        nodes[first + parent if parent >= 0 else 0].setdefault("children", []).append(first + joint)
    return nodes, [first + joint for joint in range(len(head.joint_name))]


def neutral_joints(clip: FittedClip) -> Float[Tensor, "joint 3"]:
    """Places of the joints in the neutral head, which glTF binds the skin to."""
    return clip.head.joint_regressor @ clip.neutral


def nodes_by_name(nodes: list[dict[str, Any]], name: str) -> int:
    """Index of the node called ``name``."""
    return next(index for index, node in enumerate(nodes) if node["name"] == name)


def bind_matrices(joints: Float[Tensor, "joint 3"]) -> Float[np.ndarray, "joint 4 4"]:
    """Head axes to each joint's own, column by column."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    matrices[:, 3, :3] = -joints.numpy()
    return matrices


def mesh_entry(writer: GlbWriter, clip: FittedClip, corners: Corners) -> dict[str, Any]:
    """The neutral head with its morph targets and skin."""
    head, vertex = clip.head, corners.vertex
    joints, weights = four_influences(head.skin_weight)
    normals = vertex_normals(clip.neutral, head.triangle)
    attributes = {
        "POSITION": writer.accessor(clip.neutral[vertex].numpy(), VERTICES),
        "NORMAL": writer.accessor(normals[vertex].numpy(), VERTICES),
        "TEXCOORD_0": writer.accessor(corners.uv.numpy(), VERTICES),
        "JOINTS_0": writer.accessor(joints[vertex].numpy().astype(np.uint8), VERTICES),
        "WEIGHTS_0": writer.accessor(weights[vertex].numpy(), VERTICES),
    }
    targets = [
        {"POSITION": writer.accessor(move[vertex].numpy(), VERTICES, name)}
        for name, move in zip(head.expression_name, head.expression_basis, strict=True)
    ]
    indices = writer.accessor(corners.triangle.flatten().numpy().astype(np.uint32), INDICES)
    primitive = {"attributes": attributes, "indices": indices, "material": 0, "targets": targets}
    return {
        "name": "head",
        "primitives": [primitive],
        "weights": [0.0] * len(targets),
        "extras": {"targetNames": list(head.expression_name)},
    }


def four_influences(
    weights: Float[Tensor, "vertex joint"],
) -> tuple[Int[Tensor, "vertex 4"], Float[Tensor, "vertex 4"]]:
    """The four strongest joints of each vertex and their weights, which sum to 1."""
    missing = max(INFLUENCES - weights.shape[1], 0)
    strongest, joint = torch.nn.functional.pad(weights, (0, missing)).topk(INFLUENCES, dim=1)
    left_out = float((weights.sum(1) - strongest.sum(1)).max())
    if left_out > 1e-4:
        log.warning(
            "glTF binds a vertex to 4 joints: up to %.4f of a vertex's weight is left out", left_out
        )
    # A joint without weight must be joint 0.
    joint = torch.where(strongest > 0, joint, torch.zeros_like(joint))
    return joint, strongest / strongest.sum(1, keepdim=True)


def vertex_normals(
    vertices: Float[Tensor, "vertex 3"], triangle: Int[Tensor, "face 3"]
) -> Float[Tensor, "vertex 3"]:
    """Unit normals, mean of the faces around weighted by area; up where a vertex has no face."""
    a, b, c = vertices[triangle].unbind(1)
    face = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total.index_add_(0, triangle[:, corner], face)
    length = total.norm(dim=1, keepdim=True)
    up = torch.tensor([0.0, 1.0, 0.0]).expand_as(total)
    return torch.where(length > 0, total / length.clamp_min(1e-20), up)


class Tracks:
    """The animation: channels that all share the times of the fitted frames."""

    def __init__(self, writer: GlbWriter, clip: FittedClip) -> None:
        self._writer, self._clip = writer, clip
        times = clip.time_s[clip.kept] - clip.time_s[clip.kept[0]]
        self._input = writer.accessor(times.astype(np.float32))
        self._samplers: list[dict[str, Any]] = []
        self._channels: list[dict[str, Any]] = []

    def rigid(self, node: int, matrices: Float[Tensor, "frame 4 4"]) -> None:
        """A node's rigid motion, metres."""
        self._add(node, "translation", matrices[self._clip.kept, :3, 3])
        self.turn(node, matrices[:, :3, :3])

    def turn(self, node: int, rotations: Float[Tensor, "frame 3 3"]) -> None:
        """A node's rotation; neighbouring quaternions point the same way, so that blending is the short way."""
        wxyz = quaternion_from_matrix(rotations[self._clip.kept])
        opposite = (wxyz[1:] * wxyz[:-1]).sum(-1) < 0
        flips = torch.cat([torch.zeros(1, dtype=torch.long), opposite.long().cumsum(0)])
        wxyz = torch.where((flips % 2 == 1)[:, None], -wxyz, wxyz)
        self._add(node, "rotation", wxyz[:, [1, 2, 3, 0]])

    def weights(self, node: int) -> None:
        """The weights of the morph targets, frame after frame."""
        weights = torch.from_numpy(self._clip.fit["expression"])[self._clip.kept]
        self._add(node, "weights", weights.flatten())

    def entry(self) -> dict[str, Any]:
        """The animation's entry."""
        return {"name": "clip", "channels": self._channels, "samplers": self._samplers}

    def _add(self, node: int, path: str, values: Tensor) -> None:
        output = self._writer.accessor(values.float().numpy())
        self._channels.append(
            {"sampler": len(self._samplers), "target": {"node": node, "path": path}}
        )
        self._samplers.append({"input": self._input, "output": output, "interpolation": "LINEAR"})


def add_albedo(writer: GlbWriter, clip: FittedClip, content: dict[str, Any]) -> None:
    """Give the material the fit's albedo, where it has one."""
    albedo = clip.fit["albedo"]
    if not albedo.size:
        return
    png = io.BytesIO()
    Image.fromarray(albedo).save(png, format="PNG")
    content["images"] = [writer.picture(png.getvalue())]
    content["textures"] = [{"source": 0}]
    content["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
