"""Plainly shaded pictures of random heads in random poses, in which a face detector finds its points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from head_geometry.cameras import project, transform
from head_geometry.head_model import HeadModel
from head_geometry.normals import vertex_normals
from head_geometry.rasteriser import Raster, rasterise
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing.head_models.actions import facial_actions

YAW_DEG, PITCH_DEG, ROLL_DEG = 35.0, 18.0, 8.0
IRIS_ANGLE_RAD, PUPIL_ANGLE_RAD = 0.41, 0.17
FACE_HEIGHT_M = 0.26


@dataclass(frozen=True)
class Portrait:
    """One random head, posed, and its picture.

    Attributes:
        image: sRGB, 0..255.
        raster: What each pixel sees.
        vertices: Camera axes, metres.
        opening: How far the mouth is open, 0..1.
        blink: How far the eyes are shut, 0..1.
        intrinsics: Pinhole matrix in pixels.
        camera_from_head: Rigid motion to OpenCV camera axes.
    """

    image: UInt8[np.ndarray, "height width 3"]
    raster: Raster
    vertices: Float[Tensor, "vertex 3"]
    opening: float
    blink: float
    intrinsics: Float[Tensor, "3 3"]
    camera_from_head: Float[Tensor, "4 4"]

    def project(self, places: Float[Tensor, "point 3"]) -> Float[Tensor, "point 2"]:
        """Pixels of points in camera axes."""
        return project(places, self.intrinsics)


class Photographer:
    """Draws random portraits of a head model, one after the other."""

    def __init__(self, model: HeadModel, size_px: int, seed: int) -> None:
        """Prepare colours and the random sequence.

        Args:
            model: The head; its landmark embeddings are not used.
            size_px: Width and height of the pictures.
            seed: Random seed.
        """
        self.model = model
        self.size_px = size_px
        self._random = np.random.default_rng(seed)
        self._actions = facial_actions(model)
        self._centre = picture_centre(model)
        self._brow = _vertex_brows(model)
        self._eye_direction = _eye_directions(model)

    def take(self, frontal: bool = False) -> Portrait:
        """A portrait of a new random head with a mild random expression.

        Args:
            frontal: Look straight at the camera with a relaxed face.
        """
        model, random = self.model, self._random
        n = min(60, model.identity_std.shape[0])
        identity = torch.from_numpy(random.normal(0, 0.9, n)).float().clamp(-2.5, 2.5)
        gesture = self._actions.draw(random)
        relaxed = 0 if frontal else 1
        expression = gesture.expression * relaxed
        rotation = gesture.joint_rotation[None] * relaxed
        gaze = torch.from_numpy(random.normal(0, [0.06, 0.12, 0], 3)).float()
        for eye in ("eye_left", "eye_right"):
            rotation[0, model.joint_name.index(eye)] = gaze
        vertices = model.vertices(identity, expression[None], rotation)[0]
        camera_from_head, intrinsics = self._random_camera(0.0 if frontal else 1.0)
        seen = transform(camera_from_head, vertices)
        size = (self.size_px, self.size_px)
        raster = rasterise(seen, model.triangle, intrinsics, size)
        image = self._paint(raster, seen)
        opening, blink = gesture.opening * relaxed, gesture.blink * relaxed
        return Portrait(image, raster, seen, opening, blink, intrinsics, camera_from_head)

    def _random_camera(self, spread: float) -> tuple[Float[Tensor, "4 4"], Float[Tensor, "3 3"]]:
        random = self._random
        pitch, yaw, roll = np.radians(
            random.uniform(-1, 1, 3) * [PITCH_DEG, YAW_DEG, ROLL_DEG] * spread
        )
        turns = torch.tensor([[pitch, 0, 0], [0, yaw, 0], [0, 0, roll]], dtype=torch.float32)
        x, y, z = matrix_from_axis_angle(turns)
        distance = random.uniform(0.45, 1.1)
        camera_from_head = torch.eye(4)
        camera_from_head[:3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ z @ y @ x
        shift = torch.from_numpy(random.uniform(-0.015, 0.015, 2)).float()
        camera_from_head[:3, 3] = torch.tensor([shift[0], shift[1], distance + 0.1])
        camera_from_head[:3, 3] -= camera_from_head[:3, :3] @ self._centre
        focal_px = self.size_px * distance / (FACE_HEIGHT_M * random.uniform(1.05, 1.35))
        centre = (self.size_px - 1) / 2
        intrinsics = torch.tensor([[focal_px, 0, centre], [0, focal_px, centre], [0, 0, 1]])
        return camera_from_head, intrinsics

    def _paint(
        self, raster: Raster, vertices: Float[Tensor, "vertex 3"]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Diffuse light from a random side over plain skin, dark irises, redder lips."""
        model, random = self.model, self._random
        normals = vertex_normals(vertices, model.triangle)
        albedo = self._albedo()
        attributes = torch.cat([normals, albedo, self._eye_direction], -1)
        pixels = raster.interpolate(attributes, model.triangle)
        normal = torch.nn.functional.normalize(pixels[..., :3], dim=-1)
        colour, eye = pixels[..., 3:6], pixels[..., 6:9]
        is_eye = torch.linalg.vector_norm(eye, dim=-1) > 0.5
        angle = torch.arccos(torch.nn.functional.normalize(eye, dim=-1)[..., 2].clamp(-1, 1))
        iris = torch.tensor(random.uniform([0.08, 0.06, 0.04], [0.35, 0.3, 0.35])).float()
        colour = torch.where((is_eye & (angle < IRIS_ANGLE_RAD))[..., None], iris, colour)
        colour = torch.where((is_eye & (angle < PUPIL_ANGLE_RAD))[..., None], 0.02, colour)
        light = torch.tensor([random.uniform(-0.7, 0.7), random.uniform(-0.8, 0.1), -1.0]).float()
        lambert = (normal @ torch.nn.functional.normalize(light, dim=0)).clamp_min(0)
        ambient = random.uniform(0.3, 0.55)
        shaded = colour * (ambient + (1 - ambient) * lambert)[..., None]
        behind = torch.from_numpy(random.uniform(0.15, 0.9, 3)).float()
        shaded = torch.where((raster.face_id >= 0)[..., None], shaded, behind)
        return (shaded.clamp(0, 1) ** (1 / 2.2) * 255).round().byte().numpy()

    def _albedo(self) -> Float[Tensor, "vertex 3"]:
        model, random = self.model, self._random
        if len(model.albedo_mean):
            return self._own_albedo()
        light, dark = np.array([0.72, 0.48, 0.37]), np.array([0.20, 0.11, 0.08])
        share = random.uniform(0, 0.9)
        skin = torch.from_numpy((1 - share) * light + share * dark).float()
        albedo = skin.repeat(model.template.shape[0], 1)
        lips = skin * torch.tensor([random.uniform(0.75, 0.95), 0.55, 0.6])
        hair = torch.from_numpy(random.uniform(0.03, 0.25, 1)).float() * torch.tensor([1, 0.8, 0.6])
        albedo[model.part_vertices("lips")] = lips
        albedo[model.part_vertices("scalp")] = hair
        # The open mouth is mostly dark in a photo, since light hardly reaches it.
        albedo[model.part_vertices("mouth_cavity")] = torch.tensor([0.05, 0.015, 0.015])
        tongue = random.uniform(0.1, 0.8) * torch.tensor([0.3, 0.1, 0.1])
        albedo[model.part_vertices("tongue")] = tongue
        albedo[model.part_vertices("teeth")] = random.uniform(0.2, 1.0) * torch.tensor(
            [0.6, 0.57, 0.5]
        )
        albedo[model.part_vertices("eye_left", "eye_right")] = torch.tensor([0.75, 0.73, 0.72])
        strength = self._brow[:, None] * random.uniform(0.4, 1.0)
        return albedo * (1 - strength) + hair * strength

    def _own_albedo(self) -> Float[Tensor, "vertex 3"]:
        """A random colouring of a model that has colours of its own, without the display's gamma."""
        model = self.model
        draw = torch.from_numpy(self._random.normal(0, 0.7, len(model.albedo_std))).float()
        colour = model.albedo_mean + torch.tensordot(draw * model.albedo_std, model.albedo_basis, 1)
        return colour.clamp(0, 1) ** 2.2


