"""Texture coordinates and mirror images of meshes that come without them."""

import numpy as np
import pytest
import torch
from published_files import ball, head_mesh

from head_geometry.rasteriser import rasterise_uv
from preprocessing.head_models.mesh import texture_islands
from preprocessing.head_models.mirror import mirror_vertices
from preprocessing.head_models.unwrap import unwrap


def signed_areas(uv, triangle_uv):
    corners = uv[triangle_uv]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2


def torus():
    """A surface with a hole through it, which no single cut lays flat."""
    n, m = 16, 10
    i, j = np.meshgrid(np.arange(n), np.arange(m), indexing="ij")
    u, v = 2 * np.pi * i / n, 2 * np.pi * j / m
    around = 0.06 + 0.02 * np.cos(v)
    places = np.stack([around * np.cos(u), 0.02 * np.sin(v), around * np.sin(u)], -1).reshape(-1, 3)
    a, b = i * m + j, ((i + 1) % n) * m + j
    c, d = i * m + (j + 1) % m, ((i + 1) % n) * m + (j + 1) % m
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).reshape(-1, 3)
    return places, faces


def crossed():
    """Three triangles on one edge, and two that touch in a corner."""
    places = np.array(
        [[0, 0, 0], [0, 0.1, 0], [0.1, 0, 0], [-0.1, 0, 0.02], [0, 0, 0.1], [0.2, 0.1, 0]]
    )
    return places, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4], [2, 5, 4]])


MESHES = {
    "head": lambda: head_mesh()[:2],
    "ball": ball,
    "torus": torus,
    "crossed": crossed,
}


@pytest.mark.parametrize("name", MESHES)
def test_charts_neither_fold_nor_overlap_nor_span_a_seam(name):
    places, faces = MESHES[name]()
    uv, triangle_uv = unwrap(places, faces)
    area = signed_areas(uv, triangle_uv)
    assert uv.min() >= 0
    assert uv.max() <= 1
    islands = texture_islands(triangle_uv)
    for island in range(islands.max() + 1):
        assert abs(np.sign(area[islands == island]).sum()) == (islands == island).sum()
    face, _ = rasterise_uv(torch.tensor(uv).float(), torch.tensor(triangle_uv), (512, 512))
    assert np.abs(area).sum() == pytest.approx((face >= 0).float().mean().item(), rel=0.03)
    # A triangle across a seam would be many times longer than its share.
    corners = uv[triangle_uv]
    edge = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(1)
    wanted = np.linalg.norm(places[faces] - np.roll(places[faces], 1, axis=1), axis=-1).max(1)
    ratio = (edge / wanted) / np.median(edge / wanted)
    assert ratio.max() < 6


def test_a_head_takes_two_charts_and_each_eye_two():
    places, faces = MESHES["head"]()
    _, triangle_uv = unwrap(places, faces)
    assert texture_islands(triangle_uv).max() + 1 == 6


def test_mirror_images_are_found_although_places_alone_mislead():
    places, faces = ball(40, 60)
    places = places * [0.075, 0.13, 0.095]
    # One side is higher than the other by most of the distance between neighbours.
    bent = places + 0.008 * np.clip(places[:, :1] / 0.03, 0, 1) * np.array([0.1, 1, 0.3])
    near = np.linalg.norm((bent * [-1, 1, 1])[:, None] - bent, axis=-1).argmin(1)
    exact = np.linalg.norm((places * [-1, 1, 1])[:, None] - places, axis=-1).argmin(1)
    assert (near == exact).mean() < 0.8
    mirror, matched = mirror_vertices(bent, faces)
    assert matched == 1
    np.testing.assert_array_equal(mirror, exact)


def test_exact_mirror_images_are_exact():
    places, faces, _ = head_mesh()
    mirror, matched = mirror_vertices(places, faces)
    assert matched == 1
    np.testing.assert_allclose(places[mirror], places * [-1, 1, 1], atol=1e-9)
