"""The personal subspace, the drivers and the encoder of pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_layout import TINY

from artifacts.errors import InputError
from avatar_models.driving_signals import WINDOWS
from avatar_models.hfa_gp.config import HfaGpConfig
from avatar_models.hfa_gp.drivers import (
    ExpressionDriver,
    PictureDriver,
    SoundDriver,
)
from avatar_models.hfa_gp.encoder import EqualisedConvolution, PictureEncoder
from avatar_models.hfa_gp.subspace import PersonalSubspace
from avatar_models.triplane.backbone import Mapping


def test_directions_are_orthonormal_and_lie_in_the_span_of_their_vectors():
    torch.manual_seed(0)
    subspace = PersonalSubspace(50, 14, 512)
    basis = subspace.basis()
    assert torch.allclose(basis @ basis.T, torch.eye(50), atol=1e-5)
    left = subspace.vector - subspace.vector @ basis.T @ basis
    assert left.norm() < 1e-4 * subspace.vector.norm()
    assert ((basis * subspace.vector).sum(1) > 0).all()


def test_a_small_change_of_the_vectors_is_a_small_change_of_the_directions():
    torch.manual_seed(0)
    subspace = PersonalSubspace(8, 4, 16)
    before = subspace.basis().detach()
    with torch.no_grad():
        subspace.vector += 1e-4 * torch.randn_like(subspace.vector)
    assert (subspace.basis() - before).abs().max() < 1e-2


def test_latents_are_the_offset_plus_the_directions():
    torch.manual_seed(0)
    subspace = PersonalSubspace(3, 4, 16)
    assert torch.allclose(subspace.offset, subspace.vector.mean(0))
    amount = torch.tensor([[0.0, 2.0, 0.0]])
    moved = subspace(amount) - subspace(torch.zeros(1, 3))
    assert torch.allclose(moved.flatten(), 2 * subspace.basis()[1], atol=1e-6)


def test_a_subspace_starts_where_the_prior_varies():
    torch.manual_seed(0)
    layout = replace(TINY, z_dim=6, w_dim=8, label_off=True, z_unit_moment=False, person_z=4)
    mapping = Mapping(layout)
    mapping.w_avg.normal_()
    subspace = PersonalSubspace(5, layout.n_latents, 8)
    subspace.start_at(mapping, torch.Generator().manual_seed(0))
    assert torch.equal(subspace.offset.view(-1, 8)[2], mapping.w_avg)
    basis = subspace.basis()
    assert torch.allclose(basis @ basis.T, torch.eye(5), atol=1e-5)
    # A step of one is one standard deviation of the prior's latents while the person stays the same.
    z = torch.randn(4000, 6)
    z[:, :4] = 0
    latents = mapping(z, torch.zeros(4000, 25)).flatten(1)
    places = (latents - latents.mean(0)) @ basis.T / subspace.reach
    assert torch.allclose(places.std(0)[:3], torch.ones(3), atol=0.1)
    # Hardly anything of the latents lies outside.
    left = latents - latents.mean(0) - (places * subspace.reach) @ basis
    assert left.square().sum() < 0.02 * (latents - latents.mean(0)).square().sum()


def test_directions_that_a_prior_does_not_have_stay_random():
    torch.manual_seed(0)
    layout = replace(TINY, label_off=True)
    mapping = Mapping(layout)
    subspace = PersonalSubspace(12, layout.n_latents, layout.w_dim)
    before = subspace.vector.detach().clone()
    subspace.start_at(mapping, torch.Generator().manual_seed(0))
    assert torch.equal(subspace.vector[8:], before[8:])
    assert not torch.equal(subspace.vector[7], before[7])
    assert torch.isfinite(subspace(torch.ones(1, 12))).all()


@pytest.mark.parametrize("directions", [0, 65])
def test_more_directions_than_latents_are_refused(directions):
    with pytest.raises(InputError, match="choose 1 to 64"):
        PersonalSubspace(directions, 4, 16)


def test_the_expression_driver_is_affine_in_standardised_codes():
    torch.manual_seed(0)
    driver = ExpressionDriver(replace(HfaGpConfig(), driver_width=32), 7)
    codes = torch.randn(40, 7) * torch.linspace(0.1, 3, 7) + 5
    driver.measure(codes)
    a, b = codes[0], codes[1]
    found = driver(torch.stack([a, b, (a + b) / 2]), 1.0)
    assert found.shape == (3, 50)
    assert torch.allclose((found[0] + found[1]) / 2, found[2], atol=1e-5)
    scaled = ExpressionDriver(replace(HfaGpConfig(), driver_width=32), 7)
    scaled.load_state_dict(driver.state_dict())
    scaled.measure(codes * 10)
    assert torch.allclose(scaled(a[None] * 10, 1.0)[0], found[0], atol=1e-4)


def test_published_sizes_of_the_drivers():
    paper = HfaGpConfig.preset("paper")
    linear = ExpressionDriver(paper, 76).mapper
    assert [tuple(layer.weight.shape) for layer in linear] == [
        (512, 76),
        *[(512, 512)] * 5,
        (50, 512),
    ]
    sound = SoundDriver(paper, 29)
    assert [tuple(layer.weight.shape) for layer in sound.convolutions] == [
        (32, 29, 3),
        (32, 32, 3),
        (64, 32, 3),
        (64, 64, 3),
    ]
    picture = PictureDriver(paper)
    assert len(picture.mapper) == 5
    assert picture.encoder.last.weight.shape == (512, 512, 4, 4)
    assert [block.conv1.weight.shape[0] for block in picture.encoder.blocks] == [
        128,
        256,
        512,
        512,
        512,
        512,
    ]


def test_the_encoder_halves_exactly_and_takes_any_size():
    torch.manual_seed(0)
    convolution = EqualisedConvolution(2, 3, 3, halves=True)
    image = torch.randn(1, 2, 16, 16)
    found = convolution(image)
    assert found.shape == (1, 3, 8, 8)
    # A picture that is shifted by two pixels gives a result that is shifted by one, but for the border.
    shifted = convolution(image.roll(2, -1))
    assert torch.allclose(shifted[..., 3:-2], found.roll(1, -1)[..., 3:-2], atol=1e-5)
    encoder = PictureEncoder(32, 256, 24)
    assert encoder(torch.rand(2, 3, 50, 50)).shape == (2, 24)


def test_sound_is_the_middle_window_first_and_all_of_them_later():
    torch.manual_seed(0)
    driver = SoundDriver(replace(HfaGpConfig(), driver_width=16, attention_start=0.5), 29)
    sound = torch.randn(WINDOWS, 16, 29)
    other = sound.clone()
    other[0] += 1
    both = torch.stack([sound, other])
    early, late = driver(both, 0.2), driver(both, 0.7)
    assert torch.equal(*early)
    assert (late[0] - late[1]).abs().max() > 1e-6
    # What is learnt of several moments at once is what is learnt of each.
    assert torch.allclose(driver(other[None], 0.7)[0], late[1], atol=1e-6)
    weights = driver.attend(driver.embed(sound)[None])[0]
    assert float(weights.detach().sum()) == pytest.approx(1)
    assert (weights > 0).all()
    middle = driver.embed(sound)[WINDOWS // 2]
    assert torch.allclose(driver.mapper(middle), early[0], atol=1e-6)
