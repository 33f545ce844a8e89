"""EG3D's dataset: crops that look at the head, and ``dataset.json`` with a label of 25 for each."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.camera_conventions import EG3D_FOCAL_WIDTHS, eg3d_label_from_camera
from preprocessing.exporting.clip import FittedClip
from preprocessing.exporting.folder import PictureWriter, write_json
from preprocessing.exporting.warp import warp

log = logging.getLogger(__name__)

# Side of EG3D's crops (pixel).
SIDE_PX = 512
# Scene units per metre, and the width at the head that a crop shows: its FFHQ cameras stand 2.7 units away (1 m) and
# have a focal length of EG3D_FOCAL_WIDTHS.
UNITS_PER_METRE = 2.7
CROP_WIDTH_M = 1 / EG3D_FOCAL_WIDTHS
# Pictures per folder, as EG3D's own preparation has them.
PER_FOLDER = 1000


@dataclass(frozen=True)
class LookAt:
    """A camera at the same place that looks straight at the head.

    Attributes:
        camera_from_world: Head axes in scene units to OpenCV camera axes; the face's middle is the origin.
        intrinsics: Pinhole matrix in pixels of the crop.
        source_from_crop: Homography from crop pixels to picture pixels (a turn of the camera moves no depth).
    """

    camera_from_world: Float[Tensor, "4 4"]
    intrinsics: Float[Tensor, "3 3"]
    source_from_crop: Float[Tensor, "3 3"]


def write_eg3d(clip: FittedClip, folder: Path, pictures: PictureWriter) -> None:
    """Write the clip for EG3D (and what is built on its cameras).

    Labels are world_from_camera (OpenCV camera axes; world axes are the head's: x to the subject's left, y up, z out
    of the face) row by row, then the intrinsics in image widths, over edges 0..1. They are exact: EG3D's own preparation
    sets every radius to 2.7 and every focal length to 4.2647, ours keep both as they are (and agree with it for a
    head 1 m away). ``train`` and ``test`` name the pictures of the split.

    Source: Chan et al., EG3D (2022); NVlabs/eg3d, ``ray_sampler.py``, ``preprocess_face_cameras.py``,
    ``crop_images_in_the_wild.py``; the crop by a turn of the camera is own.
    """
    middle = face_middle(clip)
    distance_m = float(
        (clip.camera_from_head[clip.kept] @ _point(middle))[:, :3].norm(dim=-1).mean()
    )
    focal_px = SIDE_PX * distance_m / CROP_WIDTH_M
    labels: dict[int, list[object]] = {}
    cut_off = 0
    for place, picture in enumerate(clip.pictures(clip.kept)):
        view = look_at(clip.camera_from_head[picture.frame], clip.intrinsics, middle, focal_px)
        name = f"{place // PER_FOLDER:05d}/img{place:08d}.png"
        label = eg3d_label_from_camera(view.camera_from_world, view.intrinsics, (SIDE_PX, SIDE_PX))
        labels[picture.frame] = [name, label.tolist()]
        cut_off += leaves_picture(view, clip.size)
        crop = warp(picture.image, view.source_from_crop, (SIDE_PX, SIDE_PX), fill=0)
        pictures.write(folder / name, crop)
    if cut_off:
        log.warning(
            "%d of %d crops reach beyond the picture; they are black there", cut_off, len(labels)
        )
    content = {
        "labels": list(labels.values()),
        "train": [labels[frame][0] for frame in clip.train.tolist()],
        "test": [labels[frame][0] for frame in clip.test.tolist()],
        "scene_units_per_metre": UNITS_PER_METRE,
        "origin_in_head_m": middle.tolist(),
    }
    write_json(folder / "dataset.json", content)


def face_middle(clip: FittedClip) -> Float[Tensor, "3"]:
    """Mean of the neutral face's vertices (of all where no part is called face), head axes, metres."""
    head = clip.head
    chosen = clip.neutral
    if "face" in head.part_name:
        chosen = chosen[head.part_vertices("face")]
    return chosen.mean(0).double()


def look_at(
    camera_from_head: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, "3 3"],
    middle: Float[Tensor, "3"],
    focal_px: float,
) -> LookAt:
    """Turn the camera where it stands until ``middle`` (head axes, metres) is in the middle of its picture.

    The turn keeps the picture's up direction.

    Args:
        camera_from_head: Metres; OpenCV camera axes.
        intrinsics: Pinhole matrix in pixels of the picture.
        middle: Head axes, metres.
        focal_px: Focal length in pixels of the crop.
    """
    seen = (camera_from_head @ _point(middle))[:3]
    forward = seen / seen.norm()
    side = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]).to(forward), forward)
    side = side / side.norm()
    turned_from_camera = torch.stack([side, torch.linalg.cross(forward, side), forward])
    camera = torch.eye(4, dtype=torch.float64)
    camera[:3, :3] = turned_from_camera @ camera_from_head[:3, :3]
    camera[:3, 3] = turned_from_camera @ seen * UNITS_PER_METRE
    centre = (SIDE_PX - 1) / 2
    crop_intrinsics = torch.tensor(
        [[focal_px, 0, centre], [0, focal_px, centre], [0, 0, 1]], dtype=torch.float64
    )
    source_from_crop = intrinsics @ turned_from_camera.T @ torch.linalg.inv(crop_intrinsics)
    return LookAt(camera, crop_intrinsics, source_from_crop)


def leaves_picture(view: LookAt, size: tuple[int, int]) -> bool:
    """True where a corner of the crop lies outside the picture."""
    last = SIDE_PX - 1.0
    corners = torch.tensor([[0, 0, 1], [last, 0, 1], [0, last, 1], [last, last, 1]]).double()
    found = corners @ view.source_from_crop.T
    pixels = found[:, :2] / found[:, 2:]
    return bool((pixels < -0.5).any() or (pixels > torch.tensor(size) - 0.5).any())


def _point(place: Float[Tensor, "3"]) -> Float[Tensor, "4"]:
    return torch.cat([place, torch.ones_like(place[:1])])
