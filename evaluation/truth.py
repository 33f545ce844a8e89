"""The filmed frames that renders are compared with, at the renders' size, with the masks of their fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES, MATTE
from artifacts.store import open_artifact, read_artifact
from evaluation.regions import over_white
from head_geometry.cameras import project, resize_intrinsics, transform
from head_geometry.head_model import HeadModel
from head_geometry.head_region import head_region, vertices_above_cut
from head_geometry.images import resize_area
from head_geometry.landmark_sets import landmark_set_of
from head_geometry.rasteriser import Raster, rasterise


class FittedClip:
    """The head of a fit, posed in any frame, in pixels of images of a chosen size."""

    def __init__(self, head_model: HeadModel, face_fit: Path, size: tuple[int, int]) -> None:
        """Read a fit.

        Args:
            head_model: The head model that the fit was made with.
            face_fit: ``face_fit`` artifact.
            size: Width, height of the images to work in, pixels.

        Raises:
            InputError: the fit does not belong to the head model.
        """
        fit = read_artifact(face_fit, FACE_FIT)
        self.head_model = head_model.of_subject(fit, face_fit)
        self.fit, self.size = fit, size
        self.landmark_set = landmark_set_of(len(fit["landmark_offset"]), face_fit)
        self.camera_from_head = fit["camera_from_world"] @ fit["world_from_head"]
        width, height = (int(side) for side in fit["image_size"])
        self.intrinsics = resize_intrinsics(
            torch.from_numpy(fit["intrinsics"]), (width, height), size
        ).float()

    @property
    def n_frames(self) -> int:
        """Frames in the clip."""
        return len(self.camera_from_head)

    def vertices(self, frame: int) -> Float[Tensor, "vertex 3"]:
        """Posed vertices, head axes, metres."""
        rows = slice(frame, frame + 1)
        return self.head_model.vertices(
            torch.from_numpy(self.fit["identity"]),
            torch.from_numpy(self.fit["expression"][rows]),
            torch.from_numpy(self.fit["joint_rotation"][rows]),
        )[0]

    def camera(self, frame: int) -> Float[Tensor, "4 4"]:
        """``camera_from_head``, metres."""
        return torch.from_numpy(self.camera_from_head[frame]).float()

    def head_mask(self, frame: int) -> Float[Tensor, "height width"]:
        """Soft mask of the head's side of the neck cut."""
        return head_region(
            self.head_model, self.vertices(frame), self.camera(frame), self.intrinsics, self.size
        )

    def raster(self, frame: int) -> Raster:
        """What each pixel sees of the posed mesh."""
        placed = transform(self.camera(frame), self.vertices(frame))
        return rasterise(placed, self.head_model.triangle, self.intrinsics, self.size)

    def mesh_mask(self, frame: int) -> Float[Tensor, "height width"]:
        """1 where a pixel's centre sees the posed mesh above the neck cut, 0 elsewhere."""
        seen = self.raster(frame).face_id
        above = vertices_above_cut(self.head_model)[self.head_model.triangle].all(1)
        return ((seen >= 0) & above[seen.clamp_min(0)]).float()

    def landmarks(self, frame: int) -> Float[np.ndarray, "landmark 2"]:
        """The fit's own landmarks, personal offsets included, projected; pixels."""
        points = self.head_model.landmark_points(self.vertices(frame), self.landmark_set)
        points = points + torch.from_numpy(self.fit["landmark_offset"])
        return project(transform(self.camera(frame), points), self.intrinsics).numpy()

    def lips(self, frame: int) -> Float[np.ndarray, "point 2"]:
        """The fit's own points of the lips, projected; pixels."""
        return self.landmarks(frame)[list(self.landmark_set.lips)]


def read_pictures(
    frames: Path, matte: Path, rows: np.ndarray, size: tuple[int, int]
) -> tuple[Float[Tensor, "frame height width 3"], Float[Tensor, "frame height width 3"]]:
    """The filmed frames ``rows`` in 0..1 at ``size``: as they are, and composited over white.

    Compositing comes before resizing, since the product of two means is not the mean of the product.

    Raises:
        InputError: clip and matte have another number of frames or another size.
    """
    with open_artifact(frames, FRAMES) as images, open_artifact(matte, MATTE) as alphas:
        if images.shape("image")[:3] != alphas.shape("alpha"):
            raise InputError(
                f"{matte}: {alphas.shape('alpha')} does not fit the frames of {frames}; "
                "run matte again on this clip"
            )
        full = torch.from_numpy(images.read("image", rows)).float() / 255
        alpha = torch.from_numpy(alphas.read("alpha", rows)).float() / 255
    return resize_area(full, size), resize_area(over_white(full, alpha), size)
