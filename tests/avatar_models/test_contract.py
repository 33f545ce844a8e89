"""What every registered model must do; a new model is covered as soon as it is registered."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

from artifacts.code_digest import code_digest
from artifacts.kinds import RENDER
from artifacts.store import read_artifact
from avatar_models.avatar_file import AvatarMeta, build_model, load_avatar, save_avatar
from avatar_models.checkpoint import CheckpointFile
from avatar_models.driving import self_driving
from avatar_models.registry import (
    PRESETS,
    config_from_yaml,
    config_to_yaml,
    make_config,
    model_module,
    n_directions,
    registered_models,
)
from avatar_models.render import Plan, render_frame, render_to_files
from avatar_models.trainer import Training, train

MODELS = sorted(registered_models())
ALL = pytest.mark.parametrize("name", MODELS)
PROVENANCE = {"step": "tests", "options": {}}


def test_the_baseline_is_registered():
    assert "nearest_frame" in MODELS


def test_options_load_without_torch():
    # The workflow asks for models and their options before anything heavy is imported.
    code = "import sys; from avatar_models.registry import registered_models as r; r(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@ALL
@pytest.mark.parametrize("preset", PRESETS)
def test_options_survive_the_file(name, preset):
    config = make_config(name, preset)
    assert config_from_yaml(name, config_to_yaml(config)) == config


@ALL
def test_code_has_a_digest(name):
    assert code_digest("avatar_models.train", model_module(name)) != code_digest(
        "avatar_models.train"
    )


def _short(name):
    settings = ["steps=2", "max_minutes=0"]
    if n_directions(make_config(name, "tiny")):
        settings.append("directions=4")  # the toy clip has few frames
    return make_config(name, "tiny", settings)


def _batch_loss(model, data, seed=3) -> float:
    generator = torch.Generator().manual_seed(seed)
    terms = model.training_losses(data, 0.0, generator)
    return float(torch.stack(list(terms.values())).sum().detach())


@ALL
def test_two_steps_lower_the_loss(name, toy_data_of):
    config, toy_data = _short(name), toy_data_of(name)
    torch.manual_seed(0)
    model = build_model(name, config, toy_data)
    training = Training(model, config, toy_data, seed=3)
    before = _batch_loss(model, toy_data)
    for _ in range(2):
        training.generator.manual_seed(3)
        loss = training.take_step()
        assert torch.isfinite(loss)
    assert _batch_loss(model, toy_data) < before


@ALL
def test_saved_avatar_renders_the_same_pixels_without_training_frames(
    name, toy_data_of, toy_clip_of, tmp_path
):
    config, toy_data = _short(name), toy_data_of(name)
    torch.manual_seed(0)
    model = build_model(name, config, toy_data)
    result = train(
        Training(model, config, toy_data, seed=0), CheckpointFile(tmp_path / "c.pt", "key")
    )
    meta = AvatarMeta(name, config, (64, 64), toy_data.train_frames.numpy())
    save_avatar(tmp_path / "avatar.h5", model, meta, result, "cpu", PROVENANCE)
    frames = toy_data.test_frames.numpy()[:2]
    clip = toy_clip_of(name)
    expected = [render_frame(model, driving) for driving in self_driving(clip, frames)]

    restored, restored_meta = load_avatar(tmp_path / "avatar.h5")
    assert restored_meta.config == config
    assert restored_meta.model_name == name
    for driving, layers in zip(self_driving(clip, frames), expected, strict=True):
        found = render_frame(restored, driving)
        for field in fields(found):
            assert torch.equal(getattr(found, field.name), getattr(layers, field.name)), field.name
        _check_layers(found)

    plan = Plan(self_driving(clip, frames), frames.astype(np.int32), frames / 25, 25.0, None, False)
    render_to_files(
        restored, plan, (64, 64), tmp_path / "r.h5", tmp_path / "r.mp4", dict(PROVENANCE)
    )
    stored = read_artifact(tmp_path / "r.h5", RENDER)
    image = expected[0].over(expected[0].background)
    assert np.abs(stored["image"][0] - 255 * image.numpy()).max() <= 0.51
    assert (stored["render_time_s"] > 0).all()
    assert (tmp_path / "r.mp4").stat().st_size > 0


def _check_layers(layers):
    for alpha in (layers.head_alpha, layers.torso_alpha):
        assert torch.isfinite(alpha).all()
        assert alpha.min() >= 0
        assert alpha.max() <= 1 + 1e-5
    for colour, alpha in ((layers.head, layers.head_alpha), (layers.torso, layers.torso_alpha)):
        # Premultiplied: no channel is brighter than its opacity.
        assert (colour <= alpha[..., None] + 1e-3).all()
        assert colour.min() >= -1e-4


@ALL
def test_rendering_changes_nothing_and_repeats(name, toy_data_of, toy_clip_of):
    torch.manual_seed(0)
    toy_data = toy_data_of(name)
    model = build_model(name, _short(name), toy_data).eval()
    before = copy.deepcopy(model.state_dict())
    driving = toy_clip_of(name).driving(int(toy_data.test_frames[0]))
    first, again = render_frame(model, driving), render_frame(model, driving)
    assert torch.equal(first.head, again.head)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


@ALL
def test_equal_seeds_train_equal_models(name, toy_data_of):
    states, toy_data = [], toy_data_of(name)
    for _ in range(2):
        torch.manual_seed(5)
        model = build_model(name, _short(name), toy_data)
        training = Training(model, _short(name), toy_data, seed=5)
        training.take_step()
        training.take_step()
        states.append(model.state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
