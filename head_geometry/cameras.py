"""The one camera convention: OpenCV axes (x right, y down, z forward), pixel (0, 0) is the centre of the top-left pixel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def project(
    points_camera: Float[Tensor, "*batch 3"], intrinsics: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch 2"]:
    """Pixel coordinates of points in camera axes.

    Args:
        points_camera: Metres, z > 0 in front of the camera.
        intrinsics: Pinhole matrix in pixels.

    Source: own (pinhole model).
    """
    homogeneous = (intrinsics @ points_camera[..., None])[..., 0]
    return homogeneous[..., :2] / homogeneous[..., 2:]


def transform(
    matrix: Float[Tensor, "*batch 4 4"], points: Float[Tensor, "*batch point 3"]
) -> Float[Tensor, "*batch point 3"]:
    """Apply a rigid (or affine) 4x4 matrix to points."""
    return points @ matrix[..., :3, :3].mT + matrix[..., None, :3, 3]


def resize_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"], old_size: tuple[int, int], new_size: tuple[int, int]
) -> Float[Tensor, "*batch 3 3"]:
    """Intrinsics after the image was resized from ``old_size`` to ``new_size`` (width, height in pixels).

    Pixel centres are integers, so the image spans -0.5 .. size - 0.5 and the half pixel must move too.
    """
    scale = torch.eye(3, dtype=intrinsics.dtype, device=intrinsics.device)
    for axis in range(2):
        factor = new_size[axis] / old_size[axis]
        scale[axis, axis] = factor
        scale[axis, 2] = 0.5 * factor - 0.5
    return scale @ intrinsics


def pixel_rays(
    pixels: Float[Tensor, "ray 2"],
    intrinsics: Float[Tensor, "3 3"],
    target_from_camera: Float[Tensor, "4 4"],
) -> tuple[Float[Tensor, "ray 3"], Float[Tensor, "ray 3"]]:
    """Origins and unit directions, in the target's axes, of the rays through ``pixels``.

    Args:
        pixels: x, y in pixels.
        intrinsics: Pinhole matrix in pixels.
        target_from_camera: Rigid motion from camera axes to the axes wanted (head axes, mostly).
    """
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[:, :1])], -1)
    directions = homogeneous @ torch.linalg.inv(intrinsics).mT @ target_from_camera[:3, :3].mT
    origins = target_from_camera[:3, 3].expand_as(directions)
    return origins, torch.nn.functional.normalize(directions, dim=-1)
