"""The border to other codes' cameras: EG3D's label of 25, NerFACE's and IMavatar's JSON, instant-ngp, PyTorch3D's NDC. Nothing else knows them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# OpenGL camera axes (x right, y up, z backward) to OpenCV ones, and back.
OPENCV_FROM_OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
# PyTorch3D's camera axes (x left, y up, z forward) to OpenCV ones, and back.
OPENCV_FROM_PYTORCH3D = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))

# Focal length of the cameras that EG3D's published generators were trained with, in image widths.
EG3D_FOCAL_WIDTHS = 2985.29 / 700


def eg3d_label_from_camera(
    camera_from_world: Float[Tensor, "*batch 4 4"],
    intrinsics: Float[Tensor, "*batch 3 3"],
    size: tuple[int, int],
) -> Float[Tensor, "*batch 25"]:
    """EG3D's conditioning label: world_from_camera row by row, then intrinsics in image widths.

    Its camera axes are OpenCV's; its image coordinates run from 0 to 1 over the image's outer edges, so
    the centre of pixel 0 lies at half a pixel.

    Args:
        camera_from_world: Rigid motion; metres or any unit, as the world has.
        intrinsics: Pinhole matrix in pixels.
        size: Width, height in pixels.

    Source: Chan et al., EG3D (2022), published code, ``ray_sampler.py``.
    """
    world_from_camera = torch.linalg.inv(camera_from_world)
    normalised = _edge_units_from_pixels(intrinsics, size) @ intrinsics
    return torch.cat([world_from_camera.flatten(-2), normalised.flatten(-2)], -1)


def camera_from_eg3d_label(
    label: Float[Tensor, "*batch 25"], size: tuple[int, int]
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch 3 3"]]:
    """camera_from_world and intrinsics in pixels; inverse of :func:`eg3d_label_from_camera`."""
    world_from_camera = label[..., :16].unflatten(-1, (4, 4))
    normalised = label[..., 16:].unflatten(-1, (3, 3))
    pixels = torch.linalg.inv(_edge_units_from_pixels(label, size))
    return torch.linalg.inv(world_from_camera), pixels @ normalised


def _edge_units_from_pixels(like: Tensor, size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    width, height = size
    rows = [[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1]]
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def nerface_from_camera(
    camera_from_world: Float[Tensor, "*batch 4 4"],
    intrinsics: Float[Tensor, "*batch 3 3"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch 4"]]:
    """NerFACE's ``transform_matrix`` (world from OpenGL camera axes) and ``intrinsics`` (fx, fy, cx, cy).

    Focal lengths are in pixels, the principal point in shares of the image's size, and pixel 0 lies at 0
    (no half pixel). There is no skew.

    Raises:
        ValueError: the intrinsics have skew.

    Source: Gafni et al., NerFACE (2021), published code, ``get_ray_bundle``.
    """
    if bool((intrinsics[..., 0, 1] != 0).any()):
        raise ValueError("NerFACE's cameras have no skew")
    focal = intrinsics[..., [0, 1], [0, 1]]
    principal = intrinsics[..., :2, 2] / intrinsics.new_tensor(size)
    return opengl_from_camera(camera_from_world), torch.cat([focal, principal], -1)


def camera_from_nerface(
    transform_matrix: Float[Tensor, "*batch 4 4"],
    focal_and_centre: Float[Tensor, "*batch 4"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch 3 3"]]:
    """camera_from_world and intrinsics in pixels; inverse of :func:`nerface_from_camera`."""
    principal = focal_and_centre[..., 2:] * focal_and_centre.new_tensor(size)
    return camera_from_opengl(transform_matrix), _pinhole(focal_and_centre[..., :2], principal)


def opengl_from_camera(
    camera_from_world: Float[Tensor, "*batch 4 4"],
) -> Float[Tensor, "*batch 4 4"]:
    """World from OpenGL camera axes (x right, y up, z backward), as Blender, glTF and the NeRF family write it."""
    return torch.linalg.inv(camera_from_world) @ OPENCV_FROM_OPENGL.to(camera_from_world)


def camera_from_opengl(
    transform_matrix: Float[Tensor, "*batch 4 4"],
) -> Float[Tensor, "*batch 4 4"]:
    """camera_from_world; inverse of :func:`opengl_from_camera`."""
    return OPENCV_FROM_OPENGL.to(transform_matrix) @ torch.linalg.inv(transform_matrix)


def edge_from_pixel_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"],
) -> Float[Tensor, "*batch 3 3"]:
    """The pinhole matrix in pixels from the image's outer edge: the centre of pixel 0 lies at 0.5.

    So count instant-ngp (and INSTA), PyTorch3D's screen space, 3D Gaussian splatting, nvdiffrast (and VHAP).
    """
    shift = torch.zeros_like(intrinsics)
    shift[..., :2, 2] = 0.5
    return intrinsics + shift


def pixel_from_edge_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"],
) -> Float[Tensor, "*batch 3 3"]:
    """Inverse of :func:`edge_from_pixel_intrinsics`."""
    shift = torch.zeros_like(intrinsics)
    shift[..., :2, 2] = 0.5
    return intrinsics - shift


def imavatar_from_camera(
    camera_from_world: Float[Tensor, "*batch 4 4"],
    intrinsics: Float[Tensor, "*batch 3 3"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "*batch 3 4"], Float[Tensor, "*batch 4"]]:
    """IMavatar's ``world_mat`` (OpenGL camera axes from world) and ``intrinsics`` (-fx, fy, cx, cy).

    Focal lengths and principal point in shares of the image's size, fx negative since the camera looks along -z;
    pixel 0 lies at 0 (no half pixel). There is no skew.

    Raises:
        ValueError: the intrinsics have skew.

    Source: Zheng et al., I M Avatar (2022), published code, ``rend_util.get_camera_params``.
    """
    if bool((intrinsics[..., 0, 1] != 0).any()):
        raise ValueError("IMavatar's cameras have no skew")
    world_mat = (OPENCV_FROM_OPENGL.to(camera_from_world) @ camera_from_world)[..., :3, :]
    shares = intrinsics[..., :2, :] / intrinsics.new_tensor(size)[:, None]
    numbers = [-shares[..., 0, 0], shares[..., 1, 1], shares[..., 0, 2], shares[..., 1, 2]]
    return world_mat, torch.stack(numbers, -1)


def camera_from_imavatar(
    world_mat: Float[Tensor, "*batch 3 4"],
    focal_and_centre: Float[Tensor, "*batch 4"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch 3 3"]]:
    """camera_from_world and intrinsics in pixels; inverse of :func:`imavatar_from_camera`."""
    matrix = torch.zeros(*world_mat.shape[:-2], 4, 4).to(world_mat)
    matrix[..., :3, :] = world_mat
    matrix[..., 3, 3] = 1
    pixels = focal_and_centre * focal_and_centre.new_tensor([-size[0], size[1], *size])
    return OPENCV_FROM_OPENGL.to(matrix) @ matrix, _pinhole(pixels[..., :2], pixels[..., 2:])


def pytorch3d_from_camera(
    camera_from_world: Float[Tensor, "*batch 4 4"],
    intrinsics: Float[Tensor, "*batch 3 3"],
    size: tuple[int, int],
) -> tuple[
    Float[Tensor, "*batch 3 3"],
    Float[Tensor, "*batch 3"],
    Float[Tensor, "*batch 2"],
    Float[Tensor, "*batch 2"],
]:
    """``R``, ``T``, ``focal_length``, ``principal_point`` of PyTorch3D's PerspectiveCameras in NDC.

    Points are rows (x_camera = x_world R + T), x runs left and y up, and the shorter image side spans
    -1..1 between its outer edges.

    Raises:
        ValueError: the intrinsics have skew.

    Source: PyTorch3D documentation, "Cameras".
    """
    if bool((intrinsics[..., 0, 1] != 0).any()):
        raise ValueError("PyTorch3D's PerspectiveCameras have no skew")
    flipped = OPENCV_FROM_PYTORCH3D.to(camera_from_world) @ camera_from_world
    half = min(size) / 2
    middle = intrinsics.new_tensor(size) / 2
    focal = intrinsics[..., [0, 1], [0, 1]] / half
    principal = -(intrinsics[..., :2, 2] + 0.5 - middle) / half
    return flipped[..., :3, :3].mT, flipped[..., :3, 3], focal, principal


def camera_from_pytorch3d(
    rotation_rows: Float[Tensor, "*batch 3 3"],
    translation: Float[Tensor, "*batch 3"],
    focal_and_centre: tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch 2"]],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "*batch 4 4"], Float[Tensor, "*batch 3 3"]]:
    """camera_from_world and intrinsics in pixels; inverse of :func:`pytorch3d_from_camera`."""
    focal, principal = focal_and_centre
    matrix = torch.zeros(*translation.shape[:-1], 4, 4).to(translation)
    matrix[..., :3, :3] = rotation_rows.mT
    matrix[..., :3, 3] = translation
    matrix[..., 3, 3] = 1
    half = min(size) / 2
    middle = focal.new_tensor(size) / 2
    flip = OPENCV_FROM_PYTORCH3D.to(matrix)
    return flip @ matrix, _pinhole(focal * half, middle - 0.5 - principal * half)


def _pinhole(
    focal: Float[Tensor, "*batch 2"], principal: Float[Tensor, "*batch 2"]
) -> Float[Tensor, "*batch 3 3"]:
    zero, one = torch.zeros_like(focal[..., 0]), torch.ones_like(focal[..., 0])
    rows = [focal[..., 0], zero, principal[..., 0], zero, focal[..., 1], principal[..., 1]]
    return torch.stack([*rows, zero, zero, one], -1).unflatten(-1, (3, 3))
