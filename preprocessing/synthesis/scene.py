"""One synthetic person in front of a camera, ready to be drawn in any pose: meshes, colours, light that reaches them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from head_geometry.cameras import transform
from head_geometry.head_model import HeadModel
from head_geometry.normals import vertex_normals
from head_geometry.spherical_harmonics import irradiance_basis, turn_light
from preprocessing.synthesis.bust import Bust
from preprocessing.synthesis.hair import Hair, hair_roots
from preprocessing.synthesis.light import light_reach, make_light
from preprocessing.synthesis.motion import Pose
from preprocessing.synthesis.noise import NoiseField
from preprocessing.synthesis.person import Person
from preprocessing.synthesis.skin import HeadPaint

# Light that gets into shadows by way of other skin and cloth; the mouth swallows it.
BOUNCE, MOUTH_BOUNCE = 0.16, 0.03
# The mouth is open while shadows are computed, or teeth would always be black.
SHADOW_JAW_OPEN = 0.4
# Width of what the picture shows at the person's distance.
VIEW_WIDTH_M = (0.37, 0.46)
DISTANCE_M = (0.55, 1.25)


@dataclass(frozen=True)
class Camera:
    """Where the camera is and how it sees; world axes are its axes (OpenCV).

    Attributes:
        intrinsics: Pinhole matrix, pixels.
        size_px: Width and height of the picture.
        world_from_rest: Where the torso's rest is, before it moves.
    """

    intrinsics: Float[Tensor, "3 3"]
    size_px: int
    world_from_rest: Float[Tensor, "4 4"]


@dataclass(frozen=True)
class Placed:
    """Two layers of triangles in camera axes (metres), with what each vertex shows.

    ``light`` is the light that a matt white surface reflects at each vertex.
    """

    body: Float[Tensor, "body_vertex 3"]
    body_normal: Float[Tensor, "body_vertex 3"]
    body_light: Float[Tensor, "body_vertex 3"]
    hair: Float[Tensor, "hair_vertex 3"]
    hair_normal: Float[Tensor, "hair_vertex 3"]
    hair_light: Float[Tensor, "hair_vertex 3"]
    hair_along: Float[Tensor, "hair_vertex 3"]
    head: Float[Tensor, "vertex 3"]
    """The head alone in head axes."""


class Scene:
    """Everything about one clip that does not change with time.

    Attributes:
        model: The head model.
        person: Looks.
        camera: The camera.
        light: Spherical harmonics, world axes, linear RGB.
        background: Linear RGB.
    """

    def __init__(
        self, model: HeadModel, person: Person, random: np.random.Generator, size_px: int
    ) -> None:
        """Build a person, a light and a camera.

        Args:
            model: The head model.
            person: Looks.
            random: Where light, camera and background are drawn from.
            size_px: Width and height of the picture.
        """
        self.model, self.person = model, person
        self.neutral = model.neutral(person.identity)
        recession_m = 0.0 if person.feminine > 0 else random.uniform(0, 0.012)
        self.hair = Hair(model, self.neutral, person, recession_m)
        self.bust = Bust(model, self.neutral, person)
        self.paint = HeadPaint(model, person, hair_roots(model, recession_m))
        self.light = make_light(random)
        self.camera = make_camera(random, size_px)
        self.background = make_background(random, size_px)
        self._head_count = len(self.neutral)
        self._reach = self._reach_at_rest()

    @cached_property
    def body_triangle(self) -> Int[Tensor, "face 3"]:
        """Triangles of head and bust."""
        return torch.cat([self.model.triangle, self.bust.surface.triangle + self._head_count])

    @property
    def neck_joint(self) -> Float[Tensor, "3"]:
        """Where head and torso turn against each other, head axes at rest."""
        model = self.model
        return model.joint_regressor[model.joint_name.index("neck")] @ self.neutral

    def _reach_at_rest(self) -> Float[Tensor, "vertex 9"]:
        """How much of the light's harmonics reaches head, bust and hair past each other, relative to nothing in between."""
        model = self.model
        expression = torch.zeros(1, len(model.expression_name))
        expression[0, model.expression_name.index("jawOpen")] = SHADOW_JAW_OPEN
        rest = torch.zeros(1, len(model.joint_name), 3)
        head = model.vertices(self.person.identity, expression, rest)[0]
        bust, hair = self.bust.surface, self.hair.surface
        place = torch.cat([head, bust.vertices, hair.vertices])
        hair_triangle = hair.triangle + len(head) + len(bust.vertices)
        triangle = torch.cat([self.body_triangle, hair_triangle])
        self._rest_normal = vertex_normals(place, triangle)
        return light_reach(place, self._rest_normal, place, triangle)

    def _shade(self, vertices: slice, rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "point 3"]:
        """Share of the light that reaches vertices at rest in axes turned by ``rotation`` against the world's."""
        light = turn_light(self.light, rotation)
        free = (irradiance_basis(self._rest_normal[vertices]) @ light).clamp_min(0.02)
        return ((self._reach[vertices] @ light) / free).clamp(0, 1)

    @cached_property
    def _bounce(self) -> Float[Tensor, "vertex 1"]:
        bounce = torch.full((len(self._reach), 1), BOUNCE)
        bounce[self.model.part_vertices("mouth_cavity", "tongue", "teeth")] = MOUTH_BOUNCE
        return bounce

    def place(self, pose: Pose) -> Placed:
        """All meshes in one pose, lit."""
        model, bust, hair = self.model, self.bust.surface, self.hair.surface
        world_from_head = pose.world_from_head.float()
        world_from_torso = pose.world_from_torso.float()
        head = model.vertices(
            self.person.identity, pose.expression[None], pose.joint_rotation[None]
        )[0]
        body = torch.cat(
            [transform(world_from_head, head), transform(world_from_torso, bust.vertices)]
        )
        share = hair.torso_share[:, None]
        grown = (1 - share) * transform(world_from_head, hair.vertices)
        grown = grown + share * transform(world_from_torso, hair.vertices)
        body_normal = vertex_normals(body, self.body_triangle)
        hair_normal = vertex_normals(grown, hair.triangle)
        edge = len(body)
        reach = torch.cat(
            [
                self._shade(slice(0, self._head_count), world_from_head[:3, :3]),
                self._shade(slice(self._head_count, edge), world_from_torso[:3, :3]),
                self._shade(slice(edge, None), world_from_head[:3, :3]),
            ]
        )
        reach = self._bounce + (1 - self._bounce) * reach
        along = hair.attributes[:, -3:] @ world_from_head[:3, :3].mT
        return Placed(
            body=body,
            body_normal=body_normal,
            body_light=(irradiance_basis(body_normal) @ self.light).clamp_min(0) * reach[:edge],
            hair=grown,
            hair_normal=hair_normal,
            hair_light=(irradiance_basis(hair_normal) @ self.light).clamp_min(0) * reach[edge:],
            hair_along=along,
            head=head,
        )


