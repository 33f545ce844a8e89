# Warp reads the source and the annotations of its kernels: no `from __future__ import annotations`, no jaxtyping.
"""The Warp kernel behind :mod:`avatar_models.monoavatar.neighbours`; import it only through there."""

from typing import no_type_check

import warp as wp

# Largest number of neighbours that the kernel can hold, and most levels of a tree below its root.
MAX_NEIGHBOURS = 8
MAX_LEVELS = 24

Distances = wp.types.vector(length=MAX_NEIGHBOURS, dtype=wp.float32)
Indices = wp.types.vector(length=MAX_NEIGHBOURS, dtype=wp.int32)
WaitingDistances = wp.types.vector(length=MAX_LEVELS, dtype=wp.float32)
WaitingNodes = wp.types.vector(length=MAX_LEVELS, dtype=wp.int32)


@no_type_check
@wp.func
def squared_gap(place: wp.vec3, low: wp.vec3, high: wp.vec3) -> float:
    """Squared distance from a place to a box; 0 inside it."""
    nearest = wp.max(low, wp.min(high, place))
    return wp.length_sq(place - nearest)


# One function on purpose: passing the lists of the nearest to another costs more than the search.
@no_type_check
@wp.kernel(enable_backward=False)
def search_tree(  # noqa: C901
    queries: wp.array(dtype=wp.vec3),
    position: wp.array(dtype=wp.vec3),
    vertex: wp.array(dtype=int),
    low: wp.array(dtype=wp.vec3),
    high: wp.array(dtype=wp.vec3),
    n_levels: int,
    k: int,
    out: wp.array2d(dtype=int),
) -> None:
    """The k nearest vertices of each query: the nearer child first, what lies beyond the k-th distance never."""
    i = wp.tid()
    query = queries[i]
    n_leaves = wp.lshift(1, n_levels)
    n_vertices = vertex.shape[0]
    distance = Distances()
    index = Indices()
    for j in range(MAX_NEIGHBOURS):
        distance[j] = 1.0e30
        index[j] = 0
    waiting_distance = WaitingDistances()
    waiting_node = WaitingNodes()
    # int() makes variables of what Warp would take for constants. Node 1 is the root, 0 says that none is left.
    n_waiting = int(0)  # noqa: RUF046, UP018
    node = int(1)  # noqa: RUF046, UP018
    while node > 0:
        if node < n_leaves:
            near = 2 * node
            far = near + 1
            near_distance = squared_gap(query, low[near], high[near])
            far_distance = squared_gap(query, low[far], high[far])
            if far_distance < near_distance:
                near = far
                far = 2 * node
                swapped = near_distance
                near_distance = far_distance
                far_distance = swapped
            if far_distance < distance[k - 1]:
                waiting_distance[n_waiting] = far_distance
                waiting_node[n_waiting] = far
                n_waiting = n_waiting + 1
            node = near
        else:
            # The product outgrows 32 bits from 131,072 vertices on.
            leaf = wp.int64(node - n_leaves)
            first = wp.rshift(leaf * wp.int64(n_vertices), wp.int64(n_levels))
            last = wp.rshift((leaf + wp.int64(1)) * wp.int64(n_vertices), wp.int64(n_levels))
            for s in range(int(first), int(last)):
                d = wp.length_sq(query - position[s])
                if d < distance[k - 1]:
                    slot = int(k - 1)
                    while slot > 0 and d < distance[wp.max(slot - 1, 0)]:
                        distance[slot] = distance[slot - 1]
                        index[slot] = index[slot - 1]
                        slot = slot - 1
                    distance[slot] = d
                    index[slot] = vertex[s]
            node = int(0)  # noqa: RUF046, UP018
            while node == 0 and n_waiting > 0:
                n_waiting = n_waiting - 1
                if waiting_distance[n_waiting] < distance[k - 1]:
                    node = waiting_node[n_waiting]
    for j in range(k):
        out[i, j] = index[j]
