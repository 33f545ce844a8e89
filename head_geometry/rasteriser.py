"""Which triangle a ray meets first, on CPU and CUDA from one Warp kernel; barycentrics differentiable in torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from head_geometry.kernels import launch, start_warp, vectors


@dataclass(frozen=True)
class Raster:
    """What each pixel sees of a mesh.

    Attributes:
        face_id: Triangle in front, -1 where there is none.
        barycentric: Perspective-correct coordinates in it (0 where there is none); gradients flow to the vertices.
        depth: z in camera axes of the point seen, in the vertices' unit (0 where there is none); differentiable too.
    """

    face_id: Int[Tensor, "height width"]
    barycentric: Float[Tensor, "height width 3"]
    depth: Float[Tensor, "height width"]

    def interpolate(
        self, attributes: Float[Tensor, "vertex channel"], triangle: Int[Tensor, "face 3"]
    ) -> Float[Tensor, "height width channel"]:
        """Attributes of the vertices at the points seen, 0 elsewhere; gradients flow to both.

        Args:
            attributes: One row per vertex (or per texture vertex).
            triangle: Indices of each triangle's corners into ``attributes``.
        """
        covered = self.face_id >= 0
        corners = attributes[triangle[self.face_id[covered]]]
        values = (corners * self.barycentric[covered][..., None]).sum(-2)
        image = attributes.new_zeros((*self.face_id.shape, attributes.shape[-1]))
        return image.index_put((covered,), values)


def rasterise(
    vertices: Float[Tensor, "vertex 3"],
    triangle: Int[Tensor, "face 3"],
    intrinsics: Float[Tensor, "3 3"],
    size: tuple[int, int],
) -> Raster:
    """Render a mesh by casting a ray through the centre of every pixel.

    Both sides of a triangle are seen. Visibility itself has no gradient.

    Args:
        vertices: Camera axes (OpenCV), any unit; what lies behind the camera is never met.
        triangle: Vertex indices.
        intrinsics: Pinhole matrix in pixels.
        size: Width, height in pixels.
    """
    width, height = size
    inverse = torch.linalg.inv(intrinsics.detach().double())
    left, top, right, bottom = _projected_box(vertices.detach(), intrinsics.detach(), size)
    rows = torch.arange(top, bottom, device=vertices.device, dtype=torch.float64)
    columns = torch.arange(left, right, device=vertices.device, dtype=torch.float64)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    directions = pixels @ inverse.mT
    directions = directions / directions[:, 2:]
    hit = first_hits(vertices, triangle, torch.zeros_like(directions), directions)
    met = hit >= 0
    corners = vertices[triangle[hit[met]]]
    # Corners relative to the ray at each one's own depth: the ray is the 2D origin.
    ray = directions[met].to(vertices.dtype)[:, None, :2]
    barycentric = _planar_barycentric(corners[..., :2] - ray * corners[..., 2:])
    depth = (barycentric * corners[..., 2]).sum(-1)
    place = torch.nonzero(met)[:, 0]
    index = (top + place // (right - left), left + place % (right - left))
    face_id = torch.full((height, width), -1, dtype=torch.long, device=vertices.device)
    face_id[index] = hit[met]
    return Raster(
        face_id,
        vertices.new_zeros((height, width, 3)).index_put(index, barycentric),
        vertices.new_zeros((height, width)).index_put(index, depth),
    )


@dataclass(frozen=True)
class DepthRanges:
    """Depths (z in camera axes, in the vertices' unit) at which the ray of each pixel's centre meets a mesh.

    Attributes:
        front: Nearest triangle seen from its front; infinite where there is none.
        back: Nearest triangle seen from its back; infinite where there is none.
        last: Furthest triangle; minus infinity where there is none.
    """

    front: Float[Tensor, "height width"]
    back: Float[Tensor, "height width"]
    last: Float[Tensor, "height width"]


def depth_ranges(
    vertices: Float[Tensor, "vertex 3"],
    triangle: Int[Tensor, "face 3"],
    intrinsics: Float[Tensor, "3 3"],
    size: tuple[int, int],
) -> DepthRanges:
    """Draw every triangle of a mesh into depth buffers; no gradient.

    Much faster than casting rays where triangles are small and nothing but depth is asked for.

    Args:
        vertices: Camera axes (OpenCV), any unit; triangles that reach behind the camera are left out.
        triangle: Vertex indices, counter-clockwise seen from the front.
        intrinsics: Pinhole matrix in pixels.
        size: Width, height in pixels.

    Source: own.
    """
    from head_geometry.depth_kernel import draw_depth_ranges

    width, height = size
    device = vertices.device
    buffers = [
        torch.full((height * width,), start, dtype=torch.float32, device=device)
        for start in (torch.inf, torch.inf, -torch.inf)
    ]
    points = vertices.detach().float().contiguous()
    corners = triangle.int().contiguous()
    launch(
        draw_depth_ranges,
        dim=len(corners),
        inputs=[
            vectors(points),
            vectors(corners),
            start_warp().mat33(*intrinsics.detach().float().flatten().tolist()),
            width,
            height,
        ],
        outputs=buffers,
    )
    return DepthRanges(*(buffer.view(height, width) for buffer in buffers))


def rasterise_uv(
    uv: Float[Tensor, "uv_vertex 2"], triangle_uv: Int[Tensor, "face 3"], size: tuple[int, int]
) -> tuple[Int[Tensor, "height width"], Float[Tensor, "height width 3"]]:
    """Which triangle covers the centre of each texel, and where.

    Args:
        uv: Texture coordinates, (0, 0) at the texture's top-left corner, v down.
        triangle_uv: Indices into ``uv``.
        size: Width, height of the texture in texels.

    Returns:
        Triangle (-1 where there is none) and barycentric coordinates (0 where there is none).
    """
    width, height = size
    places = uv * uv.new_tensor([width, height]) - 0.5
    flat = torch.cat([places, torch.ones_like(places[:, :1])], -1)
    rows = torch.arange(height, device=uv.device, dtype=uv.dtype)
    columns = torch.arange(width, device=uv.device, dtype=uv.dtype)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    origins = torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3)
    directions = torch.tensor([0.0, 0.0, 1.0], device=uv.device).expand_as(origins)
    hit = first_hits(flat, triangle_uv, origins, directions)
    met = hit >= 0
    barycentric = uv.new_zeros((width * height, 3))
    barycentric[met] = _planar_barycentric(places[triangle_uv[hit[met]]] - origins[met, None, :2])
    return hit.reshape(height, width), barycentric.reshape(height, width, 3)


def cast_rays(
    vertices: Float[Tensor, "vertex 3"],
    triangle: Int[Tensor, "face 3"],
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
) -> tuple[Int[Tensor, " ray"], Float[Tensor, "ray 3"]]:
    """First triangle along each ray (-1 if none) and barycentric coordinates in it (0 if none)."""
    hit = first_hits(vertices, triangle, origins, directions)
    met = hit >= 0
    corners = vertices[triangle[hit[met]]] - origins[met, None]
    ray = directions[met]
    # Project along the ray onto two axes across it.
    helper = torch.eye(3, dtype=ray.dtype, device=ray.device)[ray.abs().argmin(-1)]
    first = torch.nn.functional.normalize(torch.linalg.cross(ray, helper), dim=-1)
    second = torch.linalg.cross(torch.nn.functional.normalize(ray, dim=-1), first)
    planar = corners @ torch.stack([first, second], -1)
    barycentric = torch.zeros_like(origins).index_put((met,), _planar_barycentric(planar))
    return hit, barycentric


def first_hits(
    vertices: Float[Tensor, "vertex 3"],
    triangle: Int[Tensor, "face 3"],
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
) -> Int[Tensor, " ray"]:
    """Index of the first triangle along each ray, -1 where it meets none; no gradient.

    Args:
        vertices: Any unit and axes; rays are in the same.
        triangle: Vertex indices.
        origins: Start of each ray.
        directions: Direction of each ray, any length.

    Source: own; the index (a bounding volume hierarchy) and the casting are Warp's.
    """
    from head_geometry.ray_kernel import cast_first_hits

    warp = start_warp()
    hits = torch.full((origins.shape[0],), -1, dtype=torch.int32, device=vertices.device)
    # Warp keeps no hold of the memory it is lent: these names do.
    points = vertices.detach().float().contiguous()
    indices = triangle.detach().int().contiguous().reshape(-1)
    mesh = warp.Mesh(points=vectors(points), indices=warp.from_torch(indices))
    starts = origins.detach().float().contiguous()
    unit = torch.nn.functional.normalize(directions.detach().float(), dim=-1).contiguous()
    if origins.shape[0]:
        launch(
            cast_first_hits,
            dim=origins.shape[0],
            inputs=[mesh.id, vectors(starts), vectors(unit)],
            outputs=[hits],
        )
    return hits.long()


def _planar_barycentric(corners: Float[Tensor, "point 3 2"]) -> Float[Tensor, "point 3"]:
    """Barycentric coordinates of the origin in 2D triangles."""
    after, before = corners.roll(-1, -2), corners.roll(1, -2)
    areas = after[..., 0] * before[..., 1] - after[..., 1] * before[..., 0]
    total = areas.sum(-1, keepdim=True)
    # A triangle seen exactly edge-on has no area; its corners then count alike.
    flat = total.abs() < torch.finfo(areas.dtype).tiny
    return torch.where(flat, torch.full_like(areas, 1 / 3), areas / torch.where(flat, 1.0, total))


def _projected_box(
    vertices: Float[Tensor, "vertex 3"], intrinsics: Float[Tensor, "3 3"], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Pixels (left, top, right, bottom; the last two exclusive) outside which no vertex projects."""
    width, height = size
    if vertices.shape[0] == 0 or bool((vertices[:, 2] <= 0).any()):
        return 0, 0, width, height
    homogeneous = vertices @ intrinsics.to(vertices.dtype).mT
    pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    low = (pixels.amin(0).floor() - 1).tolist()
    high = (pixels.amax(0).ceil() + 2).tolist()
    left, top = (int(min(max(value, 0), limit)) for value, limit in zip(low, size, strict=True))
    right, bottom = (
        int(min(max(value, start), limit))
        for value, start, limit in zip(high, (left, top), size, strict=True)
    )
    return left, top, right, bottom
