"""The shell around the posed mesh: between which distances a ray can meet the head, hair and ears included."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from avatar_models.driving_signals import Driving
from avatar_models.monoavatar.neighbours import build_tree, nearest_vertices
from head_geometry.cameras import pixel_rays, transform
from head_geometry.head_model import HeadModel
from head_geometry.head_region import cut_height_m
from head_geometry.rasteriser import DepthRanges, depth_ranges

INTERIOR_PARTS = ("eye_left", "eye_right", "teeth", "tongue", "mouth_cavity", "eye_socket")
# How far the shell reaches beyond the mesh where the mattes ask for nothing more, metres.
BASE_THICKNESS_M = 0.010
# Hair further out than this is given up, metres.
MAX_THICKNESS_M = 0.08
# Surfaces this far behind the mesh's first surface are still sampled, metres.
INNER_MARGIN_M = 0.010
# A head is solid: where a ray meets the mesh, the last sample stands for this much more behind it, metres.
SOLID_M = 0.03
# Depth looked at where a ray meets the shell from inside, or once only, metres.
OPEN_SPAN_M = 0.04
# Anchors follow the hair out to this share of the shell's thickness beyond its base, evenly over this radius, metres.
LIFT, LIFT_RADIUS_M = 0.7, 0.015
# The mesh is kept down to this far below the neck cut, metres.
BELOW_CUT_M = 0.03


class Shell(nn.Module):
    """Mesh, its per-vertex thickness, and the ray bounds they give.

    Attributes:
        triangle: Triangles above the neck cut, (face, 3).
        is_outer: True for the triangles of the skin, False inside mouth and eyes, (face,).
        thickness_m: How far each vertex is pushed out along its normal, metres, (vertex,).
        anchor_offset_m: From each vertex to where it anchors the field (:func:`anchor_offsets`), metres, head
            axes, (vertex, 3).
        order: Of the anchors in their spatial index (``neighbours.tree_order``), (vertex,).

    Source: own.
    """

    triangle: Int[Tensor, "face 3"]
    is_outer: Bool[Tensor, " face"]
    thickness_m: Float[Tensor, " vertex"]
    anchor_offset_m: Float[Tensor, "vertex 3"]
    order: Int[Tensor, " vertex"]

    def __init__(self, n_faces: int, n_vertices: int) -> None:
        super().__init__()
        self.register_buffer("triangle", torch.zeros(n_faces, 3, dtype=torch.int64))
        self.register_buffer("is_outer", torch.zeros(n_faces, dtype=torch.bool))
        self.register_buffer("thickness_m", torch.full((n_vertices,), BASE_THICKNESS_M))
        self.register_buffer("anchor_offset_m", torch.zeros(n_vertices, 3))
        self.register_buffer("order", torch.arange(n_vertices))

    @classmethod
    def of(cls, model: HeadModel) -> Shell:
        """The shell of a head model, at its base thickness."""
        keep = model.template[:, 1] > cut_height_m(model) - BELOW_CUT_M
        triangle = model.triangle[keep[model.triangle].any(1)]
        interior = [part for part in INTERIOR_PARTS if part in model.part_name]
        inside = torch.zeros_like(keep)
        inside[model.part_vertices(*interior)] = True
        shell = cls(len(triangle), len(model.template)).to(model.template.device)
        shell.triangle.copy_(triangle)
        shell.is_outer.copy_(~inside[triangle].any(1))
        return shell

    def normals(self, vertices: Float[Tensor, "vertex 3"]) -> Float[Tensor, "vertex 3"]:
        """Unit normals, area-weighted; 0 for vertices below the cut."""
        corners = vertices[self.triangle]
        cross = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        total = torch.zeros_like(vertices)
        total.index_add_(0, self.triangle.flatten(), cross.repeat_interleave(3, 0))
        return nn.functional.normalize(total, dim=-1, eps=1e-12)

    def thickened(self, vertices: Float[Tensor, "vertex 3"]) -> Float[Tensor, "vertex 3"]:
        """Posed vertices pushed out along their normals by the shell's thickness, head axes, metres."""
        return vertices + self.normals(vertices) * self.thickness_m[:, None]

    def covered(self, driving: Driving) -> Bool[Tensor, "height width"]:
        """True for the pixels whose rays meet the thickened skin: all that a head may fill.

        Args:
            driving: Driving signals of the frame; the camera is outside the head.
        """
        return torch.isfinite(self._skin_ranges(driving).last)

    def _skin_ranges(self, driving: Driving) -> DepthRanges:
        """Depths at which each pixel's ray meets the thickened skin, metres."""
        placed = transform(driving.camera_from_head, self.thickened(driving.vertices))
        outer = self.triangle[self.is_outer]
        return depth_ranges(placed, outer, driving.intrinsics, driving.image_size)

    def bounds(
        self, driving: Driving
    ) -> tuple[
        Float[Tensor, "height width"], Float[Tensor, "height width"], Float[Tensor, "height width"]
    ]:
        """Distances near and far between which each pixel's ray may meet the head, and how much solid lies behind far.

        Far = near where a ray cannot meet the head. All in metres along the ray.

        Near is where the ray enters the thickened skin. Far is just behind the first surface of the mesh,
        mouth and eyes included, or, beside the mesh, where the ray leaves the thickened skin.

        Args:
            driving: Driving signals of the frame; the camera is outside the head.
        """
        camera, size = driving.intrinsics, driving.image_size
        skin = self._skin_ranges(driving)
        placed = transform(driving.camera_from_head, driving.vertices)
        mesh = depth_ranges(placed, self.triangle, camera, size)
        stretch = _ray_lengths(camera, size)
        entry_m = torch.minimum(skin.front, skin.back) * stretch
        surface_m = torch.minimum(mesh.front, mesh.back) * stretch
        missed = torch.isinf(entry_m)
        # A shell that is open at the neck may be met from inside first, or once only.
        from_inside = skin.back < skin.front
        near = torch.where(from_inside, (entry_m - OPEN_SPAN_M).clamp_min(0), entry_m)
        near = torch.where(missed, 0.0, near)
        beside = torch.isinf(surface_m)
        far = torch.where(beside, skin.last * stretch, surface_m + INNER_MARGIN_M)
        far = torch.maximum(far, near + 0.5 * OPEN_SPAN_M)
        return near, torch.where(missed, near, far), torch.where(beside, 0.0, SOLID_M)


