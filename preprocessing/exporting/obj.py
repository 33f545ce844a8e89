"""Meshes as Wavefront OBJ text: one per frame, with texture coordinates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from head_geometry.camera_conventions import OPENCV_FROM_OPENGL
from head_geometry.cameras import transform
from preprocessing.exporting.clip import FittedClip
from preprocessing.exporting.folder import PictureWriter, write_json

MATERIAL = "head"


def write_obj(clip: FittedClip, folder: Path, pictures: PictureWriter) -> None:
    """Write ``meshes/<frame>.obj``, one material for all, and the camera.

    Vertices are metres in world axes turned to y up, z towards the first camera (OpenGL), as in the glTF export.
    ``camera.json`` holds the camera in our own convention (OpenCV, pixel 0 at 0) and, per frame, ``camera_from_obj``.

    Source: own.
    """
    flip = OPENCV_FROM_OPENGL.double()
    topology = triangle_lines(clip)
    texture = albedo_name(clip, folder, pictures)
    material = f"newmtl {MATERIAL}\nKd 1 1 1\n" + (f"map_Kd {texture}\n" if texture else "")
    (folder / "meshes").mkdir(parents=True, exist_ok=True)
    (folder / "meshes" / f"{MATERIAL}.mtl").write_text(material, encoding="utf-8")
    head = f"mtllib {MATERIAL}.mtl\nusemtl {MATERIAL}\n"
    for frame in clip.kept.tolist():
        vertices = transform(flip @ clip.world_from_head[frame], clip.vertices(frame).double())
        text = head + vertex_lines(vertices.numpy()) + topology
        (folder / "meshes" / f"{frame:05d}.obj").write_text(text, encoding="utf-8")
    write_json(
        folder / "camera.json",
        {
            "intrinsics": clip.intrinsics.tolist(),
            "image_size": list(clip.size),
            "camera_from_obj": {
                f"{frame:05d}": (clip.camera_from_world[frame] @ flip).tolist()
                for frame in clip.kept.tolist()
            },
            "train": clip.train.tolist(),
            "test": clip.test.tolist(),
        },
    )


def vertex_lines(vertices: Float[np.ndarray, "vertex 3"]) -> str:
    """The ``v`` lines; micrometres are kept."""
    return ("v %.6f %.6f %.6f\n" * len(vertices)) % tuple(vertices.ravel().tolist())


def triangle_lines(clip: FittedClip) -> str:
    """The ``vt`` and ``f`` lines, the same for every frame; OBJ's v runs up."""
    uv = clip.head.uv.double() * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
    corners = torch.stack([clip.head.triangle, clip.head.triangle_uv], -1) + 1
    places = ("vt %.6f %.6f\n" * len(uv)) % tuple(uv.flatten().tolist())
    return places + _face_text(corners.numpy())


def _face_text(corners: Int[np.ndarray, "face 3 2"]) -> str:
    return ("f %d/%d %d/%d %d/%d\n" * len(corners)) % tuple(corners.ravel().tolist())


def albedo_name(clip: FittedClip, folder: Path, pictures: PictureWriter) -> str | None:
    """Write the fit's albedo beside the meshes; its name, or None where the fit has none."""
    albedo = clip.fit["albedo"]
    if not albedo.size:
        return None
    pictures.write(folder / "meshes" / "albedo.png", albedo)
    return "albedo.png"
