"""The classic 68 points: a fixed jaw line on the mesh, the other 51 from the MediaPipe embedding."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from head_geometry.head_model import HeadModel
from head_geometry.rasteriser import cast_rays
from preprocessing.head_models.embedding import Embedding
from preprocessing.head_models.points import STATIC_51

JAW_POINTS = 17
EAR_ANGLE_RAD = 1.35
"""Angle of the first and last ray from straight ahead: just in front of the ears."""
CHIN_POINT, LEFT_EAR_POINT = 152, 454
GONION_DIP = 0.22
"""How far the jaw line runs below the straight way from ear to chin, as a share of its reach."""


def embed_sparse68(
    model: HeadModel, embedding: Embedding
) -> tuple[Int[np.ndarray, "68"], Float[np.ndarray, "68 3"]]:
    """Triangle and barycentric coordinates of the 68 points, 0 being the subject's right ear."""
    jaw_face, jaw_weights = jaw_line(model, embedding)
    static = list(STATIC_51)
    return (
        np.concatenate([jaw_face, embedding.face[static]]),
        np.concatenate([jaw_weights, embedding.barycentric[static]]),
    )


def jaw_line(
    model: HeadModel, embedding: Embedding
) -> tuple[Int[np.ndarray, "17"], Float[np.ndarray, "17 3"]]:
    """Seventeen fixed places from ear to ear along the jaw of the mean head.

    Rays leave the middle between the ears' fronts, fanning from one ear over the chin to the other.

    Raises:
        RuntimeError: a ray meets no skin (the mesh is not a head with ears and a chin).
    """
    template = model.template
    triangle = model.triangle
    ear = template[model.part_vertices("ear")]
    left_ear = ear[ear[:, 0] > 0]
    if len(left_ear):
        front = left_ear[:, 2] > left_ear[:, 2].quantile(0.75)
        lateral = left_ear[front].mean(0)
    else:  # a face without ears: its outermost point stands in
        lateral = _place(model, embedding, LEFT_EAR_POINT)
    centre = lateral * torch.tensor([0.0, 1.0, 1.0])
    chin = _place(model, embedding, CHIN_POINT)
    forward = (chin - centre) * torch.tensor([0.0, 1.0, 1.0])
    angle = torch.linspace(-EAR_ANGLE_RAD, EAR_ANGLE_RAD, JAW_POINTS)
    bow = torch.sin(torch.pi * angle.abs() / EAR_ANGLE_RAD)
    dip = GONION_DIP * torch.linalg.vector_norm(forward) * bow
    reach = lateral[0] * torch.sin(angle)
    directions = torch.stack([reach, torch.zeros_like(reach), torch.zeros_like(reach)], -1)
    directions = directions + torch.cos(angle)[:, None] * forward
    directions = directions - dip[:, None] * torch.tensor([0.0, 1.0, 0.0])
    # Seen from outside: cast inwards from far away.
    far = centre + directions / torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
    # The face's own skin where a ray meets it; where the ears begin earlier, what lies there.
    face = torch.full((JAW_POINTS,), -1)
    weights = torch.zeros(JAW_POINTS, 3)
    for parts in (("face", "neck"), ("face", "neck", "ear", "scalp")):
        member = torch.zeros(template.shape[0], dtype=torch.bool)
        member[model.part_vertices(*parts)] = True
        skin = member[triangle].all(-1).nonzero()[:, 0]
        hit, barycentric = cast_rays(template, triangle[skin], far, centre - far)
        new = (face < 0) & (hit >= 0)
        face[new], weights[new] = skin[hit[new]], barycentric[new]
    if bool((face < 0).any()):
        raise RuntimeError("a ray of the jaw line misses the mean head's skin")
    return face.numpy(), weights.double().numpy()


def _place(model: HeadModel, embedding: Embedding, point: int) -> Float[Tensor, "3"]:
    """A MediaPipe point on the mean head."""
    corners = model.template[model.triangle[int(embedding.face[point])]]
    return (corners * torch.from_numpy(embedding.barycentric[point])[:, None].float()).sum(0)


def vertex_places(
    model: HeadModel, vertex: Int[np.ndarray, " point"]
) -> tuple[Int[np.ndarray, " point"], Float[np.ndarray, "point 3"]]:
    """Triangle and barycentric coordinates of places that are vertices of the mesh."""
    triangle = model.triangle.numpy()
    corner_of = {int(v): divmod(i, 3) for i, v in reversed(list(enumerate(triangle.ravel())))}
    where = np.array([corner_of[int(v)] for v in vertex])
    return where[:, 0], np.eye(3)[where[:, 1]]
