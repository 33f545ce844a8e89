"""The mirror image of every vertex of a mesh whose two sides are built alike, also where their shapes differ a little."""

from __future__ import annotations

from collections import deque

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

SEEDS = 12
"""Starts that are tried for each connected part; the one with the fewest contradictions counts."""
CONTRADICTIONS, MAX_MISS = 0.05, 0.03
"""A match counts up to this share of contradictions, and this mean distance over the part's extent."""
HalfEdge = tuple[int, int]


def mesh_parts(triangle: Int[np.ndarray, "face 3"], vertices: int) -> Int[np.ndarray, " vertex"]:
    """Number of the connected part of the mesh that each vertex belongs to."""
    links = np.concatenate([triangle[:, [0, 1]], triangle[:, [1, 2]]]).T
    graph = coo_matrix((np.ones(links.shape[1]), links), shape=(vertices, vertices))
    return connected_components(graph, directed=False)[1]


def mirror_vertices(
    template: Float[np.ndarray, "vertex 3"], triangle: Int[np.ndarray, "face 3"]
) -> tuple[Int[np.ndarray, " vertex"], float]:
    """Index of each vertex's mirror image, and the share of triangles whose mirror image is a triangle.

    The sides are matched triangle by triangle, from a start whose places agree outwards along the edges, since
    places alone cannot tell neighbours apart where the mean head is not quite symmetric. What this does not
    reach gets the vertex nearest to its mirrored place.

    Source: own.
    """
    nearest = KDTree(template).query(template * [-1, 1, 1])
    distance, near = np.asarray(nearest[0]), np.asarray(nearest[1])
    walker = _Walker(triangle)
    label = mesh_parts(triangle, len(template))[triangle[:, 0]]
    mirror = near.copy()
    for part in range(label.max() + 1):
        faces = np.flatnonzero(label == part)
        faces = faces[np.argsort(distance[triangle[faces]].max(1), kind="stable")]
        best: tuple[int, dict[int, int]] | None = None
        for face in faces[:SEEDS]:
            a, b = (int(vertex) for vertex in triangle[face, :2])
            image = (int(near[b]), int(near[a]))
            if image in walker.half_edges:
                found = walker.walk((a, b), image)
                best = found if best is None or found[0] < best[0] else best
            if best is not None and best[0] == 0:
                break
        if best is None or best[0] > CONTRADICTIONS * len(faces):
            continue
        own, image = np.array(list(best[1])), np.array(list(best[1].values()))
        miss = np.linalg.norm(template[image] - template[own] * [-1, 1, 1], axis=1).mean()
        if miss < MAX_MISS * np.ptp(template[own], axis=0).max():
            mirror[own] = image
    lost = mirror[mirror] != np.arange(len(mirror))
    mirror[lost] = near[lost]
    known = {tuple(sorted(corners)) for corners in triangle.tolist()}
    matched = [tuple(sorted(corners)) in known for corners in mirror[triangle].tolist()]
    return mirror, float(np.mean(matched))


class _Walker:
    """Matches a mesh with its own mirror image along its edges."""

    def __init__(self, triangle: Int[np.ndarray, "face 3"]) -> None:
        self._triangle = triangle.tolist()
        self.half_edges: dict[HalfEdge, tuple[int, int]] = {
            (corners[k], corners[(k + 1) % 3]): (face, k)
            for face, corners in enumerate(self._triangle)
            for k in range(3)
        }

    def walk(self, start: HalfEdge, image: HalfEdge) -> tuple[int, dict[int, int]]:
        """Contradictions met, and the mirror image of every vertex reached, from one pair of half-edges.

        The mirror image of a half-edge a → b runs from b's image to a's, since mirroring turns faces over.
        """
        found: dict[int, int] = {}
        contradictions, done = 0, set()
        queue = deque([(start, image)])
        while queue:
            own, other = queue.popleft()
            face, k = self.half_edges[own]
            if face in done:
                continue
            done.add(face)
            other_face, j = self.half_edges[other]
            corners = [self._triangle[face][(k + i) % 3] for i in range(3)]
            images = [self._triangle[other_face][(j + 1 - i) % 3] for i in range(3)]
            agrees = [found.setdefault(a, b) == b for a, b in zip(corners, images, strict=True)]
            if not all(agrees):
                contradictions += 1
                continue
            for i in range(3):
                following = (i + 1) % 3
                across = (corners[following], corners[i])
                across_image = (images[i], images[following])
                if across in self.half_edges and across_image in self.half_edges:
                    queue.append((across, across_image))
        return contradictions, found
