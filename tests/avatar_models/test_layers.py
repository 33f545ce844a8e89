"""Torso and background: what was seen is there, what was hidden is filled, nothing takes the head's pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from avatar_models.background import BackgroundLayer
from avatar_models.fill import dilate, fill_nearest, fill_smoothly, masked_median
from avatar_models.torso import TorsoLayer


def test_masked_median_against_numpy():
    generator = np.random.default_rng(0)
    values = generator.integers(0, 256, (9, 5, 4, 3), dtype=np.uint8)
    valid = generator.random((9, 5, 4)) < 0.6
    valid[:, 0, 0] = False
    found, known = masked_median(torch.from_numpy(values), torch.from_numpy(valid))
    assert known.numpy().tolist() == valid.any(0).tolist()
    for row, column in np.ndindex(5, 4):
        chosen = np.sort(values[valid[:, row, column], row, column], axis=0)
        expected = chosen[(len(chosen) - 1) // 2] if len(chosen) else np.zeros(3)
        np.testing.assert_array_equal(found[row, column], expected)


def test_smooth_filling_keeps_what_is_known_and_stays_in_range():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(37, 50, 2, generator=generator)
    known = torch.rand(37, 50, generator=generator) < 0.3
    known[10:25, 10:40] = False
    filled = fill_smoothly(image * known[..., None], known)
    assert torch.equal(filled[known], image[known])
    assert filled.min() >= image[known].min() - 1e-5
    assert filled.max() <= image[known].max() + 1e-5
    constant = fill_smoothly(0.7 * known[..., None].float(), known)
    torch.testing.assert_close(constant, torch.full_like(constant, 0.7))
    assert fill_smoothly(torch.zeros(4, 4, 1), torch.zeros(4, 4, dtype=torch.bool)).eq(0).all()


def test_nearest_filling():
    image = torch.tensor([[1.0, 0, 0, 4.0]])[..., None]
    known = torch.tensor([[True, False, False, True]])
    assert fill_nearest(image, known)[0, :, 0].tolist() == [1, 1, 4, 4]
    assert torch.equal(fill_nearest(image, torch.zeros_like(known)), image)


def test_dilation():
    mask = torch.zeros(5, 5)
    mask[2, 2] = 1
    assert dilate(mask, 1).sum() == 9
    assert torch.equal(dilate(mask, 0), mask)


def test_frames_are_spread_evenly(toy_data):
    frames = toy_data.train_frames.tolist()
    some = toy_data.spread_train_frames(4)
    assert (some[0], some[-1], len(some)) == (frames[0], frames[-1], 4)
    gaps = torch.tensor([frames.index(frame) for frame in some]).diff()
    assert int(gaps.max() - gaps.min()) <= 1
    assert toy_data.spread_train_frames(1000) == frames


def test_background_is_found_and_filled(toy, toy_data):
    layer = BackgroundLayer.estimate(toy_data)
    known = layer.known.numpy()
    assert 0.5 < known.mean() < 0.8
    assert np.abs(layer.image.numpy() - toy.background)[known].max() < 0.01
    # Behind the person: smooth, and near the truth, which is smooth itself.
    assert np.abs(layer.image.numpy() - toy.background)[~known].mean() < 0.1


def test_torso_is_found_where_it_was_seen(toy, toy_data):
    layer = TorsoLayer.estimate(toy_data)
    for frame in (0, 6, 12):
        driving = toy_data.driving(frame)
        with torch.no_grad():
            colour, alpha = layer(driving)
        image, matte = toy_data.image(frame), toy_data.alpha(frame)
        # Beside and below the toy's neck, which moves with the head.
        apart = dilate(torch.from_numpy(toy.head_alpha[frame]).float(), 4) < 0.01
        assert (alpha - matte)[apart].abs().mean() < 0.01
        inside = apart & (matte > 0.99)
        assert inside.sum() > 200
        assert (colour - image)[inside].abs().mean() < 0.02


def test_torso_leaves_the_face_alone_and_leaves_no_hole(toy_data):
    layer = TorsoLayer.estimate(toy_data)
    hidden = ~layer.known
    assert hidden.any()
    for frame in range(0, 16, 3):
        driving = toy_data.driving(frame)
        with torch.no_grad():
            _, alpha = layer(driving)
        head = toy_data.alpha(frame) * toy_data.head_region(frame)
        face = driving.landmarks[[33, 263, 1, 10]].round().long()
        assert alpha[face[:, 1], face[:, 0]].max() < 0.01
        # Just above the cut, under the head, the torso goes on.
        middle = int(driving.landmarks[152, 0].round())
        edge = int(torch.nonzero(head[:, middle] > 0.5).max())
        assert alpha[edge - 1 : edge + 3, middle].min() > 0.9


def test_torso_has_the_same_place_at_another_size(toy_data):
    layer = TorsoLayer.estimate(toy_data)
    driving = toy_data.driving(9)
    scale = torch.tensor([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]])
    larger = dataclasses.replace(
        driving,
        image_size=(128, 128),
        torso_from_reference=scale @ driving.torso_from_reference @ torch.linalg.inv(scale),
    )
    with torch.no_grad():
        _, alpha = layer(driving)
        _, alpha_large = layer(larger)
    shrunk = alpha_large.reshape(64, 2, 64, 2).mean((1, 3))
    assert (shrunk - alpha).abs().mean() < 0.005


def test_torso_learns_from_pixels(toy_data):
    layer = TorsoLayer(90, 90)
    layer.reach.fill_(1)
    layer.texture.data[:3], layer.texture.data[3] = 0.2, 0.6
    pixels = torch.tensor([[10.0, 50.0], [40.5, 60.25]])
    rgba = layer.sample(toy_data.driving(3), pixels)
    assert rgba.shape == (2, 4)
    rgba.sum().backward()
    assert layer.texture.grad is not None
    # Bilinear weights of two pixels, four channels each.
    torch.testing.assert_close(layer.texture.grad.sum(), torch.tensor(8.0))


def test_torso_stays_where_the_frames_show_it(toy_data):
    layer = TorsoLayer.estimate(toy_data)
    driving = toy_data.driving(3)
    with torch.no_grad():
        before = layer(driving)[1]
        layer.texture.fill_(1)
        after = layer(driving)[1]
    assert float(after.max()) > 0.99
    assert (after >= before - 1e-6).all()
    # A refined texture covers no more than a rim around what was there.
    assert float(after.sum()) < 1.5 * float(before.sum())
    assert float(after[:10].max()) == 0


def test_layers_come_back_from_their_state(toy_data):
    for make in (TorsoLayer, BackgroundLayer):
        layer = make.estimate(toy_data)
        state = {f"part.{name}": value for name, value in layer.state_dict().items()}
        again = make.restore(state, "part")
        again.load_state_dict(layer.state_dict())
        driving = toy_data.driving(2)
        with torch.no_grad():
            first, second = layer(driving), again(driving)
        torch.testing.assert_close(first, second, rtol=0, atol=0)
