"""A sound does not learn by heart what frames show beside the lips."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_layout import OWN

from artifacts.errors import InputError
from avatar_models.avatar_file import build_model
from avatar_models.hfa_gp.lips import LipPlaces
from avatar_models.hfa_gp.model import restore_model
from avatar_models.registry import make_config
from avatar_models.trainer import Training
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.weights import save_generator

NAME = "hfa_gp_audio"


@pytest.fixture
def prior(tmp_path):
    torch.manual_seed(0)
    save_generator(tmp_path / "p.safetensors", TriPlaneGenerator(OWN), {})
    return tmp_path / "p.safetensors"


def options(prior, *more):
    settings = ("steps=8", "max_minutes=0", "directions=4", "patch=16", "driver_width=16")
    return make_config(NAME, "tiny", [f"prior={prior}", "lips_alone=true", *settings, *more])


def lips_of(clip, frames):
    """Lips of the posed mesh with all joints at rest (the toy has no jaw joint)."""
    rest = torch.zeros_like(clip.joint_rotation[frames])
    vertices = clip.head_model.vertices(clip.identity, clip.expression[frames], rest)
    points = clip.head_model.landmark_points(vertices, clip.landmark_set)
    return points[:, list(clip.landmark_set.lips)].flatten(1)


def places_of(data):
    places = LipPlaces(data.clip.code.shape[1], 3)
    return places, places.measure(data.clip, data.train_frames)


def test_numbers_are_the_lips_and_what_says_nothing_of_them(toy_data):
    clip, frames = toy_data.clip, toy_data.train_frames
    places, found = places_of(toy_data)
    assert found.shape == (len(frames), 8 + clip.code.shape[1] + 12)
    lips = lips_of(clip, frames)
    around = lips - lips.mean(0)
    assert around.abs().max() > 1e-4
    shapes, beside = found[:, :8], found[:, 8:]
    # They tell the lips ...
    told = shapes @ torch.linalg.lstsq(shapes, around, driver="gelsd").solution
    assert (told - around).norm() / around.norm() < 0.05
    there = shapes.abs().amax(0) > 0
    assert there[0]
    torch.testing.assert_close(
        shapes[:, there].mT @ shapes[:, there] / len(shapes),
        torch.eye(int(there.sum())),
        atol=1e-4,
        rtol=0,
    )
    # ... and expressions beside them do not, though they did.
    codes = beside[:, ~places.is_given]
    assert codes.shape[1] == clip.expression.shape[1]
    assert (codes.mT @ shapes / len(codes)).abs().max() < 1e-4
    before = clip.expression[frames]
    before = (before - before.mean(0)) / before.std(0, correction=0).clamp_min(1e-3)
    assert (before.mT @ shapes / len(codes)).abs().max() > 0.5
    # Neck, gaze and pose are as they are.
    joints = clip.joint_rotation[frames].flatten(1)
    pose = clip.camera_from_head[frames][:, :3].flatten(1)
    given = torch.cat([joints, pose], 1)
    moved = beside[:, places.is_given] * places.code_std[places.is_given]
    torch.testing.assert_close(moved, given - given.mean(0), atol=1e-6, rtol=1e-4)


def test_frames_of_a_long_clip_are_taken_by_pieces(toy_data, monkeypatch):
    _, whole = places_of(toy_data)
    monkeypatch.setattr("avatar_models.hfa_gp.lips._CHUNK", 5)
    torch.testing.assert_close(places_of(toy_data)[1], whole, atol=1e-3, rtol=0)


def test_signs_of_shapes_are_no_matter_of_chance(toy_data, monkeypatch):
    _, before = places_of(toy_data)
    real = torch.linalg.svd

    def other(matrix, full_matrices):
        left, values, right = real(matrix, full_matrices=full_matrices)
        flips = 1 - 2 * (torch.arange(len(values)) % 2)
        return left * flips, values, right * flips[:, None]

    monkeypatch.setattr(torch.linalg, "svd", other)
    torch.testing.assert_close(places_of(toy_data)[1], before)


def test_shapes_count_as_much_as_they_move_the_lips(toy_data):
    places, numbers = places_of(toy_data)
    lips = lips_of(toy_data.clip, toy_data.train_frames)
    moved = (lips - lips.mean(0)).square().sum(1).mean()
    # A mesh whose lips stay at their mean is wrong by all that they move.
    assert float(places.lip_error(torch.zeros(len(numbers), 8), numbers)) == pytest.approx(
        1, abs=1e-3
    )
    # One that lacks the second shape is wrong by that shape's own variance.
    told = numbers[:, :8].clone()
    told[:, 1] = 0
    entries = lips - lips.mean(0)
    second = numbers[:, 1] / len(numbers)
    variance = (second @ entries).square().sum()
    wanted = float(variance / moved)
    assert float(places.lip_error(told, numbers)) == pytest.approx(wanted, rel=1e-2)


def test_lips_that_never_move_have_no_shapes(toy_data):
    clip, frames = toy_data.clip, toy_data.train_frames
    clip.expression = clip.expression[:1].expand_as(clip.expression).clone()
    _, found = places_of(toy_data)
    assert torch.isfinite(found).all()
    assert len(found) == len(frames)
    assert (found[:, :8] == 0).all()


def test_a_jaw_that_opens_the_mouth_is_not_given(toy_data):
    clip = toy_data.clip
    clip.head_model = replace(clip.head_model, joint_name=("neck", "jaw", "a", "b"))
    places, _ = places_of(toy_data)
    n_expressions = clip.expression.shape[1]
    assert not places.is_given[:n_expressions].any()
    assert places.is_given[n_expressions:].tolist() == [
        *[True] * 3,
        *[False] * 3,
        *[True] * (6 + 12),
    ]


def test_it_starts_at_the_nearest_linear_map_of_expressions():
    torch.manual_seed(0)
    numbers = torch.randn(200, 8 + 18)
    found = LipPlaces(6, 3)
    found.is_given[6:] = True
    wanted = numbers[:, :14] @ torch.randn(14, 3)
    # A pose that goes along with a place is no reason for it.
    numbers[:, 14] = wanted[:, 0] + torch.randn(200)
    assert found(numbers).abs().max() == 0
    found.start_at(numbers, wanted)
    for places in (found(numbers), found.of_expression(numbers)):
        assert (places - wanted).square().mean() / wanted.square().mean() < 1e-3
    with torch.no_grad():
        found.linear.weight[:, 14] = 1.0
        assert not torch.allclose(found(numbers), wanted, atol=0.1)
        assert torch.equal(found.of_expression(numbers), places)


def trained(data, config, steps):
    torch.manual_seed(0)
    model = build_model(NAME, config, data)
    training = Training(model, config, data, seed=0)
    for _ in range(steps):
        training.take_step()
    return model, training


def test_rendered_frames_differ_in_sound_pose_neck_and_gaze_alone(toy_data_of, toy_clip_of, prior):
    config = options(prior)
    model, _ = trained(toy_data_of(NAME), config, 4)
    clip = toy_clip_of(NAME)
    one, other = clip.driving(2), clip.driving(9)
    with torch.no_grad():
        n_expressions = clip.expression.shape[1]
        code = torch.cat([other.code[:n_expressions], one.code[n_expressions:]])
        assert not torch.equal(code, one.code)
        assert torch.equal(model.amount(replace(one, code=code)), model.amount(one))
        assert not torch.equal(model.amount(replace(one, sound=other.sound)), model.amount(one))
        turned = torch.cat([one.code[:n_expressions], one.code[n_expressions:] + 0.1])
        assert not torch.equal(model.amount(replace(one, code=turned)), model.amount(one))
        poses = [one.camera_from_head.clone() for _ in range(3)]
        for pose, shift_m in zip(poses, (0.001, 5.0, 50.0), strict=True):
            pose[0, 3] += shift_m
        near, far, further = (model.amount(replace(one, camera_from_head=p)) for p in poses)
        assert not torch.equal(near, model.amount(one))
        assert not torch.equal(far, near)
        assert torch.equal(far, further)
        restored = restore_model(config, model.state_dict())
        restored.load_state_dict(model.state_dict())
        assert torch.equal(restored.amount(one), model.amount(one))


def test_a_sound_learns_the_fitted_lips_and_pictures_teach_it_nothing(toy_data_of, prior):
    config = options(prior, "steps=60")
    model, training = trained(toy_data_of(NAME), config, 60)
    lips = training.losses.table()[:, training.losses.names.index("lips")]
    assert lips[-5:].mean() < 0.7 * lips[:5].mean()
    data = toy_data_of(NAME)
    model.zero_grad(set_to_none=True)
    losses = model.training_losses(data, 0.9, torch.Generator().manual_seed(1))
    drawn = losses["colour"] + losses["opacity"]
    drawn.backward()
    assert all(parameter.grad is None for parameter in model.driver.parameters())
    assert model.lip_places.linear.weight.grad.abs().max() > 0
    losses["lips"].backward()
    assert all(parameter.grad is not None for parameter in model.driver.mapper.parameters())


def test_noise_is_measured_in_what_the_sound_varies_by(toy_data_of, prior):
    data = toy_data_of(NAME)
    model = build_model(NAME, options(prior, "sound_noise=0.5"), data)
    own = torch.stack([data.driving(int(frame)).sound[4] for frame in data.train_frames])
    std = own.flatten(0, 1).std(0, correction=0)
    sound = data.driving(0).sound
    draws = [
        model.driver.with_noise(sound, 0.5, torch.Generator().manual_seed(n)) for n in range(2)
    ]
    noise = (draws[0] - sound).flatten(0, 1).std(0)
    assert not torch.equal(*draws)
    torch.testing.assert_close(noise, 0.5 * std, rtol=0.4, atol=1e-3)
    plain = build_model(NAME, options(prior, "sound_noise=0"), data)
    assert torch.equal(plain.driver.sound_std, torch.ones(len(std)))


@pytest.mark.parametrize("noise", ["-0.5", "11", "nan"])
def test_a_noise_that_is_none_is_refused(toy_data_of, prior, noise):
    with pytest.raises(InputError, match="sound_noise is"):
        build_model(NAME, options(prior, f"sound_noise={noise}"), toy_data_of(NAME))


def test_without_it_the_sound_says_the_place(toy_data_of, prior):
    config = options(prior, "lips_alone=false")
    model = build_model(NAME, config, toy_data_of(NAME))
    assert model.lip_places is None
    assert not [name for name in model.state_dict() if name.startswith("lip_places")]


def test_presets_that_are_short_have_it_and_the_published_one_has_not():
    assert not make_config(NAME, "paper", []).lips_alone
    assert make_config(NAME, "fast", []).lips_alone
    assert make_config(NAME, "tiny", []).lips_alone
