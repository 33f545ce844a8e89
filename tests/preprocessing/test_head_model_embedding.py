"""The landmark places, found from pictures whose points are known."""

import numpy as np
import pytest
import torch

from head_geometry.surface import mirror_places, nearest_barycentric, nearest_on_surface
from preprocessing.head_model import make_model
from preprocessing.head_models.build import build_head_arrays
from preprocessing.head_models.embedding import (
    MEDIAPIPE_POINTS,
    Sightings,
    mirror_partners,
    point_groups,
    robust_middle,
)
from preprocessing.head_models.portraits import Photographer


@pytest.fixture(scope="module")
def model():
    return make_model(build_head_arrays(sample_count=60, component_count=20, seed=0))


def known_places(model):
    """A symmetric set of places, each on its group's surface, on the front of the head."""
    random = np.random.default_rng(0)
    triangle = model.triangle.numpy()
    template = model.template.double().numpy()
    corners = template[triangle]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    front = (normal[:, 2] > 0.75) & (corners.mean(1)[:, 2] > 0.08)
    face = np.zeros(MEDIAPIPE_POINTS, np.int64)
    for group in point_groups(model):
        choice = np.flatnonzero(group.face & front)
        face[group.index] = random.choice(choice, len(group.index))
    return face, np.full((MEDIAPIPE_POINTS, 3), 1 / 3)


@pytest.mark.slow
def test_places_are_recovered_from_pictures_with_noisy_points(model):
    face, weights = known_places(model)
    photographer = Photographer(model, 160, seed=5)
    sightings = Sightings(model)
    random = np.random.default_rng(1)
    triangle = model.triangle.numpy()
    for number in range(70):
        portrait = photographer.take()
        corners = portrait.vertices[torch.from_numpy(triangle[face])]
        places = (corners * torch.from_numpy(weights).float()[..., None]).sum(1)
        pixels = portrait.project(places).numpy() + random.normal(0, 0.5, (MEDIAPIPE_POINTS, 2))
        if number % 10 == 0:
            pixels += 25  # a picture in which the detector is wrong
        sightings.add(portrait, np.concatenate([pixels, pixels[:, :1]], 1))
    places = np.stack(sightings._places)
    middle = robust_middle(places, np.stack(sightings._seen))
    truth = (model.template.double().numpy()[triangle[face]] * weights[..., None]).sum(1)
    rest = sightings.groups[-1].index
    error = np.linalg.norm(middle - truth, axis=1)[rest]
    assert np.median(error) < 0.7e-3
    assert np.quantile(error, 0.95) < 2e-3


def test_nearest_places_equal_a_dense_search():
    random = np.random.default_rng(0)
    corners = random.normal(size=(20, 3, 3))
    points = random.normal(size=(20, 3))
    found = nearest_barycentric(points, corners)
    np.testing.assert_allclose(found.sum(-1), 1)
    assert found.min() >= -1e-12
    steps = np.linspace(0, 1, 201)
    u, v = (a.ravel() for a in np.meshgrid(steps, steps))
    grid = np.stack([u, v, 1 - u - v], 1)[u + v <= 1]
    for point, triangle, weights in zip(points, corners, found, strict=True):
        dense = np.linalg.norm(grid @ triangle - point, axis=1).min()
        assert np.linalg.norm(weights @ triangle - point) <= dense + 1e-12


def test_nearest_on_surface_keeps_to_the_allowed_triangles(model):
    vertices, triangle = model.template.double().numpy(), model.triangle.numpy()
    allowed = np.flatnonzero(point_groups(model)[0].face)
    wanted = vertices[triangle[allowed[::50]]].mean(1) + np.array([0, 0, 0.001])
    face, weights = nearest_on_surface(wanted, vertices, triangle, allowed)
    assert np.isin(face, allowed).all()
    places = (vertices[triangle[face]] * weights[..., None]).sum(1)
    assert np.linalg.norm(places - wanted, axis=1).max() <= 0.001 + 1e-9


def test_mirrored_places_are_mirror_images(model):
    triangle, mirror = model.triangle.numpy(), model.mirror_vertex.numpy()
    random = np.random.default_rng(2)
    face = random.integers(0, len(triangle), 40)
    weights = random.dirichlet([1, 1, 1], 40)
    other, other_weights = mirror_places(face, weights, triangle, mirror)
    template = model.template.double().numpy()
    here = (template[triangle[face]] * weights[..., None]).sum(1)
    there = (template[triangle[other]] * other_weights[..., None]).sum(1)
    np.testing.assert_allclose(there, here * [-1, 1, 1], atol=1e-6)


def test_partners_are_found_without_names():
    random = np.random.default_rng(3)
    left = random.uniform([0.01, -0.05, 0], [0.06, 0.05, 0.1], (12, 3))
    middle = np.stack([np.zeros(3), np.linspace(-0.05, 0.05, 3), np.full(3, 0.1)], 1)
    points = np.concatenate([left, left * [-1, 1, 1], middle])
    points += random.normal(0, 1e-4, points.shape)
    expected = [*range(12, 24), *range(12), 24, 25, 26]
    np.testing.assert_array_equal(mirror_partners(points), expected)


def test_the_middle_ignores_outliers_and_unseen_places():
    random = np.random.default_rng(4)
    places = random.normal(0, 1e-3, (50, 2, 3)) + np.array([[0.1, 0, 0], [0, 0.1, 0]])
    seen = np.ones((50, 2), bool)
    places[:15, 0] += 0.05
    places[:20, 1], seen[:20, 1] = 9.0, False
    middle = robust_middle(places, seen)
    assert np.linalg.norm(middle - [[0.1, 0, 0], [0, 0.1, 0]], axis=1).max() < 1.5e-3
