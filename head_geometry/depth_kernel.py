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
    corner = triangle[wp.tid()]
    a = intrinsics * vertices[corner[0]]
    b = intrinsics * vertices[corner[1]]
    c = intrinsics * vertices[corner[2]]
    # A triangle that reaches behind the camera has no place in the picture.
    if wp.min(a[2], wp.min(b[2], c[2])) <= 0.0:
        return
    pa = wp.vec2(a[0] / a[2], a[1] / a[2])
    pb = wp.vec2(b[0] / b[2], b[1] / b[2])
    pc = wp.vec2(c[0] / c[2], c[1] / c[2])
    area = edge(pa, pb, pc)
    if area == 0.0:
        return
    # Limited before they become whole numbers: a corner close to the camera projects far out.
    left = first_pixel(wp.min(pa[0], wp.min(pb[0], pc[0])), width)
    right = end_pixel(wp.max(pa[0], wp.max(pb[0], pc[0])), width)
    top = first_pixel(wp.min(pa[1], wp.min(pb[1], pc[1])), height)
    bottom = end_pixel(wp.max(pa[1], wp.max(pb[1], pc[1])), height)
    for y in range(top, bottom):
        for x in range(left, right):
            p = wp.vec2(float(x), float(y))
            u = edge(pb, pc, p) / area
            v = edge(pc, pa, p) / area
            w = edge(pa, pb, p) / area
            if u >= 0.0 and v >= 0.0 and w >= 0.0:
                # 1 / z is linear in the picture.
                z = 1.0 / (u / a[2] + v / b[2] + w / c[2])
                pixel = y * width + x
                wp.atomic_max(last, pixel, z)
                # The image's y axis points down: a front turns the other way round than in a plane with y up.
                if area < 0.0:
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
    corner = triangle[index]
    a = intrinsics * vertices[corner[0]]
    b = intrinsics * vertices[corner[1]]
    c = intrinsics * vertices[corner[2]]
    if wp.min(a[2], wp.min(b[2], c[2])) <= 0.0:
        return
    pa = wp.vec2(a[0] / a[2], a[1] / a[2])
    pb = wp.vec2(b[0] / b[2], b[1] / b[2])
    pc = wp.vec2(c[0] / c[2], c[1] / c[2])
    area = edge(pa, pb, pc)
    if area == 0.0:
        return
    left = first_pixel(wp.min(pa[0], wp.min(pb[0], pc[0])), width)
    right = end_pixel(wp.max(pa[0], wp.max(pb[0], pc[0])), width)
    top = first_pixel(wp.min(pa[1], wp.min(pb[1], pc[1])), height)
    bottom = end_pixel(wp.max(pa[1], wp.max(pb[1], pc[1])), height)
    for y in range(top, bottom):
        for x in range(left, right):
            p = wp.vec2(float(x), float(y))
            u = edge(pb, pc, p) / area
            v = edge(pc, pa, p) / area
            w = edge(pa, pb, p) / area
            if u >= 0.0 and v >= 0.0 and w >= 0.0:
                z = 1.0 / (u / a[2] + v / b[2] + w / c[2])
                pixel = y * width + x
                # A compiler may round the same sum differently in two kernels.
                if z <= nearest[pixel] * 1.000001:
                    wp.atomic_min(face, pixel, index)
