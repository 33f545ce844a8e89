# Warp reads the source and the annotations of its kernels: no `from __future__ import annotations`, no jaxtyping.
"""The Warp kernels that draw triangles: depths, and which triangle is in front."""

from typing import no_type_check

import warp as wp


@no_type_check
@wp.func
def edge(a: wp.vec2, b: wp.vec2, p: wp.vec2) -> float:
    """Twice the signed area of the triangle a, b, p."""
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


@no_type_check
@wp.func
def first_pixel(lowest: float, side: int) -> int:
    """First whole pixel from a coordinate on, within 0..side."""
    return int(wp.ceil(wp.clamp(lowest, 0.0, float(side))))


@no_type_check
@wp.func
def end_pixel(highest: float, side: int) -> int:
    """One past the last whole pixel up to a coordinate, within 0..side."""
    return int(wp.floor(wp.clamp(highest, -1.0, float(side - 1)))) + 1


@no_type_check
@wp.struct
class Footprint:
    """A triangle in the picture: its corners (pixels) and their depths, and the pixels that it may cover.

    ``area`` is twice the signed one; ``right`` and ``bottom`` are one past the last pixel.
    """

    a: wp.vec2
    b: wp.vec2
    c: wp.vec2
    za: float
    zb: float
    zc: float
    area: float
    left: int
    right: int
    top: int
    bottom: int


@no_type_check
@wp.func
def footprint(
    vertices: wp.array(dtype=wp.vec3),
    corner: wp.vec3i,
    intrinsics: wp.mat33,
    width: int,
    height: int,
) -> Footprint:
    """Where a triangle lies in the picture; it has no pixels where it reaches behind the camera or has no area."""
    found = Footprint()
    a = intrinsics * vertices[corner[0]]
    b = intrinsics * vertices[corner[1]]
    c = intrinsics * vertices[corner[2]]
    # A triangle that reaches behind the camera has no place in the picture.
    if wp.min(a[2], wp.min(b[2], c[2])) <= 0.0:
        return found
    pa = wp.vec2(a[0] / a[2], a[1] / a[2])
    pb = wp.vec2(b[0] / b[2], b[1] / b[2])
    pc = wp.vec2(c[0] / c[2], c[1] / c[2])
    area = edge(pa, pb, pc)
    if area == 0.0:
        return found
    found.a = pa
    found.b = pb
    found.c = pc
    found.za = a[2]
    found.zb = b[2]
    found.zc = c[2]
    found.area = area
    # Limited before they become whole numbers: a corner close to the camera projects far out.
    found.left = first_pixel(wp.min(pa[0], wp.min(pb[0], pc[0])), width)
    found.right = end_pixel(wp.max(pa[0], wp.max(pb[0], pc[0])), width)
    found.top = first_pixel(wp.min(pa[1], wp.min(pb[1], pc[1])), height)
    found.bottom = end_pixel(wp.max(pa[1], wp.max(pb[1], pc[1])), height)
    return found


@no_type_check
@wp.func
def depth_at(t: Footprint, x: int, y: int) -> float:
    """Depth (z) of a triangle at the centre of a pixel; -1 beside it."""
    p = wp.vec2(float(x), float(y))
    u = edge(t.b, t.c, p) / t.area
    v = edge(t.c, t.a, p) / t.area
    w = edge(t.a, t.b, p) / t.area
    if u >= 0.0 and v >= 0.0 and w >= 0.0:
        # 1 / z is linear in the picture.
        return 1.0 / (u / t.za + v / t.zb + w / t.zc)
    return -1.0


@no_type_check
@wp.kernel(enable_backward=False)
def draw_depth_ranges(
    vertices: wp.array(dtype=wp.vec3),
    triangle: wp.array(dtype=wp.vec3i),
    intrinsics: wp.mat33,
    width: int,
    height: int,
    front: wp.array(dtype=float),
    back: wp.array(dtype=float),
    last: wp.array(dtype=float),
) -> None:
    """One triangle into the nearest front, nearest back and furthest depth (z) of the pixels it covers."""
    t = footprint(vertices, triangle[wp.tid()], intrinsics, width, height)
    for y in range(t.top, t.bottom):
        for x in range(t.left, t.right):
            z = depth_at(t, x, y)
            if z >= 0.0:
                pixel = y * width + x
                wp.atomic_max(last, pixel, z)
                # The image's y axis points down: a front turns the other way round than in a plane with y up.
                if t.area < 0.0:
                    wp.atomic_min(front, pixel, z)
                else:
                    wp.atomic_min(back, pixel, z)


@no_type_check
@wp.kernel(enable_backward=False)
def draw_nearest_faces(
    vertices: wp.array(dtype=wp.vec3),
    triangle: wp.array(dtype=wp.vec3i),
    intrinsics: wp.mat33,
    width: int,
    height: int,
    nearest: wp.array(dtype=float),
    face: wp.array(dtype=int),
) -> None:
    """One triangle's index into the pixels where it lies at the nearest depth; of equals the lowest index stays."""
    index = wp.tid()
    t = footprint(vertices, triangle[index], intrinsics, width, height)
    for y in range(t.top, t.bottom):
        for x in range(t.left, t.right):
            z = depth_at(t, x, y)
            if z >= 0.0:
                pixel = y * width + x
                # A compiler may round the same sum differently in two kernels.
                if z <= nearest[pixel] * 1.000001:
                    wp.atomic_min(face, pixel, index)
