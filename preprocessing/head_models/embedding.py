"""Places of detected face points on the mesh: gathered over many portraits, kept where consistent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from head_geometry.head_model import HeadModel
from head_geometry.surface import mirror_places, nearest_on_surface
from preprocessing.head_models import points
from preprocessing.head_models.actions import facial_actions
from preprocessing.head_models.mesh import texture_islands
from preprocessing.head_models.portraits import Portrait

MEDIAPIPE_POINTS = 478
MAX_MISS_PX = 6.0
"""A point further than this from any pixel of its group's surface says nothing."""
MIN_FACING = 0.3
"""Cosine between the surface and the viewer below which a place slides along the outline."""
OPEN_MOUTH, NARROW_EYE = 0.25, 0.25
SOCKET_RADIUS_M = 0.03
MAX_NECK_SHARE = 0.2
SYMMETRIC_M = 1e-4
"""A mean head whose sides differ by less is taken to be symmetric."""
MIN_SAMPLES, MAX_SPREAD_M, TRUST_SPREAD_M = 30, 0.0075, 0.003


@dataclass(frozen=True)
class PointGroup:
    """Points that lie on one part of the surface.

    Attributes:
        index: MediaPipe indices.
        face: True for triangles of that part.
        on_rim: They lie where the surface turns away from the viewer, so facing does not count.
        state: Which portraits count: ``any``, ``mouth_open`` or ``eyes_open``.
    """

    index: Int[np.ndarray, " point"]
    face: Bool[np.ndarray, " face"]
    on_rim: bool
    state: str


@dataclass(frozen=True)
class Embedding:
    """Where every point lies on the mesh.

    Attributes:
        face: Triangle.
        barycentric: Coordinates in it.
        weight: Trust, 0..1.
        spread_m: Median distance of single sightings from the place, metres (0 where there were too few).
        asymmetry_m: Distance between a point's place and its partner's mirror image before averaging.
        mirror_point: Index of each point's partner on the other side of the face.
        sideways_m: Constant offset of all sightings to the subject's left, taken out, metres.
    """

    face: Int[np.ndarray, " mediapipe"]
    barycentric: Float[np.ndarray, "mediapipe 3"]
    weight: Float[np.ndarray, " mediapipe"]
    spread_m: Float[np.ndarray, " mediapipe"]
    asymmetry_m: Float[np.ndarray, " mediapipe"]
    mirror_point: Int[np.ndarray, " mediapipe"]
    sideways_m: float


def point_groups(model: HeadModel) -> list[PointGroup]:
    """Which part of the mesh each point may lie on.

    Lips and lids are told apart by what moves them: without it, points on the seam of a closed mouth or
    at the edge of a lid land on the wrong side half of the time.
    """
    triangle = model.triangle.numpy()

    def of_parts(*names: str) -> np.ndarray:
        member = torch.zeros(model.template.shape[0], dtype=torch.bool)
        member[model.part_vertices(*names)] = True
        return np.asarray(member.numpy()[triangle].all(1))

    actions = facial_actions(model)
    skin = of_parts("face", "scalp", "ear", "neck", "lips") & ~eye_socket_faces(model)
    eyes = of_parts("eye_left", "eye_right")
    centre = model.template.numpy()[triangle].mean(1)
    lips, opening = of_parts("lips"), actions.opening_m()[triangle].mean(1)
    half = 0.5 * opening[lips].max(initial=0)
    groups = [
        PointGroup(np.array(points.UPPER_LIP), skin & (opening < half), False, "any"),
        PointGroup(np.array(points.LOWER_LIP), skin & (opening > half), False, "any"),
        PointGroup(np.array(points.UPPER_LIP_INNER), lips & (opening < half), True, "mouth_open"),
        PointGroup(np.array(points.LOWER_LIP_INNER), lips & (opening > half), True, "mouth_open"),
        PointGroup(np.array(points.LIP_CORNER), skin, True, "any"),
        PointGroup(np.array(points.IRISES), eyes, False, "eyes_open"),
    ]
    for side in ("left", "right"):
        here = skin & ((centre[:, 0] > 0) == (side == "left"))
        closing = actions.closing_m(side)[triangle].mean(1)
        lid = closing > 0.0015
        groups += [
            PointGroup(np.array(points.UPPER_LID[side]), here & lid, True, "eyes_open"),
            PointGroup(np.array(points.LOWER_LID[side]), here & ~lid, True, "eyes_open"),
            PointGroup(np.array(points.EYE_CORNER[side]), here, True, "eyes_open"),
        ]
    special = np.concatenate([group.index for group in groups])
    rest = np.setdiff1d(np.arange(MEDIAPIPE_POINTS), special)
    # No point lies on an ear or on the throat, but they show right beside the outermost points.
    neck = model.skin_weight[:, model.joint_name.index("neck")].numpy()[triangle].mean(1)
    front = skin & ~of_parts("ear") & (neck < MAX_NECK_SHARE)
    return [*groups, PointGroup(rest, front, False, "any")]


