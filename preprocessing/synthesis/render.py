"""Draw a synthetic person: two layers of triangles at twice the size, lit, averaged in linear light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float16, Int8, UInt8
from torch import Tensor

from head_geometry.cameras import resize_intrinsics
from head_geometry.colours import srgb_from_linear
from head_geometry.rasteriser import Raster, rasterise
from preprocessing.synthesis.light import main_direction
from preprocessing.synthesis.motion import Pose
from preprocessing.synthesis.scene import Placed, Scene
from preprocessing.synthesis.skin import split_attributes

SUPERSAMPLING = 2
# Noise of the camera's sensor, of 255.
SENSOR_NOISE = 1.0
# Parts of a picture beside those of the head model.
BACKGROUND, CHEST, GARMENT, HAIR = "background", "chest", "garment", "hair"
# Highlights of each part: how strong, how sharp.
_GLOSS = {
    "face": (0.10, 14.0),
    "ear": (0.08, 14.0),
    "scalp": (0.06, 12.0),
    "neck": (0.05, 12.0),
    CHEST: (0.05, 12.0),
    "lips": (0.16, 30.0),
    "eye_left": (1.0, 220.0),
    "eye_right": (1.0, 220.0),
    "teeth": (0.25, 50.0),
    "tongue": (0.15, 25.0),
    "mouth_cavity": (0.05, 20.0),
    GARMENT: (0.015, 6.0),
}
# Hair this close before skin is its edge.
SKIN_BEHIND_M = 0.016
_HAIR_GLOSS, _HAIR_SHARPNESS = 0.28, 26.0


def part_names(head_parts: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the parts of a picture, in the order of their labels."""
    return (BACKGROUND, *head_parts, CHEST, GARMENT, HAIR)


@dataclass(frozen=True)
class Drawn:
    """A picture and what each of its pixels shows.

    Attributes:
        image: sRGB.
        alpha: Opacity of the person.
        head_alpha: Opacity of head, neck and hair.
        part: Most frequent label among the pixel's samples (see :func:`part_names`).
        normal: Mean unit normal of those samples, camera axes, times 127; 0 on the background.
        depth: Their mean depth, metres; 0 on the background.
    """

    image: UInt8[np.ndarray, "height width 3"]
    alpha: UInt8[np.ndarray, "height width"]
    head_alpha: UInt8[np.ndarray, "height width"]
    part: UInt8[np.ndarray, "height width"]
    normal: Int8[np.ndarray, "height width 3"]
    depth: Float16[np.ndarray, "height width"]


@dataclass
class _Samples:
    """Flat images at the sampling size, to be averaged."""

    colour: Float[Tensor, "sample 3"]
    opacity: Float[Tensor, " sample"]
    part: Tensor
    normal: Float[Tensor, "sample 3"]
    depth: Float[Tensor, " sample"]


