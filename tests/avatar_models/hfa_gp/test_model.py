"""HFA-GP on the toy subject: what is tuned when, navigation, published generators, bad input."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_layout import OWN

from artifacts.errors import InputError
from artifacts.kinds import RENDER
from artifacts.store import read_artifact
from avatar_models.avatar_file import build_model
from avatar_models.driving import navigation_driving
from avatar_models.hfa_gp.config import HfaGp3dmmConfig
from avatar_models.hfa_gp.model import restore_model
from avatar_models.prior.known import Known, read_known
from avatar_models.prior.own import prior_file
from avatar_models.registry import input_files, make_config
from avatar_models.render import NAVIGATION_AMOUNTS, render_frame
from avatar_models.trainer import Training
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.weights import KNOWN, load_generator, save_generator

NAME = "hfa_gp_3dmm"
PUBLISHED = replace(OWN, ray_bounds="published", plane_axes="published", units_per_metre=2.7)


@pytest.fixture(scope="module", params=[OWN, PUBLISHED], ids=["own", "published"])
def prior(request, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("prior") / "p.safetensors"
    save_generator(path, TriPlaneGenerator(request.param), {})
    return path


def options(prior, *more) -> HfaGp3dmmConfig:
    settings = ("steps=8", "max_minutes=0", "directions=4", "patch=16", "driver_width=16")
    return make_config(NAME, "tiny", [f"prior={prior}", *settings, *more])


def generator_weights(model):
    return torch.cat([x.detach().flatten() for x in model.generator.parameters()])


def test_the_generator_is_frozen_first_and_tuned_later(prior, toy_data):
    config = options(prior, "generator_start=0.5")
    torch.manual_seed(0)
    model = build_model(NAME, config, toy_data)
    training = Training(model, config, toy_data, seed=0)
    before, directions = generator_weights(model), model.subspace.basis().detach()
    for _ in range(4):
        training.take_step()
    assert torch.equal(generator_weights(model), before)
    assert not torch.equal(model.subspace.basis(), directions)
    training.take_step()
    assert not torch.equal(generator_weights(model), before)
    basis = model.subspace.basis()
    assert torch.allclose(basis @ basis.T, torch.eye(4), atol=1e-5)
    spread = model.places.product - torch.outer(model.places.mean, model.places.mean)
    assert model.places.count > 0
    assert torch.linalg.eigvalsh(spread.double()).min() > -1e-6


def test_a_model_is_restored_from_its_tensors_alone(prior, toy_data):
    config = options(prior)
    torch.manual_seed(0)
    model = build_model(NAME, config, toy_data)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    restored = restore_model(config, state)
    restored.load_state_dict(state)
    assert restored.generator.layout == model.generator.layout
    driving = toy_data.clip.driving(int(toy_data.test_frames[0]))
    assert torch.equal(render_frame(restored, driving).head, render_frame(model, driving).head)


def test_a_persons_own_detail_follows_the_first_directions_alone(prior, toy_data):
    config = options(prior, "detail_lr=1e-2", "detail_moving=2")
    torch.manual_seed(0)
    model = build_model(NAME, config, toy_data)
    assert model.detail.unit > 0
    place = torch.zeros(4)
    assert model.detail(place).abs().max() == 0
    training = Training(model, config, toy_data, seed=0)
    for _ in range(2):
        training.take_step()
    with torch.no_grad():
        static = model.detail(place)
        assert static.abs().max() > 0
        assert not torch.allclose(model.detail(torch.tensor([0.0, 1.0, 0.0, 0.0])), static)
        torch.testing.assert_close(model.detail(torch.tensor([0.0, 0.0, 5.0, 5.0])), static)
        one, twice = (model.detail(torch.tensor([n, 0.0, 0.0, 0.0])) for n in (1.0, 2.0))
        torch.testing.assert_close(twice - static, 2 * (one - static))
    restored = restore_model(config, model.state_dict())
    restored.load_state_dict(model.state_dict())
    assert torch.equal(restored.detail(place), static)


def test_navigation_moves_along_the_axes_of_the_trainings_places(prior, toy_data):
    config = options(prior)
    torch.manual_seed(0)
    model = build_model(NAME, config, toy_data)
    with torch.no_grad():
        # Places of the training lie along one oblique line, but for a little.
        line = torch.tensor([1.0, -2.0, 0.0, 2.0]) / 3 / model.subspace.reach
        amounts = 5.0 * torch.randn(500, 1) * line + 0.01 * torch.randn(500, 4)
        model.places.take(1.0 + amounts)
        signals = list(navigation_driving(toy_data.clip, 4, (-1.0, 0.0, 1.0)))
        latents = model.subspace(torch.stack([model.amount(signal) for signal in signals]))
        rows = latents.flatten(1).unflatten(0, (4, 3))
        steps = rows[:, 2] - rows[:, 1]
        wanted = (line * model.subspace.reach) @ model.subspace.basis()
    assert len(signals) == 12
    torch.testing.assert_close(rows[:, 0] - rows[:, 1], -steps, atol=1e-4, rtol=0)
    lengths = steps.norm(dim=1)
    assert abs(float(lengths[0]) - 5) < 0.7
    assert (lengths.diff() <= 1e-6).all()
    directions = steps / lengths[:, None]
    torch.testing.assert_close(directions @ directions.T, torch.eye(4), atol=1e-3, rtol=0)
    assert abs(float(directions[0] @ wanted)) > 0.999


def test_a_published_generator_looks_at_the_middle_of_the_face(toy_data, tmp_path):
    save_generator(tmp_path / "p.safetensors", TriPlaneGenerator(PUBLISHED), {})
    model = build_model(NAME, options(tmp_path / "p.safetensors"), toy_data)
    layout = model.generator.layout
    pivot = torch.tensor(layout.origin_m) + torch.tensor(layout.camera_pivot) / 2.7
    points = toy_data.head_model.landmark_points(toy_data.neutral, toy_data.clip.landmark_set)
    assert torch.allclose(pivot.to(points), points.mean(0), atol=1e-6)


def test_more_directions_than_frames_are_refused(prior, toy_data):
    with pytest.raises(InputError, match=r"only 16 training frames .* set directions to 8"):
        build_model(NAME, options(prior, "directions=17"), toy_data)


def test_a_prior_that_is_none_is_refused(tmp_path, toy_data):
    with pytest.raises(InputError, match=r"neither one of the project's own .* nor a file"):
        prior_file(str(tmp_path / "nothing.safetensors"))
    with pytest.raises(InputError, match="nor a file"):
        input_files(options(tmp_path / "nothing.safetensors"))
    broken = tmp_path / "broken.safetensors"
    save_generator(broken, TriPlaneGenerator(OWN), {})
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"broken\.safetensors"):
        build_model(NAME, options(broken), toy_data)


def test_sound_of_another_kind_is_refused(toy_data_of, toy_clip_of, tmp_path):
    save_generator(tmp_path / "p.safetensors", TriPlaneGenerator(OWN), {})
    words = ["directions=4", f"prior={tmp_path / 'p.safetensors'}"]
    config = make_config("hfa_gp_audio", "tiny", words)
    model = build_model("hfa_gp_audio", config, toy_data_of("hfa_gp_audio"))
    driving = toy_clip_of("hfa_gp_audio").driving(0)
    render_frame(model, driving)
    with pytest.raises(InputError, match="28 channels, but the avatar was trained with 29"):
        render_frame(model, replace(driving, sound=driving.sound[..., 1:]))


def run(module, **words):
    flags = [x for key, value in words.items() for x in (f"--{key.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", f"avatar_models.{module}", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_steps_train_and_navigate(toy, tmp_path):
    save_generator(tmp_path / "p.safetensors", TriPlaneGenerator(OWN), {})
    files = {"head_model": toy.head_model, "face_fit": toy.face_fit}
    words = ["max_minutes=0", "directions=3", f"prior={tmp_path / 'p.safetensors'}"]
    flags = [x for word in ("steps=1", *words) for x in (word,)]
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "avatar_models.train", "--model", NAME),
            *("--frames", toy.frames, "--matte", toy.matte, "--image-size", "64"),
            *("--head-model", toy.head_model, "--face-fit", toy.face_fit),
            *("--out", tmp_path / "avatar.h5", "--set", *flags),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "perceptual loss: substitute" in ended.stderr + ended.stdout
    ended = run(
        "render",
        avatar=tmp_path / "avatar.h5",
        mode="navigation",
        driver_frames=toy.frames,
        out=tmp_path / "r.h5",
        video=tmp_path / "r.mp4",
        **files,
    )
    assert ended.returncode == 0, ended.stderr
    found = read_artifact(tmp_path / "r.h5", RENDER)
    assert found["direction"].tolist() == np.repeat(range(3), len(NAVIGATION_AMOUNTS)).tolist()
    assert found["amount"].tolist() == list(NAVIGATION_AMOUNTS) * 3
    assert len(found["image"]) == 3 * len(NAVIGATION_AMOUNTS)


def knowing_prior(path, head_model, expression_name=None):
    """A prior whose z is two numbers of the person, then expression and joints of a head model."""
    n_codes = len(head_model.expression_name) + 3 * len(head_model.joint_name)
    names = [f"expression{i}" for i in range(len(head_model.expression_name))]
    names += [f"joint{i}" for i in range(3 * len(head_model.joint_name))]
    known = Known(
        ("identity0", "hair_r", *names),
        (0.0,) * (2 + n_codes),
        (0.5,) * (2 + n_codes),
        expression_name or head_model.expression_name,
        head_model.joint_name,
    )
    layout = replace(OWN, z_dim=2 + n_codes, person_z=2, z_unit_moment=False, label_off=True)
    torch.manual_seed(0)
    save_generator(path, TriPlaneGenerator(layout), {KNOWN: known.to_json()})
    return path


def test_the_driver_is_taught_where_the_prior_has_an_expression(toy_data, tmp_path):
    prior = knowing_prior(tmp_path / "p.safetensors", toy_data.head_model)
    config = options(prior, "taught_share=1.0", "taught_alone=0.9", "steps=60", "lr=1e-2")
    torch.manual_seed(0)
    model = build_model(NAME, config, toy_data)
    codes = toy_data.clip.code[toy_data.train_frames]

    @torch.no_grad()
    def error():
        """Of the latents, against those of the prior for the same expressions."""
        known = read_known(prior)
        mapping = load_generator(prior).backbone.mapping
        z = known.z_of_codes(toy_data.clip.identity, codes)
        wanted = mapping(z, torch.zeros(len(codes), 25))
        found = model.subspace(model.driver(codes, 1.0))
        return float((found - wanted).square().mean() / wanted.var(0).mean())

    before = error()
    training = Training(model, config, toy_data, seed=0)
    for _ in range(50):
        training.take_step()
    after = error()
    assert after < 0.5 * before, (before, after)
    model.config = replace(config, taught_alone=0.5)
    losses = model.training_losses(toy_data, 0.4, torch.Generator())
    assert losses["taught"] > 0
    assert losses["colour"] == 0
    assert model.training_losses(toy_data, 0.5, torch.Generator())["colour"] > 0
    assert model.training_losses(toy_data, 1.0, torch.Generator())["taught"] == 0


def test_a_prior_of_another_head_model_teaches_nothing(toy_data, tmp_path, caplog):
    names = tuple(f"other{i}" for i in range(len(toy_data.head_model.expression_name)))
    prior = knowing_prior(tmp_path / "p.safetensors", toy_data.head_model, names)
    with caplog.at_level("INFO"):
        model = build_model(NAME, options(prior, "taught_share=1.0"), toy_data)
    assert "not taught" in caplog.text
    assert model.training_losses(toy_data, 0.0, torch.Generator())["taught"] == 0


def test_a_pose_is_not_taught_to_explain_an_expression(toy_data_of, tmp_path):
    data = toy_data_of("hfa_gp_audio")
    prior = knowing_prior(tmp_path / "p.safetensors", data.head_model)
    words = [f"prior={prior}", "directions=4", "lips_alone=true"]
    model = build_model("hfa_gp_audio", make_config("hfa_gp_audio", "tiny", words), data)
    # Nothing is drawn yet.
    losses = model.training_losses(data, 0.0, torch.Generator())
    losses["taught"].backward()
    slope = model.lip_places.linear.weight.grad
    lips, beside = slope[:, :8], slope[:, 8:]
    assert lips.abs().max() > 0
    assert beside[:, ~model.lip_places.is_given].abs().max() > 0
    assert beside[:, model.lip_places.is_given].abs().max() == 0
