"""Texture coordinates for a mesh that has none: cut into charts, each laid flat without folds, packed into a square."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from preprocessing.head_models.mesh import pack_islands
from preprocessing.head_models.mirror import mesh_parts

MAX_STRETCH = 60.0
"""Largest ratio of areas, on the mesh over in its chart, within which a chart is kept whole."""
STRETCHED_SHARE = 0.1
MIN_FACES = 12
"""Charts of fewer triangles are not cut because of their stretch, only because they fold."""


def unwrap(
    template: Float[np.ndarray, "vertex 3"], triangle: Int[np.ndarray, "face 3"]
) -> tuple[Float[np.ndarray, "uv_vertex 2"], Int[np.ndarray, "face 3"]]:
    """Texture coordinates ((0, 0) at the top-left corner) and each triangle's indices into them.

    Every connected part is cut in two by the frontal plane through its middle, so that the face is one chart
    and the back of the head another. A chart is laid flat on a disc; one that folds, is no disc, or is stretched
    too much is cut again, across its longest extent. No triangle spans a seam.

    Source: Floater, Mean value coordinates (2003), with the outline on a circle: a map without folds (Tutte 1963).
    """
    label = mesh_parts(triangle, len(template))[triangle[:, 0]]
    waiting: list[Int[np.ndarray, " chosen"]] = []
    for part in range(label.max() + 1):
        waiting += _halves(template, triangle, np.flatnonzero(label == part), axis=2)
    uv: list[np.ndarray] = []
    triangle_uv = np.zeros_like(triangle)
    count = 0
    while waiting:
        for faces in _connected(triangle, waiting.pop()):
            flat = _flatten(template, triangle[faces])
            if flat is None:
                extent = np.ptp(template[triangle[faces]].mean(1), axis=0)
                waiting += _halves(template, triangle, faces, axis=int(extent.argmax()))
                continue
            triangle_uv[faces] = flat[1] + count
            uv.append(flat[0])
            count += len(flat[0])
    upright = np.concatenate(uv)
    return pack_islands(upright, triangle_uv, template, triangle), triangle_uv


def _halves(
    template: Float[np.ndarray, "vertex 3"],
    triangle: Int[np.ndarray, "face 3"],
    faces: Int[np.ndarray, " chosen"],
    axis: int,
) -> list[Int[np.ndarray, " half"]]:
    """The triangles on both sides of the middle of their extent along an axis."""
    place = template[triangle[faces]].mean(1)[:, axis]
    first = place > (place.min() + place.max()) / 2
    if first.all() or not first.any():  # all at one place: any cut will do
        first = np.arange(len(faces)) < len(faces) // 2
    return [half for half in (faces[first], faces[~first]) if len(half)]


def _connected(
    triangle: Int[np.ndarray, "face 3"], faces: Int[np.ndarray, " chosen"]
) -> list[Int[np.ndarray, " part"]]:
    """The triangles in groups that hang together along edges (a shared corner is not enough)."""
    corners = triangle[faces]
    edges = np.sort(np.concatenate([corners[:, [k, (k + 1) % 3]] for k in range(3)]), axis=1)
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.lexsort(edges.T)
    edges, owner = edges[order], owner[order]
    same = (edges[1:] == edges[:-1]).all(1)
    links = np.stack([owner[1:][same], owner[:-1][same]])
    graph = coo_matrix((np.ones(links.shape[1]), links), shape=(len(faces), len(faces)))
    count, label = connected_components(graph, directed=False)
    return [faces[label == part] for part in range(count)]


def _flatten(
    template: Float[np.ndarray, "vertex 3"], corners: Int[np.ndarray, "face 3"]
) -> tuple[Float[np.ndarray, "uv_vertex 2"], Int[np.ndarray, "face 3"]] | None:
    """A chart on the disc; None where it cannot be laid flat, or only with too much stretch."""
    used, local = np.unique(corners, return_inverse=True)
    local = local.reshape(-1, 3)
    places = template[used]
    if len(local) == 1:
        return _lay_down(places), local
    outline = _outline(local)
    if outline is None:
        return None
    flat = np.zeros((len(used), 2))
    flat[outline] = _around_circle(places[outline])
    inner = np.setdiff1d(np.arange(len(used)), outline)
    weights = _mean_value_weights(places, local)
    if len(inner):
        total = np.asarray(weights[inner].sum(1))[:, 0]
        system = csr_matrix(
            (total, (np.arange(len(inner)), np.arange(len(inner)))), shape=(len(inner), len(inner))
        )
        system = (system - weights[inner][:, inner]).tocsc()
        solved = np.asarray(spsolve(system, weights[inner][:, outline] @ flat[outline]))
        flat[inner] = solved.reshape(-1, 2)
    return (flat, local) if _is_usable(places, flat, local) else None


def _lay_down(places: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 2"]:
    """A single triangle in its own plane."""
    along, other = places[1] - places[0], places[2] - places[0]
    length = max(float(np.linalg.norm(along)), 1e-12)
    x = float(along @ other) / length
    return np.array([[0, 0], [length, 0], [x, np.sqrt(max(float(other @ other) - x * x, 0.0))]])


def _outline(local: Int[np.ndarray, "face 3"]) -> Int[np.ndarray, " outline"] | None:
    """The chart's longest border, in order; None where the chart is no disc with holes."""
    edges = np.concatenate([local[:, [k, (k + 1) % 3]] for k in range(3)])
    directed = {(a, b) for a, b in edges.tolist()}
    if len(directed) != len(edges):
        return None
    following: dict[int, int] = {}
    for a, b in directed:
        if (b, a) not in directed:
            if a in following:  # two borders touch in a corner
                return None
            following[a] = b
    loops: list[list[int]] = []
    while following:
        start, loop = min(following), []
        vertex = start
        while vertex in following:
            loop.append(vertex)
            vertex = following.pop(vertex)
        loops.append(loop)
    vertices, borders = int(local.max()) + 1, len(loops)
    undirected = len({(min(a, b), max(a, b)) for a, b in directed})
    if borders == 0 or vertices - undirected + len(local) != 2 - borders:
        return None
    return np.array(max(loops, key=len))


