"""Head-and-neck crop of the base mesh: triangles, part labels, texture coordinates, mirror."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from preprocessing.head_models.source import BaseMesh

PARTS = (
    "face",
    "scalp",
    "ear",
    "neck",
    "lips",
    "eye_left",
    "eye_right",
    "teeth",
    "tongue",
    "mouth_cavity",
)
HELPERS = {
    "helper-l-eye": "eye_left",
    "helper-r-eye": "eye_right",
    "helper-upper-teeth": "teeth",
    "helper-lower-teeth": "teeth",
    "helper-tongue": "tongue",
}
# The collar: a plane through the base of the neck that follows the mesh's edge loops (base-mesh metres).
COLLAR_HEIGHT_M, COLLAR_SLOPE = 0.592, 1 / 3
# From the throat under the chin up to the hairline at the back of the neck.
NECK_HEIGHT_M, NECK_SLOPE = 0.659, 0.6
UV_MARGIN = 0.004


@dataclass(frozen=True)
class HeadMesh:
    """The cropped mesh, still at the base mesh's place.

    Attributes:
        base_vertex: Index in the base mesh of each kept vertex.
        triangle: Vertex indices, counter-clockwise seen from outside.
        uv: Texture coordinates, (0, 0) at the top-left corner.
        triangle_uv: Indices into ``uv``.
        vertex_part: Index into :data:`PARTS`.
        mirror_vertex: Index of each vertex's mirror image.
    """

    base_vertex: Int[np.ndarray, " vertex"]
    triangle: Int[np.ndarray, "face 3"]
    uv: Float[np.ndarray, "uv_vertex 2"]
    triangle_uv: Int[np.ndarray, "face 3"]
    vertex_part: Int[np.ndarray, " vertex"]
    mirror_vertex: Int[np.ndarray, " vertex"]


def crop_head(base: BaseMesh, folder: Path) -> HeadMesh:
    """Everything above the collar, and the eyes, teeth and tongue.

    Args:
        base: The whole-body mesh.
        folder: Data folder of the package (its mask textures name lips, ears and mouth cavity).
    """
    above = base.vertices[:, 1] + COLLAR_SLOPE * base.vertices[:, 2] > COLLAR_HEIGHT_M
    keep = above[base.quads["body"]].all(1)
    quads = np.concatenate([base.quads["body"][keep], *(base.quads[name] for name in HELPERS)])
    quads_uv = np.concatenate(
        [base.quads_uv["body"][keep], *(base.quads_uv[name] for name in HELPERS)]
    )
    triangle, corner = split_quads(base.vertices, quads, base.mirror)
    triangle_uv_base = np.take_along_axis(np.repeat(quads_uv, 2, axis=0), corner, axis=1)
    used = np.unique(triangle)
    new_index = np.full(len(base.vertices), -1)
    new_index[used] = np.arange(len(used))
    triangle = new_index[triangle]
    uv_used, triangle_uv = np.unique(triangle_uv_base, return_inverse=True)
    triangle_uv = triangle_uv.reshape(-1, 3)
    uv = pack_islands(base.uv[uv_used], triangle_uv, base.vertices[used], triangle)
    vertex_uv = np.zeros((len(used), 2))
    vertex_uv[triangle.reshape(-1)] = base.uv[uv_used][triangle_uv.reshape(-1)]
    return HeadMesh(
        base_vertex=used,
        triangle=triangle,
        uv=uv,
        triangle_uv=triangle_uv,
        vertex_part=_label_parts(base, used, vertex_uv, folder),
        mirror_vertex=new_index[base.mirror[used]],
    )


def above_collar_m(base: BaseMesh, mesh: HeadMesh) -> Float[np.ndarray, " vertex"]:
    """Height of each vertex over the collar plane, metres."""
    place = base.vertices[mesh.base_vertex]
    return place[:, 1] + COLLAR_SLOPE * place[:, 2] - COLLAR_HEIGHT_M


def split_quads(
    vertices: Float[np.ndarray, "vertex 3"],
    quads: Int[np.ndarray, "quad 4"],
    mirror: Int[np.ndarray, " vertex"],
) -> tuple[Int[np.ndarray, "face 3"], Int[np.ndarray, "face 3"]]:
    """Two triangles for each quad, along its shorter diagonal, alike on both sides of the head.

    Returns:
        Triangles, and which corners of its quad each triangle has.
    """
    ends = np.stack([quads[:, [0, 2]], quads[:, [1, 3]]], 1)
    length = np.linalg.norm(vertices[ends[..., 0]] - vertices[ends[..., 1]], axis=-1)
    # Equal diagonals would be split by rounding: prefer the one with the smaller vertex index of the
    # mirror pair, which both sides share.
    tie = np.minimum(ends, mirror[ends]).min(-1) * 1e-12
    second = (length + tie).argmin(1) == 1
    first = np.array([[0, 1, 2], [0, 2, 3]])
    other = np.array([[0, 1, 3], [1, 2, 3]])
    corner = np.where(second[:, None, None], other, first).reshape(-1, 3)
    return np.take_along_axis(np.repeat(quads, 2, axis=0), corner, axis=1), corner


def texture_islands(triangle_uv: Int[np.ndarray, "face 3"]) -> Int[np.ndarray, " face"]:
    """Number of the connected texture island that each triangle lies in."""
    n = int(triangle_uv.max()) + 1
    rows = triangle_uv[:, [0, 1]].T
    links = np.concatenate([rows, triangle_uv[:, [1, 2]].T], axis=1)
    graph = coo_matrix((np.ones(links.shape[1]), links), shape=(n, n))
    return connected_components(graph, directed=False)[1][triangle_uv[:, 0]]


def pack_islands(
    uv: Float[np.ndarray, "uv_vertex 2"],
    triangle_uv: Int[np.ndarray, "face 3"],
    vertices: Float[np.ndarray, "vertex 3"],
    triangle: Int[np.ndarray, "face 3"],
) -> Float[np.ndarray, "uv_vertex 2"]:
    """Scale the islands to equal texels per area and pack them on shelves into the unit square.

    Returns:
        Texture coordinates with (0, 0) at the top-left corner.
    """
    label = texture_islands(triangle_uv)
    corners, corners_uv = vertices[triangle], uv[triangle_uv]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    edge = corners_uv[:, 1:] - corners_uv[:, :1]
    area_uv = np.abs(edge[:, 0, 0] * edge[:, 1, 1] - edge[:, 0, 1] * edge[:, 1, 0])
    boxes = []
    placed = np.zeros_like(uv)
    for island in range(label.max() + 1):
        chosen = label == island
        index = np.unique(triangle_uv[chosen])
        scale = np.sqrt(area[chosen].sum() / max(area_uv[chosen].sum(), 1e-12))
        points = uv[index] * [1, -1] * scale
        points -= points.min(0)
        if points[:, 0].max() < points[:, 1].max():  # lie down, so that shelves stay low
            points = np.stack([points[:, 1].max() - points[:, 1], points[:, 0]], 1)
        placed[index] = points
        boxes.append((*points.max(0), index))
    boxes.sort(key=lambda box: (-box[1], -box[0], box[2][0]))
    side = _smallest_square([(width, height) for width, height, _ in boxes])
    for (_, _, index), corner in zip(boxes, _shelves(boxes, side)[0], strict=True):
        placed[index] += corner
    return placed / side


def _shelves(boxes: list, side: float) -> tuple[list[Float[np.ndarray, "2"]], float]:
    margin = UV_MARGIN * side
    x = y = margin
    shelf = 0.0
    corners = []
    for width, height, *_ in boxes:
        if x + width + margin > side and x > margin:
            x, y, shelf = margin, y + shelf + margin, 0.0
        corners.append(np.array([x, y]))
        x += width + margin
        shelf = max(shelf, height)
    return corners, y + shelf + margin


def _smallest_square(boxes: list[tuple[float, float]]) -> float:
    side = max(max(box) for box in boxes) / (1 - 2 * UV_MARGIN)
    while _shelves(boxes, side)[1] > side:
        side *= 1.01
    return side


def _mask(
    folder: Path, name: str, uv: Float[np.ndarray, "vertex 2"]
) -> Bool[np.ndarray, " vertex"]:
    with Image.open(folder / f"mpfb2/textures/{name}.jpg") as image:
        texture = np.asarray(image.convert("L"))
    size = np.array(texture.shape[::-1])
    column, row = np.clip((uv * [1, -1] + [0, 1]) * size, 0, size - 1).astype(int).T
    return texture[row, column] > 127


def _label_parts(
    base: BaseMesh,
    used: Int[np.ndarray, " vertex"],
    vertex_uv: Float[np.ndarray, "vertex 2"],
    folder: Path,
) -> Int[np.ndarray, " vertex"]:
    place = base.vertices[used]
    part = np.full(len(used), PARTS.index("face"))
    ear = _mask(folder, "mpfb_ears", vertex_uv)
    neck = place[:, 1] + NECK_SLOPE * place[:, 2] < NECK_HEIGHT_M
    eye_height = np.mean(base.vertices[np.unique(base.quads["helper-l-eye"]), 1])
    ear_depth = place[ear, 2].mean()
    above_brow = place[:, 1] - eye_height > 0.062 - 0.6 * np.minimum(0.13 - place[:, 2], 0)
    behind = place[:, 2] < ear_depth + 0.012 + 0.35 * np.maximum(place[:, 1] - eye_height, 0)
    part[above_brow | behind] = PARTS.index("scalp")
    part[neck] = PARTS.index("neck")
    part[ear] = PARTS.index("ear")
    part[_mask(folder, "mpfb_lips", vertex_uv)] = PARTS.index("lips")
    part[_mask(folder, "mpfb_inside-mouth", vertex_uv)] = PARTS.index("mouth_cavity")
    for helper, name in HELPERS.items():
        part[np.isin(used, base.quads[helper])] = PARTS.index(name)
    # The masks are drawn by hand and not quite symmetric: the subject's left side counts.
    new_index = np.full(len(base.vertices), -1)
    new_index[used] = np.arange(len(used))
    swapped = np.arange(len(PARTS))
    eyes = [PARTS.index("eye_left"), PARTS.index("eye_right")]
    swapped[eyes] = eyes[::-1]
    right = place[:, 0] < 0
    part[right] = swapped[part[new_index[base.mirror[used]]]][right]
    return part
