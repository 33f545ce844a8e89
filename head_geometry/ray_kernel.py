# Warp reads the source and the annotations of its kernels: no `from __future__ import annotations`, no jaxtyping.
"""The Warp kernel behind :mod:`head_geometry.rasteriser`."""

from typing import no_type_check

import warp as wp


@wp.kernel
@no_type_check
def cast_first_hits(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),  # pyright: ignore[reportInvalidTypeForm]
    directions: wp.array(dtype=wp.vec3),  # pyright: ignore[reportInvalidTypeForm]
    hits: wp.array(dtype=wp.int32),  # pyright: ignore[reportInvalidTypeForm]
) -> None:
    """Index of the first triangle along each ray (unit directions); untouched where there is none."""
    ray = wp.tid()
    query = wp.mesh_query_ray(mesh, origins[ray], directions[ray], 1.0e6)
    if query.result:
        hits[ray] = query.face