def eye_socket_faces(model: HeadModel) -> Bool[np.ndarray, " face"]:
    """True for the skin behind the eyeballs: texture islands of facial skin around an eye's centre."""
    triangle = model.triangle.numpy()
    label = texture_islands(model.triangle_uv.numpy())
    joints = [model.joint_name.index(name) for name in ("eye_left", "eye_right")]
    eyes = (model.joint_regressor @ model.template)[joints].numpy()
    is_face = model.vertex_part.numpy() == model.part_name.index("face")
    template = model.template.numpy()
    socket = np.zeros(len(triangle), bool)
    for island in range(label.max() + 1):
        here = label == island
        vertices = np.unique(triangle[here])
        reach = np.linalg.norm(template[vertices][:, None] - eyes[None], axis=-1).max(0).min()
        if is_face[vertices].all() and reach < SOCKET_RADIUS_M:
            socket |= here
    return socket


def rough_groups(model: HeadModel) -> list[PointGroup]:
    """One group for the skin and one for the eyes, before the parts of the face are known."""
    triangle = model.triangle.numpy()
    kinds = []
    for names in (("face", "scalp", "ear", "neck"), ("eye_left", "eye_right")):
        member = torch.zeros(model.template.shape[0], dtype=torch.bool)
        member[model.part_vertices(*names)] = True
        kinds.append(np.asarray(member.numpy()[triangle].all(1)))
    rest = np.setdiff1d(np.arange(MEDIAPIPE_POINTS), points.IRISES)
    return [
        PointGroup(rest, kinds[0], False, "any"),
        PointGroup(np.array(points.IRISES), kinds[1], False, "any"),
    ]


def is_symmetric(model: HeadModel) -> bool:
    """Whether face and eyes of the mean head are their own mirror image, place by place and triangle by triangle."""
    template, mirror = model.template.numpy(), model.mirror_vertex.numpy()
    member = np.zeros(len(template), bool)
    member[model.part_vertices("face", "lips", "eye_left", "eye_right").numpy()] = True
    off = np.linalg.norm(template[mirror] * [-1, 1, 1] - template, axis=1)[member].max()
    triangle = model.triangle.numpy()
    known = {tuple(sorted(corners)) for corners in triangle.tolist()}
    images = mirror[triangle[member[triangle].any(1)]].tolist()
    return bool(off < SYMMETRIC_M) and all(tuple(sorted(image)) in known for image in images)


