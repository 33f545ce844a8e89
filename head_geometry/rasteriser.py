"""Which triangle is seen in each pixel, on CPU and CUDA from one set of Warp kernels; barycentrics differentiable in torch."""

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
    """Render a mesh: what the ray through the centre of every pixel meets first.

    Both sides of a triangle are seen. Visibility itself has no gradient. A mesh that reaches behind the camera is
    cast ray by ray, which takes longer; any other is drawn triangle by triangle.

    Args:
        vertices: Camera axes (OpenCV), any unit; what lies behind the camera is never met.
        triangle: Vertex indices.
        intrinsics: Pinhole matrix in pixels.
        size: Width, height in pixels.

    Source: own.
    """
    width, height = size
    if bool((vertices[:, 2] > 0).all()):
        face_id = _drawn_faces(vertices, triangle, intrinsics, size)
    else:
        face_id = _cast_faces(vertices, triangle, intrinsics, size)
    rows, columns = torch.nonzero(face_id >= 0, as_tuple=True)
    corners = vertices[triangle[face_id[rows, columns]]]
    # Corners relative to the ray at each one's own depth: the ray is the 2D origin.
    ray = _directions(rows, columns, intrinsics).to(vertices.dtype)[:, None, :2]
    barycentric = _planar_barycentric(corners[..., :2] - ray * corners[..., 2:])
    depth = (barycentric * corners[..., 2]).sum(-1)
    index = (rows, columns)
    return Raster(
        face_id,
        vertices.new_zeros((height, width, 3)).index_put(index, barycentric),
        vertices.new_zeros((height, width)).index_put(index, depth),
    )


def _directions(
    rows: Int[Tensor, " ray"], columns: Int[Tensor, " ray"], intrinsics: Float[Tensor, "3 3"]
) -> Float[Tensor, "ray 3"]:
    """Rays through the centres of pixels, camera axes, depth 1, float64."""
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], -1).double()
    directions = pixels @ torch.linalg.inv(intrinsics.detach().double()).mT
    return directions / directions[:, 2:]


def _cast_faces(
    vertices: Float[Tensor, "vertex 3"],
    triangle: Int[Tensor, "face 3"],
    intrinsics: Float[Tensor, "3 3"],
    size: tuple[int, int],
) -> Int[Tensor, "height width"]:
    """Triangle in front of each pixel by a ray through its centre, -1 where there is none."""
    width, height = size
    grid = torch.meshgrid(
        torch.arange(height, device=vertices.device),
        torch.arange(width, device=vertices.device),
        indexing="ij",
    )
    directions = _directions(grid[0].flatten(), grid[1].flatten(), intrinsics)
    hit = first_hits(vertices, triangle, torch.zeros_like(directions), directions)
    return hit.view(height, width)


def _drawn_faces(
    vertices: Float[Tensor, "vertex 3"],
    triangle: Int[Tensor, "face 3"],
    intrinsics: Float[Tensor, "3 3"],
    size: tuple[int, int],
) -> Int[Tensor, "height width"]:
    """Triangle in front of each pixel, drawn twice: the nearest depth, then who lies there; -1 where there is none."""
    from head_geometry.depth_kernel import draw_nearest_faces

    width, height = size
    ranges = depth_ranges(vertices, triangle, intrinsics, size)
    nearest = torch.minimum(ranges.front, ranges.back).flatten()
    nobody = torch.iinfo(torch.int32).max
    face = torch.full((height * width,), nobody, dtype=torch.int32, device=vertices.device)
    points = vertices.detach().float().contiguous()
    corners = triangle.int().contiguous()
    camera = start_warp().mat33(*intrinsics.detach().float().flatten().tolist())
    launch(
        draw_nearest_faces,
        dim=len(corners),
        inputs=[vectors(points), vectors(corners), camera, width, height, nearest],
        outputs=[face],
    )
    return torch.where(face == nobody, -1, face).long().view(height, width)


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
    # A plane before a camera whose pixels are the texels.
    camera = torch.eye(3, dtype=uv.dtype, device=uv.device)
    face = _drawn_faces(flat, triangle_uv, camera, size)
    rows, columns = torch.nonzero(face >= 0, as_tuple=True)
    here = torch.stack([columns, rows], -1).to(uv)
    barycentric = uv.new_zeros((height, width, 3))
    corners = places[triangle_uv[face[rows, columns]]]
    barycentric[rows, columns] = _planar_barycentric(corners - here[:, None])
    return face, barycentric


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