def make_camera(random: np.random.Generator, size_px: int) -> Camera:
    """A camera of random focal length before which the head fills about the same part of the picture."""
    distance = float(np.exp(random.uniform(*np.log(DISTANCE_M))))
    focal_px = size_px * distance / random.uniform(*VIEW_WIDTH_M)
    centre = (size_px - 1) / 2
    intrinsics = torch.tensor([[focal_px, 0, centre], [0, focal_px, centre], [0, 0, 1]])
    world_from_rest = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
    aside, down = random.uniform(-0.012, 0.012), random.uniform(0.025, 0.04)
    # The face is about 0.1 m in front of the origin of the head axes.
    world_from_rest[:3, 3] = torch.tensor([aside, down, distance + 0.1])
    return Camera(intrinsics.float(), size_px, world_from_rest)


def make_background(random: np.random.Generator, size_px: int) -> Float[Tensor, "height width 3"]:
    """A blurred room: two colours, soft shapes, darker towards the bottom."""
    noise = NoiseField(int(random.integers(1 << 20)))
    y, x = torch.meshgrid(*[(torch.arange(size_px) + 0.5) / size_px] * 2, indexing="ij")
    place = torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3)
    scale = torch.tensor([random.uniform(1.5, 4), random.uniform(0.6, 2), 1.0])
    shape = noise.fractal(place * scale, 2).reshape(size_px, size_px, 1)
    first, second = (torch.from_numpy(random.uniform(0.06, 0.5) * tint(random)) for _ in range(2))
    mix = ((shape - 0.5) * 2.2 + 0.5).clamp(0, 1)
    return ((1 - 0.35 * y[..., None]) * (first * mix + second * (1 - mix))).float()


def tint(random: np.random.Generator) -> Float[np.ndarray, "3"]:
    """A pale colour of mean 1."""
    colour = random.uniform(0.75, 1.25, 3)
    return colour / colour.mean()
