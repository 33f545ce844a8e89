"""Rotations: axis-angle, quaternions, matrices (torch, any batch shape, radians)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def skew(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Matrix K with K @ w = vector x w."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def matrix_from_axis_angle(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of an axis-angle vector; smooth at zero.

    Source: Rodrigues' formula, with sin(x)/x and (1 - cos x)/x² written through sinc.
    """
    angle = torch.linalg.vector_norm(axis_angle, dim=-1)[..., None, None]
    cross = skew(axis_angle)
    sinc = torch.sinc(angle / torch.pi)
    half_sinc = torch.sinc(angle / (2 * torch.pi))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sinc * cross + 0.5 * half_sinc**2 * (cross @ cross)


def shortest_turn(
    first: Float[Tensor, "*batch 3"], second: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """The rotation by the smallest angle that takes one direction to another.

    Args:
        first: Unit vector.
        second: Unit vector, not the opposite of ``first``.

    Source: Rodrigues' formula, (1 - cos x)/sin² x written as 1/(1 + cos x).
    """
    cross = skew(torch.linalg.cross(first, second))
    cosine = (first * second).sum(-1)[..., None, None]
    identity = torch.eye(3, dtype=first.dtype, device=first.device)
    return identity + cross + cross @ cross / (1 + cosine)


def axis_angle_from_matrix(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis-angle vector of a rotation matrix, angle in 0..pi.

    Source: own (through the unit quaternion, stable near 0 and near pi).
    """
    quaternion = quaternion_from_matrix(matrix)
    sine = torch.linalg.vector_norm(quaternion[..., 1:], dim=-1, keepdim=True)
    half = torch.atan2(sine, quaternion[..., :1])
    scale = torch.where(sine > 1e-9, 2 * half / sine.clamp_min(1e-12), torch.full_like(sine, 2.0))
    return quaternion[..., 1:] * scale


def quaternion_from_matrix(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (w, x, y, z), w >= 0, of a rotation matrix.

    Source: Shepperd's method, the four candidates weighted by picking the largest.
    """
    m = matrix
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    squares = torch.stack([1 + trace, *(1 + 2 * m[..., i, i] - trace for i in range(3))], -1)
    w_row = torch.stack(
        [
            squares[..., 0],
            m[..., 2, 1] - m[..., 1, 2],
            m[..., 0, 2] - m[..., 2, 0],
            m[..., 1, 0] - m[..., 0, 1],
        ],
        -1,
    )
    x_row = torch.stack(
        [w_row[..., 1], squares[..., 1], m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0]],
        -1,
    )
    y_row = torch.stack(
        [w_row[..., 2], x_row[..., 2], squares[..., 2], m[..., 1, 2] + m[..., 2, 1]], -1
    )
    z_row = torch.stack([w_row[..., 3], x_row[..., 3], y_row[..., 3], squares[..., 3]], -1)
    rows = torch.stack([w_row, x_row, y_row, z_row], -2)
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = torch.nn.functional.normalize(rows.gather(-2, best)[..., 0, :], dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