def picture_centre(model: HeadModel) -> Float[Tensor, "3"]:
    """What the pictures turn about: the head joint, to the centimetre."""
    joints = model.joint_regressor @ model.template
    return torch.round(100 * joints[model.joint_name.index("head")]) / 100


def brow_amount(
    place: Float[Tensor, "point 3"], eye: Float[Tensor, "3"]
) -> Float[Tensor, " point"]:
    """How much of each place on the skin is eyebrow, 0..1: a soft arch over each eye, on the brow ridge.

    Args:
        place: On the mean head, metres, head axes.
        eye: Centre of its left eyeball.
    """
    across = (place[:, 0].abs() - eye[0] - 0.004) / 0.021
    height = place[:, 1] - eye[1] - (0.0205 - 0.004 * (across - 0.25) ** 2)
    return torch.exp(-((height / 0.0035) ** 4) - across**8)


def _vertex_brows(model: HeadModel) -> Float[Tensor, " vertex"]:
    """How much of each vertex is eyebrow, 0..1."""
    eye = (model.joint_regressor @ model.template)[model.joint_name.index("eye_left")]
    skin = torch.zeros(len(model.template))
    skin[model.part_vertices("face")] = 1
    on_front = model.template[:, 2] > picture_centre(model)[2] + 0.06
    return brow_amount(model.template, eye) * skin * on_front


def _eye_directions(model: HeadModel) -> Float[Tensor, "vertex 3"]:
    """Unit direction from its eyeball's centre of each eyeball vertex, 0 for all others."""
    joints = model.joint_regressor @ model.template
    directions = torch.zeros_like(model.template)
    for eye in ("eye_left", "eye_right"):
        index = model.part_vertices(eye)
        offset = model.template[index] - joints[model.joint_name.index(eye)]
        directions[index] = torch.nn.functional.normalize(offset, dim=-1)
    return directions