class Sightings:
    """Gathers where detected points fall on the surface, as places on the neutral mean head."""

    def __init__(self, model: HeadModel, groups: list[PointGroup] | None = None) -> None:
        """Start empty.

        Args:
            model: The head in the portraits.
            groups: Which part of the mesh each point may lie on; :func:`point_groups` when not given.
        """
        self.model = model
        self.groups = point_groups(model) if groups is None else groups
        self._symmetric = is_symmetric(model)
        self._triangle = model.triangle.numpy()
        self._template = model.template.double().numpy()
        self._places: list[np.ndarray] = []
        self._seen: list[np.ndarray] = []
        self._cameras: list[np.ndarray] = []

    def __len__(self) -> int:
        """Portraits added so far."""
        return len(self._places)

    def add(self, portrait: Portrait, detected: Float[np.ndarray, "478 3"]) -> None:
        """Cast the points of one portrait back onto its mesh."""
        states = self._states(portrait)
        place = np.zeros((MEDIAPIPE_POINTS, 3))
        seen = np.zeros(MEDIAPIPE_POINTS, bool)
        caster = PictureCaster(portrait, self._triangle)
        for group in self.groups:
            if not states[group.state]:
                continue
            pixels = detected[group.index, :2].astype(np.float64)
            face, weights, valid = caster.cast_back(pixels, group)
            corners = self._template[self._triangle[face]]
            place[group.index] = (corners * weights[..., None]).sum(1)
            seen[group.index] = valid
        self._places.append(place)
        self._seen.append(seen)
        self._cameras.append(torch.linalg.inv(portrait.camera_from_head)[:3, 3].numpy())

    def _states(self, portrait: Portrait) -> Mapping[str, bool]:
        return {
            "any": True,
            "mouth_open": portrait.opening >= OPEN_MOUTH,
            "eyes_open": portrait.blink <= NARROW_EYE,
        }

    def rough_places(self) -> Float[np.ndarray, "478 3"]:
        """The most consistent place of every point, as seen."""
        return robust_middle(np.stack(self._places), np.stack(self._seen))

    def embed(self) -> Embedding:
        """The most consistent place of every point, made symmetric where the mean head is."""
        places, seen = np.stack(self._places), np.stack(self._seen)
        middle = robust_middle(places, seen)
        seen &= self._faces_viewer(middle)
        middle = robust_middle(places, seen)
        partner = mirror_partners(middle)
        # The detector's own constant offset to one side is no property of the face.
        sideways = np.median((middle + middle[partner])[:, 0]) / 2 if self._symmetric else 0.0
        middle = middle - [sideways, 0, 0]
        asymmetry = np.linalg.norm(middle - middle[partner] * [-1, 1, 1], axis=1)
        if self._symmetric:
            middle = (middle + middle[partner] * [-1, 1, 1]) / 2
        distance = np.linalg.norm(places - middle, axis=-1)
        count = seen.sum(0)
        spread = np.array(
            [
                np.median(d[s]) if s.sum() >= MIN_SAMPLES else 0.0
                for d, s in zip(distance.T, seen.T, strict=True)
            ]
        )
        spread = np.maximum(spread, spread[partner])
        usable = (np.minimum(count, count[partner]) >= MIN_SAMPLES) & (spread < MAX_SPREAD_M)
        weight = usable / (1 + (spread / TRUST_SPREAD_M) ** 2)
        face, barycentric = self._on_surface(middle, partner)
        return Embedding(face, barycentric, weight, spread, asymmetry, partner, float(sideways))

    def _faces_viewer(self, middle: Float[np.ndarray, "478 3"]) -> Bool[np.ndarray, "portrait 478"]:
        """Where a point's place looks towards the camera; beyond the outline the detector guesses."""
        face, _ = self._on_surface(middle, np.arange(MEDIAPIPE_POINTS))
        corners = self._template[self._triangle[face]]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        towards = np.stack(self._cameras)[:, None] - middle
        towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
        facing = (normal * towards).sum(-1) > MIN_FACING / 2
        for group in self.groups:
            if group.on_rim:
                facing[:, group.index] = True
        return facing

    def _on_surface(
        self, middle: Float[np.ndarray, "478 3"], partner: Int[np.ndarray, "478"]
    ) -> tuple[Int[np.ndarray, "478"], Float[np.ndarray, "478 3"]]:
        face = np.zeros(MEDIAPIPE_POINTS, np.int64)
        barycentric = np.zeros((MEDIAPIPE_POINTS, 3))
        barycentric[:, 0] = 1
        for group in self.groups:
            if group.face.any():  # the irises of a head without eyeballs have no place
                face[group.index], barycentric[group.index] = nearest_on_surface(
                    middle[group.index], self._template, self._triangle, np.flatnonzero(group.face)
                )
        if not self._symmetric:
            return face, barycentric
        # The right side copies the left, so that the two are exact mirror images.
        right = np.flatnonzero((middle[:, 0] < 0) & (partner != np.arange(MEDIAPIPE_POINTS)))
        face[right], barycentric[right] = mirror_places(
            face[partner[right]],
            barycentric[partner[right]],
            self._triangle,
            self.model.mirror_vertex.numpy(),
        )
        return face, barycentric


