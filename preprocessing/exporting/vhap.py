"""VHAP's dataset folder, which GaussianAvatars trains on: cameras, pictures, masks, one npz of parameters per frame."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from head_geometry.camera_conventions import edge_from_pixel_intrinsics, opengl_from_camera
from head_geometry.rerooting import FlamePose, flame_stage
from preprocessing.exporting.canvas import centred_canvas
from preprocessing.exporting.clip import FittedClip, Picture
from preprocessing.exporting.folder import PictureWriter, write_json

# Lengths of VHAP's own vectors.
SHAPES, EXPRESSIONS = 300, 100
# The mouth of its canonical head is open by this turn of the jaw (radian).
CANONICAL_JAW_RAD = 0.3


def write_vhap(clip: FittedClip, folder: Path, pictures: PictureWriter) -> None:
    """Write the clip in the layout of VHAP's export.

    The camera stands still; FLAME's rotation and translation move the head, whose mean place is the origin.
    ``transform_matrix`` takes OpenGL camera axes to the world, metres. ``cx``, ``cy`` are in pixels from the image's
    edge (the centre of pixel 0 lies at 0.5). GaussianAvatars reads only the field of view and takes the middle of
    the image for the principal point: so the pictures lie on a white canvas whose middle it is.

    Source: ShenhanQian/VHAP, ``export_as_nerf_dataset.py``, ``model/flame.py``; ShenhanQian/GaussianAvatars,
    ``dataset_readers.py`` (Qian et al. 2024).
    """
    stage = flame_stage(
        clip.head, clip.joints, clip.joint_rotation, clip.world_from_head, clip.camera_from_world
    )
    middle = stage.pose.translation[clip.kept].mean(0)
    camera_from_centred = stage.camera_from_stage.clone()
    camera_from_centred[:, :3, 3] += camera_from_centred[:, :3, :3] @ middle
    matrices = opengl_from_camera(camera_from_centred)
    canvas = centred_canvas(clip.intrinsics, clip.size)
    camera = camera_numbers(clip.intrinsics + torch.tensor(_shift(canvas.offset)), canvas.size)
    entries = {
        frame: _entry(place, frame, matrices[frame], camera)
        for place, frame in enumerate(clip.kept.tolist())
    }
    shared = camera | clip.coefficient_owner()
    splits = {"train": clip.train, "val": np.zeros(0, np.int64), "test": clip.test}
    for name, frames in {"": clip.kept, **splits}.items():
        chosen = [entries[frame] for frame in frames.tolist()]
        content = shared | {
            "frames": chosen,
            "timestep_indices": [entry["timestep_index"] for entry in chosen],
            "camera_indices": [0] if chosen else [],
        }
        write_json(folder / ("transforms.json" if not name else f"transforms_{name}.json"), content)
    write_parameters(clip, stage.pose, middle, folder)
    for place, picture in enumerate(clip.pictures(clip.kept)):
        name = _picture_name(place)
        pictures.write(folder / "images" / name, canvas.place(over_white(picture), 255))
        pictures.write(folder / "fg_masks" / name, canvas.place(picture.alpha, 0))


def camera_numbers(intrinsics: Float[Tensor, "3 3"], size: tuple[int, int]) -> dict[str, float]:
    """The camera as this family of tools writes it: focal lengths, principal point from the edge, fields of view."""
    edge = edge_from_pixel_intrinsics(intrinsics)
    width, height = size
    focal_x, focal_y = float(edge[0, 0]), float(edge[1, 1])
    return {
        "cx": float(edge[0, 2]),
        "cy": float(edge[1, 2]),
        "fl_x": focal_x,
        "fl_y": focal_y,
        "w": width,
        "h": height,
        "camera_angle_x": 2 * math.atan(width / (2 * focal_x)),
        "camera_angle_y": 2 * math.atan(height / (2 * focal_y)),
    }


def padded(values: Float[Tensor, "*batch own"], length: int) -> Float[Tensor, "*batch padded"]:
    """Coefficients followed by zeros, at least ``length`` of them."""
    missing = max(length - values.shape[-1], 0)
    return torch.nn.functional.pad(values, (0, missing))


def write_parameters(
    clip: FittedClip, pose: FlamePose, middle: Float[Tensor, "3"], folder: Path
) -> None:
    """``flame_param/*.npz`` and the canonical head."""
    expression = padded(torch.from_numpy(clip.fit["expression"]), EXPRESSIONS).numpy()
    offset = clip.fit["vertex_offset"]
    if not len(offset):
        offset = np.zeros((len(clip.head.template), 3), np.float32)
    shared = {
        "shape": padded(clip.identity, SHAPES).numpy(),
        "static_offset": offset[None],
        "head_model": np.array(clip.head_name),
    }
    moving = {
        "translation": pose.translation - middle,
        "rotation": pose.base,
        "neck_pose": pose.carrier,
        "jaw_pose": pose.jaw,
        "eyes_pose": pose.eyes,
    }
    arrays = {name: value.float().numpy() for name, value in moving.items()} | {"expr": expression}
    (folder / "flame_param").mkdir(parents=True, exist_ok=True)
    for place, frame in enumerate(clip.kept.tolist()):
        own = {name: value[frame : frame + 1] for name, value in arrays.items()}
        np.savez(folder / f"flame_param/{place:05d}.npz", allow_pickle=False, **own, **shared)
    rest = {name: np.zeros_like(value[:1]) for name, value in arrays.items()}
    rest["jaw_pose"][0, 0] = CANONICAL_JAW_RAD
    np.savez(folder / "canonical_flame_param.npz", allow_pickle=False, **rest, **shared)


def over_white(picture: Picture) -> UInt8[np.ndarray, "height width 3"]:
    """The person over white."""
    alpha = picture.alpha[..., None].astype(np.float32) / 255
    return (picture.image * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _entry(
    place: int, frame: int, matrix: Float[Tensor, "4 4"], camera: dict[str, float]
) -> dict[str, Any]:
    return {
        "timestep_index": place,
        "timestep_index_original": frame,
        "timestep_id": f"frame_{frame:05d}",
        "camera_index": 0,
        "camera_id": "0",
        **camera,
        "transform_matrix": matrix.tolist(),
        "file_path": f"images/{_picture_name(place)}",
        "fg_mask_path": f"fg_masks/{_picture_name(place)}",
        "flame_param_path": f"flame_param/{place:05d}.npz",
    }


def _picture_name(place: int) -> str:
    return f"{place:05d}_00.png"


def _shift(offset: tuple[float, float]) -> list[list[float]]:
    return [[0.0, 0.0, offset[0]], [0.0, 0.0, offset[1]], [0.0, 0.0, 0.0]]
