"""Normals of a surface and points spread over it."""

import numpy as np
import torch
from scipy.spatial import ConvexHull

from head_geometry.normals import vertex_normals
from head_geometry.surface_points import spread_points


def sphere(count: int = 800) -> tuple[torch.Tensor, torch.Tensor]:
    """A unit sphere, triangles counter-clockwise seen from outside."""
    index = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * index / count), np.pi * (1 + 5**0.5) * index
    points = np.stack(
        [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], 1
    )
    triangle = ConvexHull(points).simplices
    a, b, c = (points[triangle[:, corner]] for corner in range(3))
    inward = (np.cross(b - a, c - a) * a).sum(1) < 0
    triangle[inward] = triangle[inward][:, ::-1]
    return torch.from_numpy(points).float(), torch.from_numpy(triangle).long()


def test_normals_of_a_sphere_are_its_points():
    points, triangle = sphere()
    both = vertex_normals(torch.stack([points, 2 * points]), triangle)
    assert torch.allclose(both[0], points, atol=0.06)
    assert torch.allclose(both[0], both[1], atol=1e-5)


def test_a_vertex_of_no_triangle_has_no_normal():
    points, triangle = sphere()
    lonely = torch.cat([points, torch.zeros(1, 3)])
    assert not vertex_normals(lonely, triangle)[-1].any()


def test_points_are_spread_by_area_and_always_the_same():
    points, triangle = sphere()
    chosen = points[triangle].mean(1)[:, 2] > 0
    spread = spread_points(points, triangle, chosen, 4000)
    again = spread_points(points, triangle, chosen, 4000)
    assert torch.equal(spread.face, again.face)
    assert torch.equal(spread.barycentric, again.barycentric)
    assert bool(chosen[spread.face].all())
    assert torch.allclose(spread.barycentric.sum(1), torch.ones(4000), atol=1e-6)
    assert bool((spread.barycentric >= 0).all())
    places = spread.at(points)
    # Half a sphere: heights are evenly distributed (Archimedes), directions too.
    heights = np.sort(places[:, 2].numpy())
    # The lowest triangles reach below the equator.
    assert np.abs(heights - np.linspace(0, 1, 4000))[400:].max() < 0.02
    quarter = np.histogram(
        torch.atan2(places[:, 1], places[:, 0]).numpy(), bins=4, range=(-np.pi, np.pi)
    )[0]
    assert np.abs(quarter / 1000 - 1).max() < 0.1