class PictureCaster:
    """Takes pixels of one portrait back to its surface."""

    def __init__(self, portrait: Portrait, triangle: Int[np.ndarray, "face 3"]) -> None:
        """Find out what the picture shows."""
        self._triangle = triangle
        self._vertices = portrait.vertices.double().numpy()
        # The picture as a flat surface: pixels, and depth 0.
        pixels = portrait.project(portrait.vertices).double().numpy()
        self._flat = np.concatenate([pixels, np.zeros((len(pixels), 1))], 1)
        corners = self._vertices[triangle]
        self._normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self._front = (self._normal * corners[:, 0]).sum(1) < 0
        face_id = portrait.raster.face_id.numpy()
        self._shown = np.zeros(len(triangle), bool)
        self._shown[face_id[face_id >= 0]] = True

    def cast_back(
        self, pixels: Float[np.ndarray, "point 2"], group: PointGroup
    ) -> tuple[Int[np.ndarray, " point"], Float[np.ndarray, "point 3"], Bool[np.ndarray, " point"]]:
        """Triangle, barycentric coordinates and validity of the surface under some pixels.

        A point beside its group's surface (on the eyeball next to a lid, in the open mouth next to a
        lip) is taken to the nearest place of this surface in the picture.
        """
        candidates = np.flatnonzero(self._candidates(group))
        if len(candidates) == 0:
            n = len(pixels)
            return np.zeros(n, np.int64), np.full((n, 3), 1 / 3), np.zeros(n, bool)
        wanted = np.concatenate([pixels, np.zeros((len(pixels), 1))], 1)
        face, weights = nearest_on_surface(wanted, self._flat, self._triangle, candidates)
        found = (self._flat[self._triangle[face]] * weights[..., None]).sum(1)
        miss = np.linalg.norm(found - wanted, axis=1)
        corners = self._vertices[self._triangle[face]]
        weights = weights / corners[..., 2]  # from the picture's to the surface's coordinates
        weights /= weights.sum(1, keepdims=True)
        places = (corners * weights[..., None]).sum(1)
        length = np.linalg.norm(self._normal[face], axis=1) * np.linalg.norm(places, axis=1)
        facing = -(self._normal[face] * places).sum(1) / np.maximum(length, 1e-30)
        return face, weights, (miss <= MAX_MISS_PX) & (group.on_rim | (facing > MIN_FACING))

    def _candidates(self, group: PointGroup) -> Bool[np.ndarray, " face"]:
        """Triangles of the group that the picture shows; at rims also neighbours too small for a pixel."""
        shown = self._shown & group.face
        if not group.on_rim:
            return shown
        touched = np.zeros(len(self._vertices), bool)
        touched[self._triangle[shown]] = True
        return touched[self._triangle].any(1) & self._front & group.face


def robust_middle(
    places: Float[np.ndarray, "portrait point 3"], seen: Bool[np.ndarray, "portrait point"]
) -> Float[np.ndarray, "point 3"]:
    """Geometric median of each point's places.

    Source: Weiszfeld's algorithm (1937).
    """
    weight = seen.astype(np.float64)
    middle = np.zeros(places.shape[1:])
    for _ in range(30):
        total = np.maximum(weight.sum(0), 1e-12)
        middle = (weight[..., None] * places).sum(0) / total[:, None]
        distance = np.linalg.norm(places - middle, axis=-1)
        weight = seen / np.maximum(distance, 2e-4)
    return middle


def mirror_partners(
    middle: Float[np.ndarray, "point 3"],
) -> Int[np.ndarray, " point"]:
    """Each point's partner on the other side of the face (itself on the middle line).

    The partners are the matching that costs least in total, made mutual.
    """
    cost = np.linalg.norm(middle[:, None] * [-1, 1, 1] - middle[None], axis=-1)
    cost = (cost + cost.T) / 2
    _, partner = linear_sum_assignment(cost)
    mutual = partner[partner] == np.arange(len(partner))
    partner = np.where(mutual, partner, np.arange(len(partner)))
    return partner
