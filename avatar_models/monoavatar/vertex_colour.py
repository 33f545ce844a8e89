"""Colours that the training frames show on the fitted mesh: where the field's colour starts."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from avatar_models.dataset import SubjectData
from avatar_models.monoavatar.shell import Shell

# Frames that the colours are averaged over, evenly spaced.
N_FRAMES = 48
# Colours are kept this far from black and white, so that their logits stay small.
DARKEST = 0.02
# A vertex is read where the matte covers its pixel this far.
OPAQUE = 0.9


def seen_colours(data: SubjectData, shell: Shell) -> Float[Tensor, "vertex 3"]:
    """Logit of each vertex's mean colour, weighted by how squarely it faces the camera.

    Occlusion by other parts of the head is not looked for (training corrects it); vertices that no frame
    shows get the mean colour of the rest.

    Source: own.
    """
    total = torch.zeros_like(data.neutral)
    weight = torch.zeros_like(data.neutral[:, :1])
    for frame in data.spread_train_frames(N_FRAMES):
        driving = data.driving(frame)
        rotation, shift = driving.camera_from_head[:3, :3], driving.camera_from_head[:3, 3]
        placed = driving.vertices @ rotation.mT + shift
        normals = shell.normals(driving.vertices) @ rotation.mT
        facing = -(normals * functional.normalize(placed, dim=-1)).sum(-1, keepdim=True)
        pixel = placed @ driving.intrinsics.mT
        pixel = pixel[:, :2] / pixel[:, 2:]
        grid = (2 * pixel + 1) / pixel.new_tensor(driving.image_size) - 1
        image = torch.cat([data.image(frame), data.alpha(frame)[..., None]], -1).permute(2, 0, 1)
        seen = functional.grid_sample(image[None], grid[None, None], align_corners=False)[0, :, 0].T
        share = facing.clamp_min(0).square() * (seen[:, 3:] > OPAQUE)
        total += share * torch.logit(seen[:, :3].clamp(DARKEST, 1 - DARKEST))
        weight += share
    mean = total.sum(0) / weight.sum().clamp_min(1e-6)
    return torch.where(weight > 1e-3, total / weight.clamp_min(1e-3), mean)
