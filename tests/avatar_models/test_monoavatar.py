"""MonoAvatar as a whole on the toy subject."""

from dataclasses import replace

import pytest
import torch

from avatar_models.monoavatar import model as model_module
from avatar_models.monoavatar import sampling as sampling_module
from avatar_models.monoavatar.config import MonoAvatarDConfig, MonoAvatarStaticConfig
from avatar_models.monoavatar.field import AnchoredField
from avatar_models.monoavatar.frames import FrameCache, rays_of, shell_rays
from avatar_models.monoavatar.model import build_model, restore_model
from avatar_models.monoavatar.sampling import find_neighbours
from avatar_models.trainer import Training
from head_geometry.head_region import head_region
from head_geometry.rotations import matrix_from_axis_angle

SMALL = {
    "steps": 120,
    "lr": 1e-2,
    "max_minutes": 0.0,
    "rays": 384,
    "uv_size": 32,
    "channels": (8, 16, 16),
    "mixed_precision": False,
}


def trained(config, data, steps):
    torch.manual_seed(0)
    model = build_model(config, data)
    training = Training(model, config, data, seed=0)
    for _ in range(steps):
        training.take_step()
    return model, training


@pytest.fixture(scope="module")
def trained_toy(toy):
    from avatar_models.dataset import SubjectData

    data = SubjectData.load(
        toy.frames, toy.matte, toy.head_model, toy.face_fit, "tail-20", (64, 64)
    )
    config = replace(MonoAvatarDConfig.preset("tiny"), **SMALL)
    model, _ = trained(config, data, 120)
    return model.eval(), data, config


def head_error(model, data, toy, frame):
    """Mean squared error of the head's opacity against the exact layer above the neck cut."""
    driving = data.driving(frame)
    region = head_region(
        data.head_model, driving.vertices, driving.camera_from_head, driving.intrinsics, (64, 64)
    )
    with torch.inference_mode():
        _, alpha = model.render_head(driving)
    return float((alpha - region * torch.from_numpy(toy.head_alpha[frame])).square().mean())


def test_training_finds_the_head_in_held_out_frames(trained_toy, toy):
    model, data, config = trained_toy
    untrained = build_model(config, data)
    frame = int(data.test_frames[-1])
    assert head_error(model, data, toy, frame) < 0.5 * head_error(untrained, data, toy, frame)
    assert head_error(model, data, toy, frame) < 0.03


def test_skipping_empty_space_changes_less_than_a_grey_level(trained_toy, monkeypatch):
    model, data, _ = trained_toy
    driving = data.driving(int(data.train_frames[3]))
    # The toy's few samples would otherwise all be kept to make their number round.
    monkeypatch.setattr(sampling_module, "ROUND_NUMBER", 1)
    n_left_out = []
    keep_open = model_module.keep_open

    def counted(queries, *rest):
        kept = keep_open(queries, *rest)
        n_left_out.append(len(queries.slot) - len(kept.slot))
        return kept

    monkeypatch.setattr(model_module, "keep_open", counted)
    with torch.inference_mode():
        skipped = model.render_head(driving)
        assert sum(n_left_out) > 0
        whole = model.render_head(driving, skip_empty=False)
    difference = max(float((a - b).abs().max()) for a, b in zip(skipped, whole, strict=True))
    assert difference < 1 / 255
    assert float(skipped[1].max()) > 0.5


def test_no_pixel_depends_on_the_size_of_the_chunks(trained_toy, monkeypatch):
    monkeypatch.setattr(sampling_module, "ROUND_NUMBER", 1)
    model, data, _ = trained_toy
    driving = data.driving(2)
    with torch.inference_mode():
        whole = model.render_head(driving)
        monkeypatch.setitem(model.render_rays, "cpu", 77)
        parts = model.render_head(driving)
    assert torch.allclose(whole[0], parts[0], atol=1e-5)
    assert torch.allclose(whole[1], parts[1], atol=1e-5)


@pytest.mark.parametrize("place", [(5.0, 0.0), (-5.0, 0.0), (0.0, 5.0), (0.0, -5.0)])
def test_a_head_out_of_the_picture_leaves_it_empty(trained_toy, place):
    model, data, _ = trained_toy
    driving = data.driving(int(data.test_frames[0]))
    away = driving.camera_from_head.clone()
    away[:2, 3] += torch.tensor(place)
    with torch.inference_mode():
        layers = model.render(replace(driving, camera_from_head=away))
    assert layers.head.shape == (*reversed(driving.image_size), 3)
    assert float(layers.head_alpha.max()) == 0