class Renderer:
    """Draws the frames of one scene."""

    def __init__(self, scene: Scene, intrinsics: Float[Tensor, "3 3"] | None = None) -> None:
        """Prepare what does not change.

        Args:
            scene: Whom to draw, under which light.
            intrinsics: Pinhole matrix in pixels; that of the scene's camera when absent.
        """
        self.scene = scene
        size = scene.camera.size_px
        self._fine = SUPERSAMPLING * size
        small, fine = (size, size), (self._fine, self._fine)
        self._intrinsics = resize_intrinsics(
            scene.camera.intrinsics if intrinsics is None else intrinsics, small, fine
        )
        self.parts = part_names(scene.model.part_name)
        self._gloss = torch.tensor([_GLOSS.get(name, (0.0, 1.0)) for name in self.parts])
        step = torch.arange(self._fine).float()
        y, x = torch.meshgrid(step, step, indexing="ij")
        pixels = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
        rays = pixels @ torch.linalg.inv(self._intrinsics).mT
        self._view = -torch.nn.functional.normalize(rays, dim=-1)
        self._lamp = main_direction(scene.light)
        background = scene.background.repeat_interleave(SUPERSAMPLING, 0)
        self._background = background.repeat_interleave(SUPERSAMPLING, 1).reshape(-1, 3)

    def draw(self, pose: Pose, frame: int) -> tuple[Drawn, Float[Tensor, "vertex 3"]]:
        """The picture of one pose, and the head's vertices in head axes.

        Args:
            pose: The pose.
            frame: Its number; every frame has sensor noise of its own.
        """
        placed = self.scene.place(pose)
        samples = self._draw_body(placed)
        self._draw_hair(placed, samples)
        return self._average(samples, frame), placed.head

    def relight(self, light: Float[Tensor, "9 3"]) -> None:
        """Another light from now on (world axes)."""
        self.scene.light = light
        self._lamp = main_direction(light)

    def draw_head(
        self, pose: Pose
    ) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"]]:
        """Head, neck and hair alone: sRGB times opacity, and opacity; without the sensor's noise."""
        placed = self.scene.place(pose)
        samples = self._draw_body(placed)
        self._draw_hair(placed, samples)
        torso = (samples.part == self.parts.index(CHEST)) | (
            samples.part == self.parts.index(GARMENT)
        )
        shown = (samples.opacity * ~torso)[:, None]
        light = self._split(torch.cat([samples.colour * shown, shown], 1)).mean(2)
        opacity = light[..., 3:]
        colour = srgb_from_linear(light[..., :3] / opacity.clamp_min(1e-4)).clamp_max(1) * opacity
        return _bytes(colour * 255), _bytes(opacity[..., 0] * 255)

    def _raster(self, vertices: Tensor, triangle: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Flat index of the samples covered, and of each: triangle, barycentrics, depth."""
        raster: Raster = rasterise(vertices, triangle, self._intrinsics, (self._fine, self._fine))
        face = raster.face_id.flatten()
        covered = (face >= 0).nonzero()[:, 0]
        barycentric = raster.barycentric.reshape(-1, 3)[covered]
        return covered, face[covered], barycentric, raster.depth.flatten()[covered]

    def _draw_body(self, placed: Placed) -> _Samples:
        scene, model = self.scene, self.scene.model
        triangle = scene.body_triangle
        covered, face, barycentric, depth = self._raster(placed.body, triangle)
        corners = triangle[face]
        lit = _blend(torch.cat([placed.body_light, placed.body_normal], 1), corners, barycentric)
        light, normal = lit[:, :3], torch.nn.functional.normalize(lit[:, 3:], dim=-1)
        colour, part = torch.empty(len(face), 3), torch.empty(len(face), dtype=torch.long)
        on_head = face < len(model.triangle)
        index = on_head.nonzero()[:, 0]
        values = _blend(scene.paint.vertex_attributes, corners[index], barycentric[index])
        nearest = corners[index].gather(1, barycentric[index].argmax(1, keepdim=True))[:, 0]
        head_part = model.vertex_part[nearest]
        colour[index] = scene.paint.colour(split_attributes(values, head_part))
        part[index] = head_part + 1
        index = (~on_head).nonzero()[:, 0]
        own = corners[index] - len(model.template)
        values = _blend(scene.bust.surface.attributes, own, barycentric[index])
        colour[index], worn = scene.bust.colour(values)
        chest, garment = self.parts.index(CHEST), self.parts.index(GARMENT)
        part[index] = torch.where(worn > 0.5, garment, chest)
        strength, sharpness = self._gloss[part].unbind(1)
        # A lamp reaches about as much of each place as the rest of the light does.
        highlight = self._highlight(normal, covered, sharpness) * strength
        shine = highlight[:, None] * light.mean(1, keepdim=True)
        samples = _Samples(
            colour=self._background.clone(),
            opacity=torch.zeros(self._fine**2),
            part=torch.zeros(self._fine**2, dtype=torch.long),
            normal=torch.zeros(self._fine**2, 3),
            depth=torch.zeros(self._fine**2),
        )
        samples.colour[covered] = colour * light + shine
        samples.opacity[covered] = 1
        samples.part[covered] = part
        samples.normal[covered] = normal
        samples.depth[covered] = depth
        return samples

    def _highlight(
        self, normal: Float[Tensor, "point 3"], covered: Tensor, sharpness: Float[Tensor, " point"]
    ) -> Float[Tensor, " point"]:
        """Reflection of the main lamp (Blinn and Phong)."""
        half = torch.nn.functional.normalize(self._view[covered] + self._lamp, dim=-1)
        return (normal * half).sum(1).clamp_min(1e-3) ** sharpness

    def _draw_hair(self, placed: Placed, samples: _Samples) -> None:
        """Lay the hair over the samples where it is in front."""
        surface = self.scene.hair.surface
        covered, face, barycentric, depth = self._raster(placed.hair, surface.triangle)
        behind = samples.depth[covered]
        front = ((behind == 0) | (depth < behind)).nonzero()[:, 0]
        covered, depth = covered[front], depth[front]
        corners, barycentric = surface.triangle[face[front]], barycentric[front]
        attributes = torch.cat(
            [surface.attributes[:, :4], placed.hair_along, placed.hair_light, placed.hair_normal], 1
        )
        values = _blend(attributes, corners, barycentric)
        on_skin = (behind[front] > 0) & (behind[front] - depth < SKIN_BEHIND_M)
        colour, opacity = self.scene.hair.colour(values[:, :7], on_skin)
        light = values[:, 7:10]
        normal = torch.nn.functional.normalize(values[:, 10:], dim=-1)
        facing = (normal * self._view[covered]).sum(1)
        inside = (facing < 0)[:, None]
        along = torch.nn.functional.normalize(values[:, 4:7], dim=-1)
        half = torch.nn.functional.normalize(self._view[covered] + self._lamp, dim=-1)
        # Kajiya and Kay: a strand shines where the half vector is across it.
        across = (1 - (along * half).sum(1) ** 2).clamp_min(0) ** (_HAIR_SHARPNESS / 2)
        shine = _HAIR_GLOSS * (across * facing.clamp_min(0))[:, None] * light * (colour + 0.04)
        lit = torch.where(inside, 0.3 * colour * light, colour * light + shine)
        share = opacity[:, None]
        samples.colour[covered] = share * lit + (1 - share) * samples.colour[covered]
        samples.opacity[covered] = torch.maximum(samples.opacity[covered], opacity)
        shown = (opacity > 0.5).nonzero()[:, 0]
        where = covered[shown]
        samples.part[where] = self.parts.index(HAIR)
        samples.normal[where] = torch.where(inside, -normal, normal)[shown]
        samples.depth[where] = depth[shown]

    def _split(self, values: Tensor) -> Tensor:
        """Flat samples as (height, width, sample of the pixel, value)."""
        side = self._fine // SUPERSAMPLING
        blocks = values.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING, -1)
        return blocks.permute(0, 2, 1, 3, 4).flatten(2, 3)

    def _average(self, samples: _Samples, frame: int) -> Drawn:
        split = self._split
        noise = torch.Generator().manual_seed(self.scene.person.texture_seed * 100003 + frame)
        image = srgb_from_linear(split(samples.colour).mean(2)) * 255
        image = image + SENSOR_NOISE * torch.randn(image.shape, generator=noise)
        part = split(samples.part)[..., 0]
        winner = part.mode(2).values
        wins = (part == winner[..., None]).float()[..., None]
        count = wins.sum(2)
        normal = torch.nn.functional.normalize((split(samples.normal) * wins).sum(2), dim=-1)
        depth = (split(samples.depth) * wins).sum(2) / count
        opacity = split(samples.opacity)[..., 0]
        torso = (part == self.parts.index(CHEST)) | (part == self.parts.index(GARMENT))
        return Drawn(
            image=_bytes(image),
            alpha=_bytes(opacity.mean(2) * 255),
            head_alpha=_bytes((opacity * ~torso).mean(2) * 255),
            part=winner.byte().numpy(),
            normal=(normal * 127).round().to(torch.int8).numpy(),
            depth=depth[..., 0].half().numpy(),
        )


def _bytes(values: Tensor) -> np.ndarray:
    return values.round().clamp(0, 255).byte().numpy()


def _blend(
    attributes: Float[Tensor, "vertex attribute"], corners: Tensor, barycentric: Tensor
) -> Float[Tensor, "point attribute"]:
    """Attributes of vertices at places on triangles."""
    return torch.einsum("pca,pc->pa", attributes[corners], barycentric)