def _around_circle(places: Float[np.ndarray, "outline 3"]) -> Float[np.ndarray, "outline 2"]:
    """The outline on a circle in proportion to its lengths, its top at the top."""
    lengths = np.linalg.norm(np.roll(places, -1, 0) - places, axis=1)
    lengths = np.maximum(lengths, 1e-3 * lengths.max() + 1e-12)
    angle = 2 * np.pi * (np.cumsum(lengths) - lengths) / lengths.sum()
    angle += np.pi / 2 - angle[places[:, 1].argmax()]
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def _mean_value_weights(
    places: Float[np.ndarray, "vertex 3"], local: Int[np.ndarray, "face 3"]
) -> csr_matrix:
    """Weight of each neighbour: half-angle tangents beside the edge over its length; all positive."""
    rows, columns, values = [], [], []
    for k in range(3):
        here, second, third = local[:, k], local[:, (k + 1) % 3], local[:, (k + 2) % 3]
        u, v = places[second] - places[here], places[third] - places[here]
        lengths = [np.maximum(np.linalg.norm(edge, axis=1), 1e-9) for edge in (u, v)]
        cosine = np.clip((u * v).sum(1) / (lengths[0] * lengths[1]), -0.999, 0.999)
        tangent = np.maximum(np.tan(np.arccos(cosine) / 2), 1e-3)
        for other, length in zip((second, third), lengths, strict=True):
            rows.append(here)
            columns.append(other)
            values.append(tangent / length)
    n = len(places)
    index = (np.concatenate(rows), np.concatenate(columns))
    return csr_matrix((np.concatenate(values), index), shape=(n, n))


def _is_usable(
    places: Float[np.ndarray, "vertex 3"],
    flat: Float[np.ndarray, "vertex 2"],
    local: Int[np.ndarray, "face 3"],
) -> Bool[np.bool_, ""] | bool:
    """True where no triangle is turned over and few are much smaller than they should be."""
    first, second = (flat[local[:, k]] - flat[local[:, 0]] for k in (1, 2))
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    if not np.isfinite(area).all() or (area <= 0).any():
        return False
    if len(local) < MIN_FACES:
        return True
    first, second = (places[local[:, k]] - places[local[:, 0]] for k in (1, 2))
    wanted = np.linalg.norm(np.cross(first, second), axis=1)
    stretch = (wanted / wanted.sum()) / (area / area.sum())
    return bool(wanted[stretch > MAX_STRETCH].sum() < STRETCHED_SHARE * wanted.sum())
