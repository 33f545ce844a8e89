"""Frames of a clip at a working size, with what a photometric fit reads of them at any place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from artifacts.store import ArtifactReader
from head_geometry.cameras import resize_intrinsics
from head_geometry.images import resize_area

# Standard deviation of the blur before gradients are taken, working pixels.
_BLUR_PX = 0.8


@dataclass(frozen=True)
class Picture:
    """One frame. Channels: sRGB in 0..1 (3), its derivative by x (3) and by y (3) per pixel, the person's matte."""

    channels: Float[Tensor, "10 side side"]

    def at(self, pixel: Float[Tensor, "point 2"]) -> Float[Tensor, "point 10"]:
        """All channels at places in working pixels; beyond the picture the matte is 0."""
        side = self.channels.shape[-1]
        grid = (pixel + 0.5) * (2 / side) - 1
        value = torch.nn.functional.grid_sample(
            self.channels[None], grid[None, None], align_corners=False, padding_mode="border"
        )[0, :, 0].T
        inside = (grid.abs() < 1 - 2 / side).all(-1)
        return torch.cat([value[:, :9], value[:, 9:] * inside[:, None]], 1)


@dataclass(frozen=True)
class PictureReader:
    """Reads frames at a working size; nothing is kept."""

    frames: ArtifactReader
    matte: ArtifactReader
    side: int
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    """Where pictures are resized and looked at; mattes stay on the CPU."""

    @property
    def crop_size(self) -> tuple[int, int]:
        """Width, height of the stored frames, pixels."""
        height, width = self.frames.shape("image")[1:3]
        return width, height

    def intrinsics(self, stored: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
        """Intrinsics of the stored frames, for pictures of the working size."""
        return resize_intrinsics(stored, self.crop_size, (self.side, self.side)).float()

    def read(self, frame: int) -> Picture:
        """One frame."""
        image = torch.from_numpy(self.frames.read("image", frame)).to(self.device)
        size = (self.side, self.side)
        small = resize_area(image.float() / 255, size).permute(2, 0, 1)
        blurred = _blur(small)
        gradient = torch.gradient(blurred, dim=(2, 1))
        return Picture(torch.cat([blurred, *gradient, self.alpha(frame)[None].to(blurred)]))

    def alpha(self, frame: int) -> Float[Tensor, "side side"]:
        """The person's matte in one frame, 0..1."""
        alpha = torch.from_numpy(self.matte.read("alpha", frame)).float() / 255
        return resize_area(alpha[..., None], (self.side, self.side))[..., 0]


def _blur(image: Float[Tensor, "3 side side"]) -> Float[Tensor, "3 side side"]:
    reach = int(np.ceil(3 * _BLUR_PX))
    place = torch.arange(-reach, reach + 1, dtype=torch.float32, device=image.device)
    kernel = torch.exp(-0.5 * (place / _BLUR_PX) ** 2)
    kernel = kernel / kernel.sum()
    padded = torch.nn.functional.pad(image[None], [reach] * 4, mode="replicate")
    weight = kernel[None, None, None].expand(3, 1, 1, -1)
    padded = torch.nn.functional.conv2d(padded, weight, groups=3)
    return torch.nn.functional.conv2d(padded, weight.transpose(2, 3), groups=3)[0]
