# Warp reads the source and the annotations of its kernels: no `from __future__ import annotations`, no jaxtyping.
"""The Warp kernel behind :mod:`avatar_models.monoavatar.neighbours`; import it only through there."""

from typing import no_type_check

import warp as wp

# Largest number of neighbours that the kernel can hold.
MAX_NEIGHBOURS = 8

Distances = wp.types.vector(length=MAX_NEIGHBOURS, dtype=wp.float32)
Indices = wp.types.vector(length=MAX_NEIGHBOURS, dtype=wp.int32)


@no_type_check
@wp.func
def clearance(place: float, cell: int, ring: int, size: int) -> float:
    """Distance, in cells, from a place to the unseen cells on one axis; beyond the grid nothing is unseen."""
    reach = 1.0e30
    if cell - ring > 0:
        reach = wp.min(reach, place - float(cell - ring))
    if cell + ring < size - 1:
        reach = wp.min(reach, float(cell + ring + 1) - place)
    return reach


@no_type_check
@wp.func
def outward(i: int) -> int:
    """0, 1, -1, 2, -2, ...: offsets from the middle outwards, so that near cells come first."""
    offset = (i + 1) / 2
    if i % 2 == 0:
        offset = -offset
    return offset


@no_type_check
@wp.func
def gap(place: float, cell: int) -> float:
    """Distance, in cells, from a place to a cell on one axis; 0 inside it."""
    return wp.max(wp.max(float(cell) - place, place - float(cell + 1)), 0.0)


# One function on purpose: passing the lists of the nearest to another costs more than the search.
@no_type_check
@wp.kernel(enable_backward=False)
def search_rings(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917
    queries: wp.array(dtype=wp.vec3),
    position: wp.array(dtype=wp.vec3),
    vertex: wp.array(dtype=int),
    cell_start: wp.array(dtype=int),
    origin: wp.vec3,
    cell_m: float,
    shape: wp.vec3i,
    k: int,
    out: wp.array2d(dtype=int),
) -> None:
    """The k nearest vertices of each query: cells in growing rings until the rest is too far.

    The cells of a row along x lie one after the other in memory, so that a row is one scan; rows that lie
    further away than the k-th nearest so far are left out.
    """
    i = wp.tid()
    query = queries[i]
    place = (query - origin) / cell_m
    nx = shape[0]
    ny = shape[1]
    nz = shape[2]
    # Queries outside start from the nearest cell.
    cx = wp.clamp(int(wp.floor(place[0])), 0, nx - 1)
    cy = wp.clamp(int(wp.floor(place[1])), 0, ny - 1)
    cz = wp.clamp(int(wp.floor(place[2])), 0, nz - 1)
    distance = Distances()
    index = Indices()
    for j in range(MAX_NEIGHBOURS):
        distance[j] = 1.0e30
        index[j] = 0
    # int() and bool() make variables of what Warp would take for constants. The first block is 3 x 3 x 3 cells.
    ring = int(1)  # noqa: RUF046, UP018
    searching = bool(True)  # noqa: UP018
    while searching:
        for a in range(2 * ring + 1):
            z = cz + outward(a)
            away_z = gap(place[2], z)
            if z < 0 or z >= nz or away_z * away_z * cell_m * cell_m >= distance[k - 1]:
                continue
            for b in range(2 * ring + 1):
                y = cy + outward(b)
                away_y = gap(place[1], y)
                away = (away_z * away_z + away_y * away_y) * cell_m * cell_m
                if y < 0 or y >= ny or away >= distance[k - 1]:
                    continue
                # Inside the ring's faces only its two ends are new.
                step = int(2 * ring + 1)
                width = int(2 * ring)
                if ring > 1 and wp.abs(z - cz) < ring and wp.abs(y - cy) < ring:
                    step = 2 * ring
                    width = 0
                x = cx - ring
                while x <= cx + ring:
                    first = wp.max(x, 0)
                    last = wp.min(x + width, nx - 1)
                    if first <= last:
                        row = (z * ny + y) * nx
                        for s in range(cell_start[row + first], cell_start[row + last + 1]):
                            d = wp.length_sq(query - position[s])
                            if d < distance[k - 1]:
                                slot = int(k - 1)
                                while slot > 0 and d < distance[wp.max(slot - 1, 0)]:
                                    distance[slot] = distance[slot - 1]
                                    index[slot] = index[slot - 1]
                                    slot = slot - 1
                                distance[slot] = d
                                index[slot] = vertex[s]
                    x = x + step
        reach = wp.min(
            clearance(place[0], cx, ring, nx),
            wp.min(clearance(place[1], cy, ring, ny), clearance(place[2], cz, ring, nz)),
        )
        seen = wp.max(reach, 0.0) * cell_m
        if distance[k - 1] <= seen * seen:
            for j in range(k):
                out[i, j] = index[j]
            searching = False
        ring = ring + 1
