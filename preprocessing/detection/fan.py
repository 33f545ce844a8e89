"""The classic 68 face points in a face's box: the face alignment network (FAN) of the package ``face-alignment``.

The package is optional. Of it, the network's layers and the mirroring are used; it never gets to its own downloader
and its own face detector.

Source: Bulat and Tzimiropoulos, How far are we from solving the 2D & 3D face alignment problem?, ICCV 2017.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from artifacts.errors import InputError
from head_geometry.weight_files import read_state_dict
from preprocessing.detection.roi import RotatedSquare, sample_square

CROP_PX, HEATMAP_CELLS = 256, 64
# Hourglasses in a row in the published network.
HOURGLASSES = 4
# The package's rule from a box around brows and chin to the square that the network looks at.
SQUARE_OVER_BOX = 200 / 195
RAISED_BY = 0.12
# A heatmap's neighbours of its peak are taken for at least this share of it, so that their logarithm exists.
LOWEST_SHARE = 1e-3


def import_package() -> Any:  # noqa: ANN401  (a module)
    """The package ``face_alignment``.

    Raises:
        InputError: it is not installed.
    """
    try:
        import face_alignment
    except ImportError as error:
        raise InputError(
            f"the landmark detector face_alignment needs its package ({error}): pip install '.[face_alignment]' "
            "with constraints.txt, or choose landmarks: {detector: mediapipe}"
        ) from error
    return face_alignment


class FaceAligner:
    """Runs FAN on faces whose boxes are known."""

    def __init__(self, network: nn.Module, device: torch.device | str = "cpu") -> None:
        """Take a network that maps pictures in 0..1 to heatmaps, one of each stage.

        Args:
            network: (face, 3, 256, 256) to a list of (face, 68, 64, 64).
            device: Where to run it.
        """
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()
        self._flip = import_package().utils.flip

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> FaceAligner:
        """Read the published weights (2DFAN-4).

        Raises:
            InputError: the package is not installed, or the file is missing, damaged or of another network.
        """
        package = import_package()
        if not path.is_file():
            raise InputError(
                f"{path}: no such network file; fetch it with `python -m assets.fetch --name {path.name} --out {path}`"
            )
        network = package.models.FAN(HOURGLASSES)
        try:
            network.load_state_dict(read_state_dict(path))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(
                f"{path}: not the weights of 2DFAN-4 ({reason}…); use the file named in assets/registry.yaml"
            ) from error
        return cls(network, device)

    def find_points(
        self,
        images: list[UInt8[np.ndarray, "height width 3"]],
        boxes: Float[np.ndarray, "face 4"],
    ) -> Float32[np.ndarray, "face 68 2"]:
        """The 68 points of one face in each image, pixels.

        Args:
            images: sRGB.
            boxes: x0, y0, x1, y1 around brows and chin, pixels.
        """
        crops = [sample_crop(image, box) for image, box in zip(images, boxes, strict=True)]
        heatmaps = self.find_heatmaps(np.stack(crops))
        cells = peak_positions(heatmaps)
        centers, sides = _look(boxes)
        share = cells / HEATMAP_CELLS - 0.5
        return (centers[:, None] + share * sides[:, None, None]).astype(np.float32)

    @torch.inference_mode()
    def find_heatmaps(
        self, crops: Float32[np.ndarray, "face 256 256 3"]
    ) -> Float32[np.ndarray, "face 68 64 64"]:
        """Sum of the heatmaps of each crop and of its mirror image, as the package sums them."""
        planes = torch.from_numpy(crops).movedim(-1, 1).to(self._device)
        straight: Tensor = self._network(planes)[-1]
        mirrored: Tensor = self._network(self._flip(planes))[-1]
        return (straight + self._flip(mirrored, is_label=True)).cpu().numpy()


def _look(
    boxes: Float[np.ndarray, "face 4"],
) -> tuple[Float[np.ndarray, "face 2"], Float[np.ndarray, " face"]]:
    """Centre and side of the squares that heatmaps cover, pixels."""
    boxes = boxes.astype(np.float64)
    size = boxes[:, 2:] - boxes[:, :2]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    centers[:, 1] -= RAISED_BY * size[:, 1]
    return centers, SQUARE_OVER_BOX * size.sum(1)


def sample_crop(
    image: UInt8[np.ndarray, "height width 3"], box: Float[np.ndarray, "4"]
) -> Float32[np.ndarray, "256 256 3"]:
    """The picture that the network sees of a face, 0..1; black beyond the image.

    The package leaves out the first of its 256 columns and rows and stretches the others. The published weights
    were trained with that, so it is kept; but squares are not moved to whole pixels as there.
    """
    (center,), (side,) = _look(box[None])
    step = side / CROP_PX
    # sample_square takes its samples at the beginnings of its cells; FAN's lie in the middle of theirs.
    shift = step / 2 + (side - step) / CROP_PX / 2
    square = RotatedSquare(float(center[0] + shift), float(center[1] + shift), float(side - step))
    return sample_square(image, square, CROP_PX, border="black", gain=1 / 255)


def peak_positions(
    heatmaps: Float32[np.ndarray, "face landmark 64 64"],
) -> Float[np.ndarray, "face landmark 2"]:
    """x, y of each heatmap's peak, 0..64 from edge to edge.

    The package moves from the middle of the highest cell a quarter towards the higher neighbour, and then drops what
    is behind the point of a pixel. Here a Gaussian through the cell and its two neighbours says where between
    cells the peak is.

    Source: own; heatmaps are trained to be Gaussians, for which it is exact.
    """
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    row, column = np.divmod(flat.argmax(-1), HEATMAP_CELLS)
    padded = np.pad(heatmaps, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge").astype(np.float64)
    face, landmark = np.ogrid[: heatmaps.shape[0], : heatmaps.shape[1]]

    def at(down: int, right: int) -> np.ndarray:
        return padded[face, landmark, row + 1 + down, column + 1 + right]

    peak = np.maximum(at(0, 0), 1e-12)

    def offset(before: np.ndarray, after: np.ndarray, inside: np.ndarray) -> np.ndarray:
        left, right = (np.log(np.maximum(side / peak, LOWEST_SHARE)) for side in (before, after))
        bend = left + right
        place = (left - right) / np.where(bend < 0, 2 * bend, 1)
        return np.where(inside & (bend < 0), np.clip(place, -0.5, 0.5), 0)

    def is_inside(cell: np.ndarray) -> np.ndarray:
        return (cell > 0) & (cell < HEATMAP_CELLS - 1)

    x = column + 0.5 + offset(at(0, -1), at(0, 1), is_inside(column))
    y = row + 0.5 + offset(at(-1, 0), at(1, 0), is_inside(row))
    return np.stack([x, y], -1)