def _ray_lengths(
    intrinsics: Float[Tensor, "3 3"], size: tuple[int, int]
) -> Float[Tensor, "height width"]:
    """Distance along each pixel's ray over its depth."""
    columns, rows = (torch.arange(side, device=intrinsics.device) for side in size)
    xy = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).to(intrinsics.dtype)
    in_camera = torch.eye(4, dtype=intrinsics.dtype, device=intrinsics.device)
    _, direction = pixel_rays(xy.flatten(0, 1), intrinsics, in_camera)
    return 1 / direction[:, 2].view(xy.shape[:2])


def reach_of_pixels(
    vertices: Float[Tensor, "vertex 3"],
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
    n_samples: int = 32,
) -> tuple[Float[Tensor, " ray"], Int[Tensor, " ray"]]:
    """How near each ray comes to the mesh, metres, and to which vertex.

    Args:
        vertices: Head axes, metres.
        origins: Metres, head axes.
        directions: Unit vectors, head axes.
        n_samples: Places tried along each ray, over the depth of the head.
    """
    along = ((vertices.mean(0) - origins) * directions).sum(-1)
    half = 0.5 * (vertices.amax(0) - vertices.amin(0)).amax()
    steps = torch.linspace(-1, 1, n_samples, device=vertices.device) * half
    places = origins[:, None] + directions[:, None] * (along[:, None] + steps)[..., None]
    nearest = nearest_vertices(build_tree(vertices), places.reshape(-1, 3), 1)[:, 0].long()
    distance = torch.linalg.vector_norm(vertices[nearest] - places.reshape(-1, 3), dim=-1)
    best = distance.view(len(origins), n_samples).min(1)
    chosen = nearest.view(len(origins), n_samples).gather(1, best.indices[:, None])[:, 0]
    return best.values, chosen


def spread_thickness(
    vertices: Float[Tensor, "vertex 3"],
    wanted_m: Float[Tensor, " vertex"],
    radius_m: float = 0.03,
) -> Float[Tensor, " vertex"]:
    """A smooth thickness that is at least what is wanted, carried over to the vertices around.

    Args:
        vertices: Neutral vertices, metres.
        wanted_m: Thickness each vertex asks for, metres; 0 where nothing is known.
        radius_m: How far a wish is carried; it fades with distance.

    Source: own.
    """
    distance = torch.cdist(vertices, vertices)
    near = distance < radius_m
    carried = (wanted_m[None] - 0.4 * distance).masked_fill(~near, 0).amax(1)
    carried = carried.clamp(BASE_THICKNESS_M, MAX_THICKNESS_M)
    weight = torch.exp(-((distance / (0.4 * radius_m)) ** 2)) * near
    smooth = weight @ carried / weight.sum(1)
    return torch.maximum(smooth, carried * 0.9)


def anchor_offsets(vertices: Float[Tensor, "vertex 3"], shell: Shell) -> Float[Tensor, "vertex 3"]:
    """From each vertex to where it anchors the field: away from the head's middle, out into the hair where there is any.

    Centimetres away from a mesh many vertices are nearly equally far, and which of them are nearest changes
    with every millimetre: hair anchored to the scalp comes out as noise.

    Args:
        vertices: Neutral vertices, metres.
        shell: Its thickness is known.

    Returns:
        Metres, head axes; 0 on bare skin.

    Source: own.
    """
    skin = shell.triangle[shell.is_outer].unique()
    wanted = LIFT * (shell.thickness_m - BASE_THICKNESS_M).clamp_min(0)
    weight = torch.exp(-((torch.cdist(vertices, vertices[skin]) / LIFT_RADIUS_M) ** 2))
    even = weight @ wanted[skin] / weight.sum(1).clamp_min(1e-9)
    middle = 0.5 * (vertices[skin].amin(0) + vertices[skin].amax(0))
    outward = nn.functional.normalize(vertices - middle, dim=-1)
    return torch.minimum(wanted, even)[:, None] * outward
