"""The light of a synthetic clip, and how much of it reaches each point of a mesh."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from head_geometry.rasteriser import first_hits
from head_geometry.spherical_harmonics import even_directions, harmonics, irradiance_basis

# Rays start this far off the surface, so that they do not meet it at once.
LIFT_M = 0.0015


def make_light(random: np.random.Generator) -> Float[Tensor, "9 3"]:
    """A random soft studio: a key light from above, a weaker fill, a lit room. OpenCV camera axes, linear RGB.

    The face of a matt white person turned to the camera is lit to about 1.
    """
    directions = even_directions(2048)
    side = random.choice([-1.0, 1.0])
    key = _direction(side * random.uniform(15, 65), random.uniform(10, 45))
    fill = _direction(-side * random.uniform(30, 80), random.uniform(-5, 25))
    warm, cool = random.uniform(0, 0.16), random.uniform(0, 0.14)
    key_colour = torch.tensor([1 + warm, 1.0, 1 - warm])
    fill_colour = torch.tensor([1 - cool, 1.0, 1 + cool]) * random.uniform(0.15, 0.6)
    room = 0.25 + 0.12 * -directions[:, 1:2] + 0.08 * -directions[:, 2:]
    radiance = room * random.uniform(0.7, 1.3) * torch.ones(3)
    for towards, colour, sharp in ((key, key_colour, 3.0), (fill, fill_colour, 2.0)):
        lobe = torch.exp(sharp * (directions @ towards - 1))
        radiance = radiance + 1.4 * lobe[:, None] * colour
    light = 4 * np.pi / len(directions) * harmonics(directions).mT @ radiance
    to_camera = torch.tensor([0.0, 0.0, -1.0])
    return light * (random.uniform(0.85, 1.1) / (irradiance_basis(to_camera) @ light).mean())


def _direction(azimuth_deg: float, height_deg: float) -> Float[Tensor, "3"]:
    """Unit vector towards a lamp: sideways from the camera's line of sight and above it, OpenCV camera axes."""
    azimuth, height = np.radians([azimuth_deg, height_deg])
    flat = np.cos(height)
    towards = [flat * np.sin(azimuth), -np.sin(height), -flat * np.cos(azimuth)]
    return torch.tensor(towards, dtype=torch.float32)


def main_direction(light: Float[Tensor, "9 3"]) -> Float[Tensor, "3"]:
    """Unit vector towards where most light comes from."""
    mean = light.mean(1)
    return torch.nn.functional.normalize(torch.stack([mean[3], mean[1], mean[2]]), dim=0)


def light_reach(
    place: Float[Tensor, "point 3"],
    normal: Float[Tensor, "point 3"],
    vertices: Float[Tensor, "vertex 3"],
    triangle: Int[Tensor, "face 3"],
    directions: int = 96,
) -> Float[Tensor, "point 9"]:
    """How much of each harmonic of the light reaches each point past a mesh and is reflected by a matt white surface.

    Shading under any light is the product with its coefficients: soft shadows at the price of a product.

    Args:
        place: Metres.
        normal: Unit, outwards.
        vertices: What casts the shadows, same axes.
        triangle: Its triangles.
        directions: Rays per point.

    Source: Sloan, Kautz and Snyder, Precomputed radiance transfer (2002), diffuse and without interreflection.
    """
    sky = even_directions(directions)
    cosine = (normal @ sky.mT).clamp_min(0)
    point, ray = torch.nonzero(cosine > 0).unbind(1)
    hit = first_hits(vertices, triangle, place[point] + LIFT_M * normal[point], sky[ray])
    free = torch.zeros_like(cosine)
    free[point, ray] = (hit < 0).float()
    return 4 / directions * (cosine * free) @ harmonics(sky)
