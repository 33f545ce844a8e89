"""HFA-GP driven by pictures that are not the training's: disturbed ones, and those of another person."""

from __future__ import annotations

import pytest
import torch
from small_layout import OWN

from artifacts.errors import InputError
from avatar_models.avatar_file import build_model
from avatar_models.dataset import evenly_spaced
from avatar_models.driving import cross_driving
from avatar_models.hfa_gp.drivers import disturbed
from avatar_models.hfa_gp.places import Places
from avatar_models.registry import make_config
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.weights import save_generator

NAME = "hfa_gp_rgb"


def model_of(data, tmp_path, *more):
    torch.manual_seed(0)
    save_generator(tmp_path / "p.safetensors", TriPlaneGenerator(OWN), {})
    words = [f"prior={tmp_path / 'p.safetensors'}", "directions=4", "driver_width=16", *more]
    return build_model(NAME, make_config(NAME, "tiny", words), data)


def test_places_are_bounded_along_each_axis():
    torch.manual_seed(0)
    places, reach = Places(3), torch.tensor([1.0, 2.0, 0.5])
    far = torch.tensor([50.0, -50.0, 50.0])
    assert torch.equal(places.within(far, reach, 3.0), far)
    places.take(torch.tensor([1.0, 0.0, 2.0]) + torch.randn(2000, 3) @ torch.randn(3, 3))
    steps = places.steps(reach)

    def along(amount):
        """How many standard deviations from the middle, along each axis."""
        return torch.linalg.solve(steps.mT, amount - places.mean)

    found = along(places.within(far, reach, 3.0))
    torch.testing.assert_close(found, along(far).clamp(-3, 3), atol=1e-3, rtol=0)
    near = places.mean + torch.tensor([0.5, -1.0, 2.0]) @ steps
    assert torch.equal(places.within(near, reach, 3.0), near)


def test_disturbed_pictures_are_the_same_person_in_another_light_and_place():
    picture = torch.ones(64, 64, 3)
    picture[24:40, 28:36] = torch.tensor([0.6, 0.4, 0.2])
    made = [disturbed(picture, 0.1, 32, torch.Generator().manual_seed(n)) for n in range(20)]
    again = disturbed(picture, 0.1, 32, torch.Generator().manual_seed(3))
    assert torch.equal(again, made[3])
    assert all(one.shape == (32, 32, 3) for one in made)
    # Around the person it stays white, also where the picture was moved.
    for one in made:
        rims = torch.cat([one[[0, -1]], one[:, [0, -1]].movedim(1, 0)])
        torch.testing.assert_close(rims, torch.ones_like(rims))
    colours = torch.stack([one[14:18, 15:17].mean((0, 1)) for one in made])
    assert (colours.std(0) > 0.02).all()
    assert (colours.mean(0) - torch.tensor([0.6, 0.4, 0.2])).abs().max() < 0.1
    rows = torch.stack([(1 - one).sum((1, 2)) for one in made])
    middles = (rows * torch.arange(32.0)).sum(1) / rows.sum(1)
    assert 0.3 < middles.std() < 2
    still = disturbed(picture, 0.0, 64, torch.Generator())
    torch.testing.assert_close(still, picture)


def test_another_person_moves_it_as_far_as_he_moves_himself(toy_data_of, toy_clip_of, tmp_path):
    data = toy_data_of(NAME)
    model = model_of(data, tmp_path)
    subject, driver = toy_clip_of(NAME), toy_clip_of(NAME)
    (crossed,) = cross_driving(subject, driver, torch.tensor([17]).numpy())
    shown = evenly_spaced(driver.usable_frames, 16)
    assert torch.equal(crossed.driver_pictures, driver.media.pictures.some(shown))
    with torch.no_grad():
        mean = model.driver(crossed.driver_pictures, 1.0).mean(0)
        own = model.driver(crossed.picture[None], 1.0)[0]
        torch.testing.assert_close(model.amount(crossed), own - mean)
        model.places.mean.fill_(0.25)
        torch.testing.assert_close(model.amount(crossed), own - mean + 0.25)
        # The same mean is not computed for every frame.
        assert model._place_of_other(crossed.driver_pictures) is model._other[1]


@pytest.mark.parametrize("count", [1, 3, 16, 100])
def test_pictures_are_spread_over_the_valid_frames(toy_clip_of, count):
    clip = toy_clip_of(NAME)
    clip.valid = clip.valid.copy()
    clip.valid[:5] = False
    frames = evenly_spaced(clip.usable_frames, count)
    assert len(frames) == len(set(frames)) == min(count, 15)
    assert min(frames) == 5
    assert count == 1 or max(frames) == clip.n_frames - 1


def test_pictures_are_disturbed_in_training_alone(toy_data_of, toy_clip_of, tmp_path):
    data = toy_data_of(NAME)
    model = model_of(data, tmp_path)
    signal = data.driving(3).picture
    changed = model._disturbed(signal, torch.Generator().manual_seed(0))
    assert changed.shape == (64, 64, 3)
    still = model_of(data, tmp_path, "picture_noise=0")
    assert still._disturbed(signal, torch.Generator()) is signal
    driving = toy_clip_of(NAME).driving(3)
    with torch.no_grad():
        assert torch.equal(model.amount(driving), model.amount(driving))


def test_a_picture_leads_no_further_than_the_training_has_been(toy_data_of, toy_clip_of, tmp_path):
    model = model_of(toy_data_of(NAME), tmp_path)
    driving = toy_clip_of(NAME).driving(3)
    with torch.no_grad():
        free = model.amount(driving)
        # A training that has hardly moved, far away from there.
        model.places.take(free + 5.0 + 1e-2 * torch.randn(500, 4))
        kept = model.amount(driving)
    spread = model.places.steps(model.subspace.reach).norm(dim=1).sum()
    assert not torch.equal(kept, free)
    assert (kept - model.places.mean).norm() < 4 * spread


@pytest.mark.parametrize("noise", ["-0.1", "2", "nan"])
def test_noise_that_leaves_no_picture_is_refused(toy_data_of, tmp_path, noise):
    with pytest.raises(InputError, match=r"picture_noise is .* choose 0 to 0\.5"):
        model_of(toy_data_of(NAME), tmp_path, f"picture_noise={noise}")
