"""IMavatar's folders: ``flame_params.json``, ``image/``, ``mask/`` for training and for test."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.camera_conventions import imavatar_from_camera
from head_geometry.cameras import project, transform
from head_geometry.rerooting import flame_stage
from preprocessing.exporting.clip import FittedClip
from preprocessing.exporting.folder import PictureWriter, write_json

log = logging.getLogger(__name__)

# IMavatar scales FLAME so that the head fills the unit sphere.
SCALE = 4.0
# Iris centres among the MediaPipe points, in the order of IMavatar's keypoints 68 and 69: right, left.
IRISES = (468, 473)
# Lengths of its own vectors: what its FLAME layer is built for.
SHAPES, EXPRESSIONS = 100, 50


def write_imavatar(clip: FittedClip, folder: Path, pictures: PictureWriter) -> None:
    """Write the clip for IMavatar: the sub-folders ``train`` and ``test``, which it takes as sequences.

    The head turns through FLAME's global rotation; FLAME's mesh times 4, moved by ``world_mat``, lies before a
    camera that looks along -z. ``intrinsics`` are (-fx, fy, cx, cy) in shares
    of the image; pixel 0 lies at 0. Keypoints and boxes are in -1..1 between 0 and the image's size.

    Source: Zheng et al., I M Avatar (2022); zhengyuf/IMavatar, ``real_dataset.py``, ``optimize.py``, ``rend_util.py``.
    """
    stage = flame_stage(
        clip.head, clip.joints, clip.joint_rotation, clip.world_from_head, clip.camera_from_world
    )
    if clip.is_flame and clip.fit["expression"].shape[1] > EXPRESSIONS:
        log.warning(
            "the fit has %d expression coefficients, IMavatar's FLAME layer reads %d: set its n_exp",
            clip.fit["expression"].shape[1],
            EXPRESSIONS,
        )
    # IMavatar's FLAME has no translation: the camera has it.
    camera = stage.camera_from_stage.clone()
    moved = (camera[:, :3, :3] @ stage.pose.translation[..., None])[..., 0]
    camera[:, :3, 3] = SCALE * (camera[:, :3, 3] + moved)
    matrices, numbers = imavatar_from_camera(
        camera, clip.intrinsics.expand(len(camera), 3, 3), clip.size
    )
    full = stage.pose.full()
    for split, frames in (("train", clip.train), ("test", clip.test)):
        entries = []
        for frame in frames.tolist():
            points = keypoints(clip, frame)
            entries.append(
                {
                    "file_path": f"./image/{frame + 1}",
                    "world_mat": matrices[frame].tolist(),
                    "expression": clip.fit["expression"][frame].tolist(),
                    "pose": full[frame].tolist(),
                    "bbox": [*points.amin(0).tolist(), *points.amax(0).tolist()],
                    "flame_keypoints": points.tolist(),
                }
            )
        content = {
            "frames": entries,
            "intrinsics": numbers[0].tolist(),
            "shape_params": clip.identity.tolist(),
            "scale": SCALE,
            **clip.coefficient_owner(),
        }
        write_json(folder / split / "flame_params.json", content)
        for picture in clip.pictures(frames):
            name = f"{picture.frame + 1}.png"
            pictures.write(folder / split / "image" / name, picture.image)
            pictures.write(folder / split / "mask" / name, np.ascontiguousarray(picture.alpha))


def keypoints(clip: FittedClip, frame: int) -> Float[Tensor, "70 2"]:
    """The classic 68 points and the irises as the fit sees them, -1..1 between 0 and the image's size."""
    head, vertices = clip.head, clip.vertices(frame)
    corners = vertices[head.triangle[head.sparse68_face]]
    points = (corners * head.sparse68_barycentric[..., None]).sum(-2)
    points = torch.cat([points, head.mediapipe_points(vertices)[list(IRISES)]]).double()
    pixels = project(transform(clip.camera_from_head[frame], points), clip.intrinsics)
    return pixels / torch.tensor(clip.size) * 2 - 1
