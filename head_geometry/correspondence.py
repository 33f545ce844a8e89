"""Which place of one head model's surface each vertex of another's is: dense, from a non-rigid registration."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import splu

from artifacts.errors import InputError
from head_geometry.head_model import HeadModel
from head_geometry.normals import vertex_normals
from head_geometry.surface import nearest_on_surface

log = logging.getLogger(__name__)

SKIN = ("face", "lips", "ear", "scalp", "neck")
FACE = ("face", "lips")
STIFFNESS = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
"""Weight of a smooth displacement against the surface, round by round."""
ROUNDS = 3
ANCHOR_WEIGHT = 20.0
MAX_GAP_M = (0.02, 0.008)
"""Vertices further from the surface are left out: in the first round, in the last."""
MIN_NORMAL_COSINE = 0.5
TRUST_GAP_M = 0.003
MIN_ANCHORS = 30


@dataclass(frozen=True)
class Correspondence:
    """For every vertex of the target model its place on the source model; see the artifact kind for units."""

    face: Int[np.ndarray, " vertex"]
    barycentric: Float[np.ndarray, "vertex 3"]
    weight: Float[np.ndarray, " vertex"]
    residual_m: Float[np.ndarray, " vertex"]

    def carry(
        self, values: Float[np.ndarray, "source_vertex 3"], triangle: Int[np.ndarray, "face 3"]
    ) -> Float[np.ndarray, "vertex 3"]:
        """Values at the source's vertices, taken to the target's."""
        return (values[triangle[self.face]] * self.barycentric[..., None]).sum(1)


@dataclass(frozen=True)
class Similarity:
    """``x -> scale * rotation @ x + translation``."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def __call__(self, points: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Move points."""
        return self.scale * points @ self.rotation.T + self.translation


def align(
    points: Float[np.ndarray, "point 3"],
    wanted: Float[np.ndarray, "point 3"],
    weight: Float[np.ndarray, " point"],
) -> Similarity:
    """The similarity that moves ``points`` onto ``wanted`` best.

    Source: Umeyama (1991), eq. 34 to 43, with weights.
    """
    share = (weight / weight.sum())[:, None]
    middle, wanted_middle = (points * share).sum(0), (wanted * share).sum(0)
    own, other = points - middle, wanted - wanted_middle
    u, singular, vt = np.linalg.svd((other * share).T @ own)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((singular * sign).sum() / (own**2 * share).sum())
    return Similarity(scale, rotation, wanted_middle - scale * rotation @ middle)


def register(source: HeadModel, target: HeadModel) -> Correspondence:
    """Deform the target's mean head onto the source's and read off where its skin lies.

    The places of the face points on both models are anchors; in between, the displacement is smooth, less and
    less so from round to round, and draws every vertex towards the nearest surface that faces the same way.

    Raises:
        InputError: the two have hardly any face points in common.

    Source: own, after optimal-step non-rigid ICP (Amberg, Romdhani and Vetter 2007), with displacements in place
    of affine motions.
    """
    a, b = (model.to("cpu", torch.float64) for model in (source, target))
    anchor = ((a.mediapipe_weight > 0) & (b.mediapipe_weight > 0)).numpy()
    trust = torch.minimum(a.mediapipe_weight, b.mediapipe_weight).numpy()[anchor]
    if anchor.sum() < MIN_ANCHORS:
        raise InputError(
            f"the two head models have only {anchor.sum()} face points in common; build both with "
            "preprocessing.head_model"
        )
    wanted = a.mediapipe_points(a.template).numpy()[anchor]
    moved = align(b.mediapipe_points(b.template).numpy()[anchor], wanted, trust)
    start = moved(b.template.numpy())
    surface = _Surface(a)
    skin = _members(b, SKIN)
    smooth = _laplacian(b.triangle.numpy(), len(start))
    rows = _anchor_rows(b, anchor)
    place = start
    gaps = np.geomspace(*MAX_GAP_M, len(STIFFNESS))
    for stiffness, gap in zip(STIFFNESS, gaps, strict=True):
        for _ in range(ROUNDS):
            seen = surface.nearest(place, b.triangle.numpy(), skin, float(gap))
            system = stiffness * smooth + diags(seen.weight + 1e-6)
            system = system + ANCHOR_WEIGHT * (rows.T @ diags(trust) @ rows)
            force = seen.weight[:, None] * (seen.place - start)
            force += ANCHOR_WEIGHT * (rows.T @ (trust[:, None] * (wanted - rows @ start)))
            place = start + splu(system.tocsc()).solve(force)
    seen = surface.nearest(place, b.triangle.numpy(), skin, MAX_GAP_M[1])
    residual = np.where(seen.weight > 0, seen.distance, 0)
    weight = seen.weight / (1 + (residual / TRUST_GAP_M) ** 2)
    found = Correspondence(seen.face, seen.barycentric, weight, residual)
    on_face = _members(b, FACE) & (weight > 0)
    log.info(
        "correspondence: %d of %d vertices of the target's skin have a counterpart; anchors %.2f mm median; "
        "distance from the surface over the face: %s",
        *((weight > 0).sum(), skin.sum()),
        1e3 * np.median(np.linalg.norm(rows @ place - wanted, axis=1)),
        describe_mm(residual[on_face]),
    )
    return found


