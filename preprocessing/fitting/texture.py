"""The subject's albedo on the head model's texture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from head_geometry.head_model import HeadModel
from head_geometry.images import DISPLAY_GAMMA
from head_geometry.rasteriser import rasterise_uv
from head_geometry.surface_points import SurfacePoints
from preprocessing.fitting.appearance import estimate_appearance
from preprocessing.fitting.photometric import View

# Filled-in texels are softened this much, texels.
_FILL_BLUR = 3.0


@dataclass(frozen=True)
class Texture:
    """Albedo, sRGB 0..255 under white light, and how well each texel was seen, 0..255."""

    albedo: UInt8[np.ndarray, "texel_row texel_column 3"]
    seen: UInt8[np.ndarray, "texel_row texel_column"]


def paint_texture(
    head: HeadModel,
    skin_faces: Bool[Tensor, " face"],
    side: int,
    views_of: Callable[[SurfacePoints], list[View]],
    bare: Bool[Tensor, " vertex"],
) -> Texture:
    """Albedo of the skin on the head model's texture.

    Args:
        head: The subject's own head model.
        skin_faces: True for the triangles of the outer skin.
        side: Texels.
        views_of: How some points look in the keyframes.
        bare: True for the vertices of bare skin, which tell the light.

    Source: own.
    """
    face, barycentric = rasterise_uv(head.uv, head.triangle_uv, (side, side))
    painted = (face >= 0) & skin_faces[face.clamp_min(0)]
    chosen = face[painted]
    points = SurfacePoints(chosen, head.triangle[chosen], barycentric[painted])
    views = views_of(points)
    is_bare = bare[points.corner].all(1).to(views[0].weight)
    appearance = estimate_appearance(views, is_bare)
    albedo = torch.zeros(side, side, 3)
    seen = torch.zeros(side, side)
    albedo[painted] = appearance.albedo.cpu()
    seen[painted] = appearance.trust.cpu()
    filled = fill_unseen(albedo.numpy(), seen.numpy() > 0)
    shown = np.clip(filled, 0, 1) ** (1 / DISPLAY_GAMMA)
    return Texture(
        np.round(255 * shown).astype(np.uint8),
        np.round(255 * seen.clamp(0, 1).numpy()).astype(np.uint8),
    )


def fill_unseen(
    colour: Float[np.ndarray, "row column 3"], seen: Bool[np.ndarray, "row column"]
) -> Float[np.ndarray, "row column 3"]:
    """Colours with the unseen ones taken from the nearest seen one, softened; unchanged where nothing was seen."""
    if not seen.any():
        return colour
    nearest = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    filled = colour[tuple(np.asarray(nearest))]
    soft = gaussian_filter(filled, (_FILL_BLUR, _FILL_BLUR, 0))
    return np.where(seen[..., None], colour, soft)
