"""Which pixels belong to the head and which to the torso: one soft cut, used for training and for scoring."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import ConvexHull
from torch import Tensor

from head_geometry.cameras import project, transform
from head_geometry.head_model import HeadModel

# Index of the tip of the chin among the classic 68 points.
CHIN = 8
# The cut lies this far below the chin of the mean head: jaw and chin above, collar below.
CUT_BELOW_CHIN_M = 0.022
# Vertices this near the cut locate it on the posed head.
RING_HALF_HEIGHT_M = 0.012
# Half-width of the soft edge.
SOFTNESS_M = 0.004
# Hair and ears at the height of the cut reach this far beyond the mesh's outline; higher up, further.
HAIR_MARGIN_M = 0.015


def head_region(
    model: HeadModel,
    vertices: Float[Tensor, "vertex 3"],
    camera_from_head: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, "3 3"],
    size: tuple[int, int],
) -> Float[Tensor, "height width"]:
    """Soft mask of the pixels on the head's side of the neck cut; the rest of a person is torso.

    The union of two parts: the outline of the posed head above the cut (so that a chin that is pitched
    down or opened wide stays head), and what lies above the line through the cut's front along the
    head's sideways axis (so that hair and ears that no mesh covers are head) and, sideways, no further from
    the outline than its height above the line and a margin (so that shoulders are torso). Background
    pixels there are 1 too: multiply with a person matte.

    Args:
        model: The head model that ``vertices`` belong to.
        vertices: Posed vertices, head axes, metres.
        camera_from_head: Rigid motion from head axes to OpenCV camera axes, metres.
        intrinsics: Pinhole matrix in pixels of an image of ``size``.
        size: Width, height in pixels.

    Raises:
        ValueError: the model has no neck below its chin.

    Source: own.
    """
    above = vertices_above_cut(model)
    front = _front_of_cut(model, above)
    dtype, device = vertices.dtype, vertices.device
    camera_from_head, intrinsics = camera_from_head.to(vertices), intrinsics.to(vertices)
    placed = transform(camera_from_head, vertices)
    pixels = project(placed, intrinsics)
    px_per_m = intrinsics[0, 0] / placed[front, 2].mean()
    softness = (SOFTNESS_M * px_per_m).clamp_min(0.7)

    width, height = size
    x = torch.arange(width, dtype=dtype, device=device)
    y = torch.arange(height, dtype=dtype, device=device)
    normal, offset = _cut_line(pixels[front], camera_from_head)
    above_line = (normal[1] * y - offset)[:, None] + normal[0] * x
    a, b, c = _hull_lines(pixels[above]).unbind(1)
    in_hull = -((b[:, None] * y + c[:, None])[:, :, None] + a[:, None, None] * x).amax(0)
    # Shoulders may rise above the line: near it only what is close to the mesh is head.
    beside = HAIR_MARGIN_M * px_per_m + in_hull + above_line
    hair = torch.minimum(above_line, beside)
    return torch.sigmoid(torch.maximum(hair, in_hull) / (0.5 * softness))


def cut_height_m(model: HeadModel) -> float:
    """Height (y, head axes) of the neck cut on the mean head, metres."""
    corners = model.template[model.triangle[model.sparse68_face[CHIN]]]
    chin = (corners * model.sparse68_barycentric[CHIN][:, None]).sum(0)
    return float(chin[1]) - CUT_BELOW_CHIN_M


def vertices_above_cut(model: HeadModel) -> Bool[Tensor, " vertex"]:
    """True for the vertices of the head proper: those above the neck cut on the mean head."""
    return model.template[:, 1] > cut_height_m(model)


def _front_of_cut(model: HeadModel, above: Bool[Tensor, " vertex"]) -> Bool[Tensor, " vertex"]:
    """True for the vertices that locate the front of the neck cut.

    Raises:
        ValueError: there are none.
    """
    near = (model.template[:, 1] - cut_height_m(model)).abs() < RING_HALF_HEIGHT_M
    if not bool(near.any()) or bool(above.all()):
        raise ValueError("the head model has no neck below its chin: it cannot be cut from a torso")
    return near & (model.template[:, 2] >= model.template[near, 2].mean())


def _cut_line(
    ring_pixels: Float[Tensor, "ring 2"], camera_from_head: Float[Tensor, "4 4"]
) -> tuple[Float[Tensor, "2"], Float[Tensor, ""]]:
    """Unit normal (pixels, towards the head) and offset of the cut's line in the image."""
    up = camera_from_head[:2, 1]
    sideways = camera_from_head[:2, 0]
    normal = torch.stack([-sideways[1], sideways[0]])
    normal = normal * torch.sign((normal * up).sum())
    normal = torch.nn.functional.normalize(normal, dim=0)
    return normal, (ring_pixels @ normal).mean()


def _hull_lines(pixels: Float[Tensor, "point 2"]) -> Float[Tensor, "edge 3"]:
    """Lines (a, b, c) of the convex hull: a x + b y + c is the signed distance in pixels, negative inside."""
    hull = ConvexHull(pixels.detach().cpu().numpy().astype(np.float64))
    return torch.from_numpy(hull.equations).to(pixels)