def describe_mm(distance_m: np.ndarray) -> str:
    """Mean, median and 95th percentile of distances, in millimetres."""
    if distance_m.size == 0:
        return "none measured"
    median, p95 = np.quantile(1e3 * distance_m, [0.5, 0.95])
    return f"mean {1e3 * distance_m.mean():.2f}, median {median:.2f}, p95 {p95:.2f} mm"


def face_vertices(model: HeadModel) -> Bool[np.ndarray, " vertex"]:
    """True for face and lips, over which residuals are reported."""
    return _members(model, FACE)


def _members(model: HeadModel, parts: tuple[str, ...]) -> Bool[np.ndarray, " vertex"]:
    member = np.zeros(len(model.template), bool)
    known = [part for part in parts if part in model.part_name]
    member[model.part_vertices(*known).cpu().numpy()] = True
    return member


def _anchor_rows(model: HeadModel, anchor: Bool[np.ndarray, " mediapipe"]) -> csr_matrix:
    """Each anchor as weights over the vertices."""
    corners = model.triangle[model.mediapipe_face].numpy()[anchor]
    values = model.mediapipe_barycentric.numpy()[anchor]
    row = np.repeat(np.arange(len(corners)), 3)
    shape = (len(corners), len(model.template))
    return csr_matrix((values.ravel(), (row, corners.ravel())), shape=shape)


def _laplacian(triangle: Int[np.ndarray, "face 3"], vertices: int) -> csr_matrix:
    """Graph Laplacian: the sum of squared differences along the edges."""
    edges = np.concatenate([triangle[:, [k, (k + 1) % 3]] for k in range(3)])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    ones = np.ones(len(edges))
    graph = coo_matrix((ones, edges.T), shape=(vertices, vertices)).tocsr()
    graph = graph + graph.T
    return (diags(np.asarray(graph.sum(1))[:, 0]) - graph).tocsr()


@dataclass(frozen=True)
class _Seen:
    """The surface nearest to every vertex; weight 0 where it is too far, turned away or a border."""

    face: Int[np.ndarray, " vertex"]
    barycentric: Float[np.ndarray, "vertex 3"]
    place: Float[np.ndarray, "vertex 3"]
    distance: Float[np.ndarray, " vertex"]
    weight: Float[np.ndarray, " vertex"]


class _Surface:
    """The source's skin."""

    def __init__(self, model: HeadModel) -> None:
        self._vertices = model.template.numpy()
        self._triangle = model.triangle.numpy()
        self._allowed = np.flatnonzero(_members(model, SKIN)[self._triangle].all(1))
        self._normal = _normals(self._vertices, self._triangle)
        edges = np.concatenate([self._triangle[:, [k, (k + 1) % 3]] for k in range(3)])
        _, index, count = np.unique(
            np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True
        )
        self._border = np.zeros(len(self._vertices), bool)
        self._border[edges[index[count == 1]].ravel()] = True

    def nearest(
        self,
        place: Float[np.ndarray, "vertex 3"],
        triangle: Int[np.ndarray, "face 3"],
        skin: Bool[np.ndarray, " vertex"],
        max_gap_m: float,
    ) -> _Seen:
        """Nearest places to the target's skin."""
        face = np.zeros(len(place), np.int64)
        barycentric = np.tile([1.0, 0, 0], (len(place), 1))
        face[skin], barycentric[skin] = nearest_on_surface(
            place[skin], self._vertices, self._triangle, self._allowed
        )
        corners = self._triangle[face]
        found = (self._vertices[corners] * barycentric[..., None]).sum(1)
        normal = (self._normal[corners] * barycentric[..., None]).sum(1)
        facing = (normal * _normals(place, triangle)).sum(1)
        distance = np.linalg.norm(found - place, axis=1)
        beyond = (self._border[corners] & (barycentric > 1e-6)).sum(1) > 1
        good = skin & (distance < max_gap_m) & (facing > MIN_NORMAL_COSINE) & ~beyond
        return _Seen(face, barycentric, found, distance, good.astype(np.float64))


def _normals(
    vertices: Float[np.ndarray, "vertex 3"], triangle: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "vertex 3"]:
    return vertex_normals(torch.from_numpy(vertices), torch.from_numpy(triangle)).numpy()
