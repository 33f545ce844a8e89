"""Which pixels belong to the head and which to the torso: one soft cut, used for training and for scoring."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import ConvexHull
from torch import Tensor

from artifacts.errors import InputError
from head_geometry.cameras import project, transform
from head_geometry.head_model import HeadModel
from head_geometry.landmark_sets import SPARSE68

# The cut lies this far below the chin of the mean head: jaw and chin above, collar below.
CUT_BELOW_CHIN_M = 0.022
# Vertices this near the cut locate it on the posed head.
RING_HALF_HEIGHT_M = 0.012
# Half-width of the soft edge.
SOFTNESS_M = 0.004
# Beside the neck what lies within this distance of the mesh's outline is head: collars lie further out.
NECK_MARGIN_M = 0.006
# From this height above the cut on, hair and ears may reach further out, by as much as they are higher.
HAIR_HEIGHT_M = 0.045
# A pixel with a larger share of the head region than this is the head's, with a smaller one than the rest not.
SURE_REGION = 0.98


def head_region(
    model: HeadModel,
    vertices: Float[Tensor, "vertex 3"],
    camera_from_head: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, "3 3"],
    size: tuple[int, int],
) -> Float[Tensor, "height width"]:
    """Soft mask of the pixels on the head's side of the neck cut; the rest of a person is torso.

    The union of two parts: the outlines of the posed skull and of the neck above the cut (so that a chin that
    is pitched down or opened wide stays head), and what lies above the line through the cut's front along the
    head's sideways axis (so that hair and ears that no mesh covers are head) and, sideways, no further from
    the outlines than a margin that is small beside the neck (so that collar and shoulders are torso) and grows
    above it. Background pixels there are 1 too: multiply with a person matte.

    Args:
        model: The head model that ``vertices`` belong to.
        vertices: Posed vertices, head axes, metres.
        camera_from_head: Rigid motion from head axes to OpenCV camera axes, metres.
        intrinsics: Pinhole matrix in pixels of an image of ``size``.
        size: Width, height in pixels.

    Raises:
        InputError: the model has no neck below its chin.

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
    # Two outlines, not one: between them, below the ears, there is room for a collar.
    is_skull = model.template[:, 1] > chin_height_m(model)
    outlines = [part for part in (above & is_skull, above & ~is_skull) if int(part.sum()) > 2]
    in_hull = torch.stack([_inside_hull(pixels[part], x, y) for part in outlines]).amax(0)
    # Collar and shoulders rise above the line: beside the neck only what is close to the mesh is head.
    out_there = (above_line - HAIR_HEIGHT_M * px_per_m).clamp_min(0)
    hair = torch.minimum(above_line, NECK_MARGIN_M * px_per_m + in_hull + out_there)
    return torch.sigmoid(torch.maximum(hair, in_hull) / (0.5 * softness))


def sure_of_region(region: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """1 where a pixel is clearly the head's or clearly not, 0 where head and rest blend.

    Args:
        region: From :func:`head_region`.

    Source: own.
    """
    return ((region - 0.5).abs() > SURE_REGION - 0.5).to(region)


def cut_height_m(model: HeadModel) -> float:
    """Height (y, head axes) of the neck cut on the mean head, metres."""
    return chin_height_m(model) - CUT_BELOW_CHIN_M


def chin_height_m(model: HeadModel) -> float:
    """Height (y, head axes) of the tip of the chin of the mean head, metres."""
    return float(model.landmark_points(model.template, SPARSE68)[SPARSE68.chin, 1])


def vertices_above_cut(model: HeadModel) -> Bool[Tensor, " vertex"]:
    """True for the vertices of the head proper: those above the neck cut on the mean head."""
    return model.template[:, 1] > cut_height_m(model)


def _front_of_cut(model: HeadModel, above: Bool[Tensor, " vertex"]) -> Bool[Tensor, " vertex"]:
    """True for the vertices that locate the front of the neck cut.

    Raises:
        InputError: there are none.
    """
    near = (model.template[:, 1] - cut_height_m(model)).abs() < RING_HALF_HEIGHT_M
    if not bool(near.any()) or bool(above.all()):
        raise InputError("the head model has no neck below its chin: it cannot be cut from a torso")
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


def _inside_hull(
    pixels: Float[Tensor, "point 2"], x: Float[Tensor, " width"], y: Float[Tensor, " height"]
) -> Float[Tensor, "height width"]:
    """Signed distance in pixels to the nearest line of the points' convex hull, positive inside."""
    hull = ConvexHull(pixels.detach().cpu().numpy().astype(np.float64))
    a, b, c = torch.from_numpy(hull.equations).to(pixels).unbind(1)
    return -((b[:, None] * y + c[:, None])[:, :, None] + a[:, None, None] * x).amax(0)