def test_a_restored_model_renders_the_same(trained_toy):
    model, data, config = trained_toy
    state = model.state_dict()
    restored = restore_model(config, state)
    restored.load_state_dict(state)
    driving = data.driving(1)
    with torch.inference_mode():
        first, second = model.render(driving), restored.eval().render(driving)
    assert torch.equal(first.head, second.head)
    assert torch.equal(first.person_alpha(), second.person_alpha())


def test_a_model_renders_at_another_size(trained_toy, toy):
    from avatar_models.dataset import DrivingClip

    model, data, _ = trained_toy
    large = DrivingClip.load(toy.head_model, toy.face_fit, (96, 96)).driving(1)
    with torch.inference_mode():
        layers = model.render(large)
        small = model.render(data.driving(1))
    assert layers.head.shape == (96, 96, 3)
    assert float(layers.head_alpha.mean()) == pytest.approx(
        float(small.head_alpha.mean()), abs=0.02
    )


def test_shell_holds_the_head_and_little_else(trained_toy, toy):
    model, data, _ = trained_toy
    for frame in (0, 7, 15):
        rays = shell_rays(data.driving(frame), model.shell)
        inside = torch.zeros(64 * 64, dtype=torch.bool)
        inside[rays.pixel.long()] = True
        head = torch.from_numpy(toy.head_alpha[frame]).flatten() > 0.5
        # Below the neck cut the torso takes over.
        region = data.head_region(frame).flatten() > 0.5
        assert float(inside[head & region].float().mean()) > 0.99
        assert float((inside & ~head).float().mean()) < 0.15
        assert (rays.far > rays.near).all()
        assert float((rays.far - rays.near).max()) < 0.3


def test_cache_of_frames_is_bounded_and_gives_the_same_again(trained_toy):
    model, data, _ = trained_toy
    cache = FrameCache(data, model.shell, limit_bytes=1)
    first = cache[0].rays.near
    assert len(cache._frames) == 1
    _ = cache[1]
    assert list(cache._frames) == [1]
    assert torch.equal(cache[0].rays.near, first)


def test_neighbours_of_several_frames_are_rows_of_their_own_frame(trained_toy):
    model, data, _ = trained_toy
    cache = FrameCache(data, model.shell)
    posed = [cache[0].posed, cache[5].posed]
    n = len(data.neutral)
    places = torch.cat([posed[0].vertices[:3], posed[1].vertices[:3]])
    nearest = find_neighbours(posed, places, [3, 3], 2)
    assert nearest[:, 0].tolist() == [0, 1, 2, n, n + 1, n + 2]


def test_rays_go_through_their_pixels(trained_toy):
    _, data, _ = trained_toy
    driving = data.driving(4)
    pixel = torch.tensor([10 * 64 + 20])
    origin, direction = rays_of(driving, pixel)
    place = origin + 0.6 * direction
    camera = place @ driving.camera_from_head[:3, :3].T + driving.camera_from_head[:3, 3]
    projected = camera @ driving.intrinsics.T
    assert (projected[0, :2] / projected[0, 2]).tolist() == pytest.approx([20, 10], abs=1e-3)


def test_colour_is_asked_for_only_from_where_training_looked(trained_toy, monkeypatch):
    model, data, _ = trained_toy
    asked = []
    encode = AnchoredField.encode_view

    def record(field, directions):
        asked.append(directions)
        return encode(field, directions)

    monkeypatch.setattr(AnchoredField, "encode_view", record)
    driving = data.driving(4)
    turn = torch.eye(4)
    turn[:3, :3] = matrix_from_axis_angle(torch.tensor([0.0, 1.2, 0.0]))
    middle = driving.vertices.mean(0)
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    with torch.inference_mode():
        model.render(replace(driving, camera_from_head=driving.camera_from_head @ turn))
    directions = torch.cat(asked)
    assert len(directions) > 0
    assert torch.allclose(model.view_range(directions), directions, atol=1e-4)


def test_warp_trains_and_is_off_at_first_and_in_renders(toy_data):
    config = replace(MonoAvatarStaticConfig.preset("tiny"), **SMALL, warp=True, elastic_points=16)
    model = build_model(config, toy_data)
    generator = torch.Generator().manual_seed(0)
    early = model.training_losses(toy_data, 0.0, generator)
    late = model.training_losses(toy_data, 0.5, generator)
    assert list(early) == list(late)
    assert float(early["warp_elastic"]) == 0
    assert late["warp_elastic"].requires_grad
    torch.stack(list(late.values())).sum().backward()
    assert model.warp is not None
    gradient = model.warp.branches["translation"][-1].weight.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0
    driving = toy_data.driving(0)
    with torch.inference_mode():
        before = model.render_head(driving)[0]
        model.warp.branches["translation"][-1].bias.fill_(10.0)
        assert torch.equal(model.render_head(driving)[0], before)
