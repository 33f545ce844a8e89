"""Places on a triangle mesh: nearest points, mirror images of places."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

NEIGHBOURS = 24


def nearest_on_surface(
    points: Float[np.ndarray, "point 3"],
    vertices: Float[np.ndarray, "vertex 3"],
    triangle: Int[np.ndarray, "face 3"],
    allowed: Int[np.ndarray, " allowed"],
) -> tuple[Int[np.ndarray, " point"], Float[np.ndarray, "point 3"]]:
    """Triangle and barycentric coordinates of the nearest point of some triangles.

    Args:
        points: Metres.
        vertices: Metres.
        triangle: Vertex indices.
        allowed: Triangles that count; the nearest few by centre are compared exactly.

    Source: Ericson, Real-Time Collision Detection (2005), section 5.1.5.
    """
    corners = vertices[triangle[allowed]]
    count = min(NEIGHBOURS, len(allowed))
    near = np.asarray(KDTree(corners.mean(1)).query(points, k=count)[1])
    near = near.reshape(len(points), count)
    barycentric = nearest_barycentric(points[:, None], corners[near])
    places = (corners[near] * barycentric[..., None]).sum(-2)
    best = np.linalg.norm(places - points[:, None], axis=-1).argmin(1)
    rows = np.arange(len(points))
    return allowed[near[rows, best]], barycentric[rows, best]


def nearest_barycentric(
    points: Float[np.ndarray, "*batch 3"], corners: Float[np.ndarray, "*shape 3 3"]
) -> Float[np.ndarray, "*shape 3"]:
    """Barycentric coordinates of each triangle's point nearest to ``points`` (they broadcast)."""
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    normal = np.cross(b - a, c - a)
    square = np.maximum((normal**2).sum(-1, keepdims=True), 1e-30)
    inside = np.stack(
        [
            (np.cross(c - b, points - b) * normal).sum(-1),
            (np.cross(a - c, points - c) * normal).sum(-1),
            (np.cross(b - a, points - a) * normal).sum(-1),
        ],
        -1,
    )
    inside = inside / square
    candidates = [inside]
    distances = [np.where((inside < 0).any(-1), np.inf, _distance(points, corners, inside))]
    for start, end in ((0, 1), (1, 2), (2, 0)):
        edge = corners[..., end, :] - corners[..., start, :]
        along = ((points - corners[..., start, :]) * edge).sum(-1)
        share = np.clip(along / np.maximum((edge**2).sum(-1), 1e-30), 0, 1)
        weights = np.zeros_like(inside)
        weights[..., start], weights[..., end] = 1 - share, share
        candidates.append(weights)
        distances.append(_distance(points, corners, weights))
    best = np.stack(distances, -1).argmin(-1)
    return np.take_along_axis(np.stack(candidates, -2), best[..., None, None], -2)[..., 0, :]


def _distance(points: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.linalg.norm((corners * weights[..., None]).sum(-2) - points, axis=-1)


def mirror_places(
    face: Int[np.ndarray, " point"],
    barycentric: Float[np.ndarray, "point 3"],
    triangle: Int[np.ndarray, "face 3"],
    mirror_vertex: Int[np.ndarray, " vertex"],
) -> tuple[Int[np.ndarray, " point"], Float[np.ndarray, "point 3"]]:
    """The same places on the other side of a mesh whose triangles are mirror-symmetric."""
    index = {tuple(sorted(corners)): i for i, corners in enumerate(triangle.tolist())}
    mirrored_face = np.empty_like(face)
    mirrored_weights = np.empty_like(barycentric)
    for point, (own, weights) in enumerate(zip(face, barycentric, strict=True)):
        wanted = mirror_vertex[triangle[own]].tolist()
        mirrored_face[point] = index[tuple(sorted(wanted))]
        corners = triangle[mirrored_face[point]].tolist()
        mirrored_weights[point] = [weights[wanted.index(corner)] for corner in corners]
    return mirrored_face, mirrored_weights
