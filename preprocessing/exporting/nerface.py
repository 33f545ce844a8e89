"""NerFACE's folder: ``transforms_{train,val,test}.json``, pictures, background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from head_geometry.camera_conventions import nerface_from_camera
from head_geometry.cameras import project, transform
from preprocessing.exporting.background import mean_background
from preprocessing.exporting.clip import FittedClip
from preprocessing.exporting.folder import PictureWriter, write_json

# NerFACE samples rays between 0.2 and 0.8 and scales its scenes to this mean distance.
MEAN_DISTANCE = 0.5
# The background's name is fixed in its training script.
BACKGROUND = "bg/00050.png"
# Its box around the head is wider than the tracked face by these shares of it: above, below, beside.
MARGINS = (0.27, 0.15, 0.15)


def write_nerface(clip: FittedClip, folder: Path, pictures: PictureWriter) -> None:
    """Write the clip for NerFACE.

    The head stands still and the camera moves: ``transform_matrix`` takes OpenGL camera axes to head axes, lengths
    times ``scene_units_per_metre``. ``intrinsics`` are (fx, fy) in pixels and (cx, cy) in shares of the image;
    pixel 0 lies at 0. Both focal lengths are positive, as the published renderer expects of cameras that are not mirrored.
    Keys beyond NerFACE's own (``head_model``, ``expression_name``, ...) say what the numbers mean.

    Source: Gafni et al., NerFACE (2021); gafniguy/4D-Facial-Avatars, ``load_flame.py``, ``real_to_nerf.py``.
    """
    distance_m = float(clip.camera_from_head[clip.kept, :3, 3].norm(dim=-1).mean())
    scale = MEAN_DISTANCE / distance_m
    camera = clip.camera_from_head.clone()
    camera[:, :3, 3] *= scale
    matrices, numbers = nerface_from_camera(
        camera, clip.intrinsics.expand(len(camera), 3, 3), clip.size
    )
    shared = {
        "camera_angle_x": 2 * np.arctan(clip.size[0] / (2 * float(clip.intrinsics[0, 0]))),
        "intrinsics": numbers[0].tolist(),
        "scene_units_per_metre": scale,
        "frame_rate_hz": clip.frame_rate_hz,
        **clip.coefficient_owner(),
    }
    names: dict[int, str] = {}
    for split, frames in (("train", clip.train), ("test", clip.test)):
        names |= {frame: f"./{split}/f_{frame:05d}" for frame in frames.tolist()}
    for split in ("train", "val", "test"):
        frames = {"train": clip.train, "val": clip.validation, "test": clip.test}[split]
        entries = [
            {
                "file_path": names[frame],
                "bbox": head_box(clip, frame),
                "expression": clip.fit["expression"][frame].tolist(),
                "joint_rotation": clip.fit["joint_rotation"][frame].tolist(),
                "time_s": float(clip.time_s[frame]),
                "transform_matrix": matrices[frame].tolist(),
            }
            for frame in frames.tolist()
        ]
        write_json(folder / f"transforms_{split}.json", shared | {"frames": entries})
    pictures.write(folder / BACKGROUND, mean_background(clip))
    for picture in clip.pictures(clip.kept):
        pictures.write(folder / f"{names[picture.frame]}.png", picture.image)


def head_box(clip: FittedClip, frame: int) -> list[float]:
    """Top, bottom, left, right of the head with some air, in shares of the image."""
    placed = transform(clip.camera_from_head[frame], clip.vertices(frame).double())
    pixels = project(placed, clip.intrinsics)
    shares = (pixels + 0.5) / torch.tensor(clip.size)
    (left, top), (right, bottom) = shares.amin(0).tolist(), shares.amax(0).tolist()
    above, below, beside = MARGINS
    tall, wide = bottom - top, right - left
    box = [top - above * tall, bottom + below * tall, left - beside * wide, right + beside * wide]
    return [min(max(value, 0.0), 1.0) for value in box]
