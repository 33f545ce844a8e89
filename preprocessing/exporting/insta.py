"""INSTA's folder (instant-ngp transforms, meshes, masks, depth) and metrical-tracker's checkpoints beside it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from torch import Tensor

from head_geometry.camera_conventions import pytorch3d_from_camera
from head_geometry.cameras import transform
from head_geometry.rasteriser import Raster, rasterise
from head_geometry.rerooting import flame_pose
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing.exporting.clip import FittedClip, Picture
from preprocessing.exporting.folder import PictureWriter, write_json
from preprocessing.exporting.obj import triangle_lines, vertex_lines
from preprocessing.exporting.vhap import camera_numbers, padded

DEPTH_UNIT_M = 0.001
# Its canonical head opens the mouth by this turn of the jaw, or by the expression where there is no such joint.
CANONICAL_JAW_RAD, CANONICAL_EXPRESSION = math.radians(12), ("jawOpen", 0.5)
# Classes of its segmentation masks, in the red channel.
PART_CLASS = {
    "face": 250,
    "eye_left": 210,
    "eye_right": 200,
    "ear": 180,
    "teeth": 140,
    "tongue": 140,
    "mouth_cavity": 140,
    "lips": 130,
    "neck": 110,
    "scalp": 80,
}
HAIR_CLASS, CLOTH_CLASS = 80, 90
SOLID_ALPHA = 128
# Lengths of metrical-tracker's own vectors.
SHAPES, EXPRESSIONS, TEXTURES = 300, 100, 140


def write_insta(clip: FittedClip, folder: Path, pictures: PictureWriter) -> None:
    """Write the clip for INSTA.

    The head stands still (world axes are the head's, metres) and the camera moves: ``transform_matrix`` takes OpenCV
    camera axes, not OpenGL's, to the world. ``cx``, ``cy`` are in pixels from the image's edge (the centre of pixel
    0 lies at 0.5). Pictures carry the head's opacity without the torso. ``checkpoint/*.frame`` are what
    metrical-tracker saves: nested dicts of NumPy arrays in a torch file, which its loaders expect.

    Source: Zielonka et al., INSTA (2023); Zielon/INSTA, ``scripts/transforms.py``, ``nerf_loader.cu``, the patch of
    face-parsing; Zielon/metrical-tracker, ``tracker.py``.
    """
    world_from_camera = torch.linalg.inv(clip.camera_from_head)
    camera = camera_numbers(clip.intrinsics, clip.size)
    shared = camera | {
        "x_fov": math.degrees(camera["camera_angle_x"]),
        "y_fov": math.degrees(camera["camera_angle_y"]),
        "integer_depth_scale": DEPTH_UNIT_M,
        **clip.coefficient_owner(),
    }
    lists = {"": clip.kept, "_train": clip.train, "_val": clip.validation, "_test": clip.test}
    for name, frames in lists.items():
        entries = [_entry(frame, world_from_camera[frame]) for frame in frames.tolist()]
        write_json(folder / f"transforms{name}.json", shared | {"frames": entries})
    for name in ("meshes", "checkpoint", "flame/exp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    topology = triangle_lines(clip)
    canonical = vertex_lines(canonical_vertices(clip).numpy()) + topology
    (folder / "canonical.obj").write_text(canonical, encoding="utf-8")
    checkpoints = Checkpoints(clip)
    labels = torch.tensor([PART_CLASS.get(part, 0) for part in clip.head.part_name])
    vertex_class = labels[clip.head.vertex_part]
    for picture in clip.pictures(clip.kept):
        name, vertices = f"{picture.frame:05d}", clip.vertices(picture.frame)
        mesh = vertex_lines(vertices.numpy()) + topology
        (folder / f"meshes/{name}.obj").write_text(mesh, encoding="utf-8")
        np.savetxt(
            folder / f"flame/exp/{name}.txt", clip.fit["expression"][picture.frame], fmt="%.8f"
        )
        torch.save(checkpoints.payload(picture.frame), folder / f"checkpoint/{name}.frame")
        placed = transform(clip.camera_from_head[picture.frame].float(), vertices)
        raster = rasterise(placed, clip.head.triangle, clip.intrinsics.float(), clip.size)
        alpha = clip.head_alpha(picture)
        pictures.write(folder / f"images/{name}.png", np.dstack([picture.image, alpha]))
        pictures.write(folder / f"background/{name}.png", picture.image)
        pictures.write(folder / f"depth/{name}.png", depth_levels(raster))
        classes = class_image(clip, raster, vertex_class, picture, alpha)
        pictures.write(folder / f"seg_mask/{name}.png", classes)


def canonical_vertices(clip: FittedClip) -> Float[Tensor, "vertex 3"]:
    """The neutral head with an open mouth, head axes, metres."""
    head, jaw = clip.head, clip.joint("jaw")
    rotation = torch.zeros(1, len(head.joint_name), 3)
    expression = torch.zeros(1, len(head.expression_name))
    name, value = CANONICAL_EXPRESSION
    if jaw is not None:
        rotation[0, jaw, 0] = CANONICAL_JAW_RAD
    elif name in head.expression_name:
        expression[0, head.expression_name.index(name)] = value
    return head.vertices(clip.identity, expression, rotation)[0]


def depth_levels(raster: Raster) -> UInt16[np.ndarray, "height width"]:
    """Depth in millimetres, 0 beside the mesh."""
    return (raster.depth / DEPTH_UNIT_M).round().clamp(0, 65535).numpy().astype(np.uint16)


def class_image(
    clip: FittedClip,
    raster: Raster,
    vertex_class: Tensor,
    picture: Picture,
    head_alpha: UInt8[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """INSTA's segmentation mask: the mesh's parts; beyond them, hair on the head's side of the cut, else cloth.

    It stands in for a face parsing network, whose outlines follow the picture more closely.
    """
    corner = raster.barycentric.argmax(-1)
    seen = raster.face_id >= 0
    nearest = clip.head.triangle[raster.face_id.clamp_min(0)].gather(-1, corner[..., None])[..., 0]
    classes = torch.where(seen, vertex_class[nearest], HAIR_CLASS).numpy().astype(np.uint8)
    person, head = picture.alpha >= SOLID_ALPHA, head_alpha >= SOLID_ALPHA
    classes[person & ~head] = CLOTH_CLASS
    classes[~person] = 0
    return np.dstack([classes, np.zeros((*classes.shape, 2), np.uint8)])


class Checkpoints:
    """What metrical-tracker saves of each frame.

    Its FLAME has no global and no neck rotation: the camera holds the head's pose, and a neck that turns against
    the head is left out (the meshes have it).
    """

    def __init__(self, clip: FittedClip) -> None:
        self._clip = clip
        still = torch.eye(4, dtype=torch.float64).expand(len(clip.camera_from_head), 4, 4)
        pose = flame_pose(clip.head, clip.joints, clip.joint_rotation, still)
        self._jaw = rotation_6d(pose.jaw)
        self._eyes = torch.cat([rotation_6d(pose.eyes[:, :3]), rotation_6d(pose.eyes[:, 3:])], -1)
        intrinsics = clip.intrinsics.expand(len(clip.camera_from_head), 3, 3)
        rotation, self._shift, focal, self._centre = pytorch3d_from_camera(
            clip.camera_from_head, intrinsics, clip.size
        )
        self._rotation = rotation[:, :2].flatten(1)
        self._focal = focal[:, :1]
        # OpenCV's matrix as PyTorch3D derives it: from the image's edge.
        numbers = camera_numbers(clip.intrinsics, clip.size)
        self._edge = np.array(
            [
                [numbers["fl_x"], 0, numbers["cx"]],
                [0, numbers["fl_y"], numbers["cy"]],
                [0, 0, 1],
            ],
            np.float32,
        )

    def payload(self, frame: int) -> dict[str, Any]:
        """Content of one ``.frame`` file; texture and light are not estimated and stay 0."""
        clip, row = self._clip, slice(frame, frame + 1)
        camera = clip.camera_from_head[frame].float().numpy()
        expression = padded(torch.from_numpy(clip.fit["expression"][row]), EXPRESSIONS)
        width, height = clip.size
        return {
            "flame": {
                "exp": expression.numpy(),
                "shape": padded(clip.identity[None], SHAPES).numpy(),
                "tex": np.zeros((1, TEXTURES), np.float32),
                "sh": np.zeros((1, 9, 3), np.float32),
                "eyes": self._eyes[row].float().numpy(),
                "eyelids": np.zeros((1, 2), np.float32),
                "jaw": self._jaw[row].float().numpy(),
            },
            "camera": {
                "R": self._rotation[row].float().numpy(),
                "t": self._shift[row].float().numpy(),
                "fl": self._focal[row].float().numpy(),
                "pp": self._centre[row].float().numpy(),
            },
            "opencv": {"R": camera[None, :3, :3], "t": camera[None, :3, 3], "K": self._edge[None]},
            "img_size": np.array([height, width]),
            "frame_id": f"{frame:05d}",
            "global_step": 0,
            "head_model": clip.head_name,
        }


def rotation_6d(axis_angle: Float[Tensor, "frame 3"]) -> Float[Tensor, "frame 6"]:
    """The first two rows of the rotation matrix.

    Source: Zhou et al. (2019), in the row order of PyTorch3D.
    """
    return matrix_from_axis_angle(axis_angle)[:, :2].flatten(1)


def _entry(frame: int, world_from_camera: Float[Tensor, "4 4"]) -> dict[str, Any]:
    name = f"{frame:05d}"
    return {
        "transform_matrix": world_from_camera.tolist(),
        "file_path": f"images/{name}.png",
        "mesh_path": f"meshes/{name}.obj",
        "exp_path": f"flame/exp/{name}.txt",
        "depth_path": f"depth/{name}.png",
        "seg_mask_path": f"seg_mask/{name}.png",
    }
