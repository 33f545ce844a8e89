"""Volume rendering against closed forms and a float64 reference written as plain loops."""

import math

import pytest
import torch

from avatar_models.rendering.compositing import (
    composite,
    opacity_from_density,
    weights_from_density,
    weights_from_opacity,
)
from avatar_models.rendering.encoding import band_weights, encoded_size, positional_encoding
from avatar_models.rendering.sampling import (
    importance_edges,
    segment_edges,
    stratified_samples,
)


def march(density, length, colour, distance):
    """One ray in float64, front to back."""
    clear, total, opacity, depth = 1.0, [0.0] * 3, 0.0, 0.0
    for s, dt, c, t in zip(density, length, colour, distance, strict=True):
        weight = clear * (1 - math.exp(-s * dt))
        clear *= math.exp(-s * dt)
        total = [a + weight * b for a, b in zip(total, c, strict=True)]
        opacity += weight
        depth += weight * t
    return total, opacity, depth


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_composite_equals_reference(dtype, tolerance):
    g = torch.Generator().manual_seed(0)
    rays, samples = 5, 17
    density = 80 * torch.rand(rays, samples, generator=g, dtype=torch.float64) ** 3
    length = 0.02 * torch.rand(rays, samples, generator=g, dtype=torch.float64)
    colour = torch.rand(rays, samples, 3, generator=g, dtype=torch.float64)
    distance = length.cumsum(1)
    weights = weights_from_density(density.to(dtype), length.to(dtype))
    seen = composite(weights, colour.to(dtype), distance.to(dtype))
    for ray in range(rays):
        expected = march(
            density[ray].tolist(),
            length[ray].tolist(),
            colour[ray].tolist(),
            distance[ray].tolist(),
        )
        assert seen.colour[ray].tolist() == pytest.approx(expected[0], abs=tolerance)
        assert float(seen.opacity[ray]) == pytest.approx(expected[1], abs=tolerance)
        assert float(seen.depth[ray]) == pytest.approx(expected[2], abs=tolerance)


def test_constant_density_absorbs_as_one_slab():
    length = torch.full((1, 50), 0.1 / 50, dtype=torch.float64)
    weights = weights_from_density(torch.full_like(length, 30.0), length)
    assert float(weights.sum()) == pytest.approx(1 - math.exp(-30 * 0.1), abs=1e-12)
    assert (weights[0, 1:] < weights[0, :-1]).all()


def test_opaque_sample_hides_all_behind_it():
    weights = weights_from_opacity(torch.tensor([[0.25, 1.0, 0.9]]))
    assert weights.tolist() == [[0.25, 0.75, 0.0]]


def test_opacity_of_nothing_is_zero_and_small_densities_keep_precision():
    assert float(opacity_from_density(torch.tensor(0.0), torch.tensor(1.0))) == 0
    tiny = opacity_from_density(torch.tensor(1e-6), torch.tensor(1e-4))
    assert float(tiny) == pytest.approx(1e-10, rel=1e-5)


def test_background_shows_through_what_is_clear():
    weights = torch.tensor([[0.5, 0.25]])
    colour = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])
    seen = composite(weights, colour, torch.tensor([[1.0, 2.0]]))
    assert seen.over(torch.tensor([[0.0, 0, 1.0]])).tolist() == [[0.5, 0.25, 0.25]]
    assert float(seen.depth) == 1.0


def test_gradients_of_weights():
    density = torch.rand(2, 6, dtype=torch.float64, requires_grad=True)
    length = torch.rand(2, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda d: weights_from_density(d, length), density)


@pytest.mark.parametrize("n_bands", [0, 1, 6, 10])
def test_encoding_equals_sines_and_cosines(n_bands):
    vector = torch.linspace(-1, 1, 24).view(8, 3)
    found = positional_encoding(vector, n_bands)
    parts = [vector.double()]
    for band in range(n_bands):
        angle = 2**band * math.pi * vector.double()
        parts += [angle.sin(), angle.cos()]
    assert found.shape[-1] == encoded_size(3, n_bands)
    assert float((found - torch.cat(parts, -1)).abs().max()) < 1e-3


def test_bands_open_one_after_the_other():
    assert band_weights(4.0, 4).tolist() == pytest.approx([1, 1, 1, 1])
    assert band_weights(1.5, 4).tolist() == pytest.approx([1, 0.5, 0, 0], abs=1e-6)
    vector = torch.rand(5, 3)
    closed = positional_encoding(vector, 4, band_weights(0.0, 4))
    assert torch.equal(closed[:, :3], vector)
    assert float(closed[:, 3:].abs().max()) == 0


def test_stratified_samples_lie_in_their_segments():
    near, far = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 2.5])
    edges = segment_edges(near, far, 8)
    g = torch.Generator().manual_seed(1)
    jittered = stratified_samples(edges, g)
    assert (jittered >= edges[:, :-1]).all()
    assert (jittered <= edges[:, 1:]).all()
    middle = stratified_samples(edges)
    assert middle[1].tolist() == pytest.approx([2 + (i + 0.5) / 16 for i in range(8)])


def test_importance_edges_hold_equal_shares():
    edges = torch.tensor([[0.0, 1.0, 2.0, 4.0]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 3.0, 0.0]], dtype=torch.float64)
    found = importance_edges(edges, weights, 4, floor=1e-9)
    assert found[0].tolist() == pytest.approx([0, 1, 4 / 3, 5 / 3, 4], abs=1e-4)


def test_importance_edges_of_an_empty_ray_are_even_in_share_and_in_order():
    edges = segment_edges(torch.tensor([1.0]), torch.tensor([3.0]), 4)
    found = importance_edges(edges, torch.zeros(1, 4), 8)
    assert found[0].tolist() == pytest.approx([1 + i / 4 for i in range(9)], abs=1e-5)


def test_importance_samples_follow_the_weights():
    edges = segment_edges(torch.zeros(1), torch.ones(1), 32)
    centre = stratified_samples(edges)
    weights = torch.exp(-(((centre - 0.7) / 0.05) ** 2))
    samples = stratified_samples(importance_edges(edges, weights, 64, floor=1e-3))[0]
    assert float(samples.median()) == pytest.approx(0.7, abs=0.01)
    # A Gaussian of this width holds 68 % within 0.035 of its middle.
    assert float(((samples - 0.7).abs() < 0.05 / math.sqrt(2)).float().mean()) == pytest.approx(
        0.68, abs=0.06
    )
