"""A sound does not learn by heart what frames show beside the lips."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_layout import OWN

from avatar_models.avatar_file import build_model
from avatar_models.hfa_gp.beside import BesideLips
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


def beside_of(data):
    beside = BesideLips(data.clip.code.shape[1], 3)
    return beside, beside.measure(data.clip, data.train_frames)


def test_codes_beside_the_lips_say_nothing_of_the_lips(toy_data):
    clip, frames = toy_data.clip, toy_data.train_frames
    beside, found = beside_of(toy_data)
    assert found.shape == (len(frames), clip.code.shape[1] + 12)
    codes = found[:, ~beside.is_given]
    assert codes.shape[1] == clip.expression.shape[1]
    lips = lips_of(clip, frames)
    around = lips - lips.mean(0)
    assert around.abs().max() > 1e-4
    moving = around[:, around.std(0) > 1e-5]
    moving = moving / moving.std(0, correction=0)
    assert (codes.mT @ moving / len(codes)).abs().max() < 1e-2
    before = clip.expression[frames]
    before = (before - before.mean(0)) / before.std(0, correction=0).clamp_min(1e-3)
    assert (before.mT @ moving / len(codes)).abs().max() > 0.5
    # Neck, gaze and pose are as they are.
    joints = clip.joint_rotation[frames].flatten(1)
    pose = clip.camera_from_head[frames][:, :3].flatten(1)
    given = torch.cat([joints, pose], 1)
    moved = found[:, beside.is_given] * beside.code_std[beside.is_given]
    torch.testing.assert_close(moved, given - given.mean(0), atol=1e-6, rtol=1e-4)


def test_frames_of_a_long_clip_are_taken_by_pieces(toy_data, monkeypatch):
    _, whole = beside_of(toy_data)
    monkeypatch.setattr("avatar_models.hfa_gp.beside._CHUNK", 5)
    torch.testing.assert_close(beside_of(toy_data)[1], whole, atol=1e-4, rtol=0)


def test_a_jaw_that_opens_the_mouth_is_not_given(toy_data):
    clip = toy_data.clip
    clip.head_model = replace(clip.head_model, joint_name=("neck", "jaw", "a", "b"))
    beside, _ = beside_of(toy_data)
    n_expressions = clip.expression.shape[1]
    assert not beside.is_given[:n_expressions].any()
    assert beside.is_given[n_expressions:].tolist() == [
        *[True] * 3,
        *[False] * 3,
        *[True] * (6 + 12),
    ]


def test_it_starts_at_the_nearest_linear_map_of_expressions():
    torch.manual_seed(0)
    codes = torch.randn(200, 18)
    beside = BesideLips(6, 3)
    beside.is_given[6:] = True
    places = codes[:, :6] @ torch.randn(6, 3)
    # A pose that goes along with a place is no reason for it.
    codes[:, 6] = places[:, 0] + torch.randn(200)
    assert beside(codes).abs().max() == 0
    beside.start_at(codes, places)
    for found in (beside(codes), beside.of_expression(codes)):
        assert (found - places).square().mean() / places.square().mean() < 1e-3
    with torch.no_grad():
        beside.linear.weight[:, 6] = 1.0
        assert not torch.allclose(beside(codes), places, atol=0.1)
        assert torch.equal(beside.of_expression(codes), found)


def test_training_frames_differ_beside_the_lips_and_rendered_ones_in_pose_neck_and_gaze_alone(
    toy_data_of, toy_clip_of, prior
):
    data = toy_data_of(NAME)
    config = options(prior)
    torch.manual_seed(0)
    model = build_model(NAME, config, data)
    training = Training(model, config, data, seed=0)
    for _ in range(4):
        training.take_step()
    clip = toy_clip_of(NAME)
    one, other = clip.driving(2), clip.driving(9)
    with torch.no_grad():
        beside = model.beside(model._codes_beside)
        assert not torch.allclose(beside[2], beside[9], atol=1e-6)
        n_expressions = clip.expression.shape[1]
        code = torch.cat([other.code[:n_expressions], one.code[n_expressions:]])
        assert not torch.equal(code, one.code)
        assert torch.equal(model.amount(replace(one, code=code)), model.amount(one))
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


def test_without_it_nothing_is_added(toy_data_of, prior):
    config = options(prior, "lips_alone=false")
    model = build_model(NAME, config, toy_data_of(NAME))
    assert model.beside is None
    assert not [name for name in model.state_dict() if name.startswith("beside")]
