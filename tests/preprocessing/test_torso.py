"""Tracking of the torso on images whose motion is known."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import affine_grid, grid_sample

from preprocessing.fitting.torso import (
    TorsoImages,
    TorsoMotion,
    TorsoTracker,
    is_plausible,
    prepare_images,
    similarity,
    smooth_in_time,
)

SIDE = 128
FRAMES = 24


def warp(image, matrix, mode="bilinear"):
    """Image whose pixel ``matrix @ p`` shows ``image`` at ``p``."""
    unit = torch.tensor([[2 / SIDE, 0, 1 / SIDE - 1], [0, 2 / SIDE, 1 / SIDE - 1], [0, 0, 1]])
    theta = unit @ torch.linalg.inv(matrix) @ torch.linalg.inv(unit)
    grid = affine_grid(theta[None, :2], [1, *image.shape], align_corners=False)
    return grid_sample(image[None], grid, mode=mode, padding_mode="border", align_corners=False)[0]


@pytest.fixture(scope="module")
def scene():
    """A textured torso that moves smoothly under a head that does not; brightness drifts."""
    generator = np.random.default_rng(0)
    texture = gaussian_filter(generator.normal(size=(SIDE, SIDE)), 2.0)
    texture = torch.from_numpy(0.5 + 0.4 * texture / np.abs(texture).max()).float()
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    body = ((y - 0.01 * (x - 64) ** 2) > 66).float()
    head = torch.sigmoid(58.0 - y.float())
    t = torch.arange(FRAMES) / FRAMES * 2 * np.pi
    truth = torch.stack([1.2 * torch.sin(t), 1.5 * torch.sin(t + 1), 6 * torch.sin(t), 2 * torch.cos(t) - 2], 1)  # fmt: skip
    truth[0] = 0
    matrices = similarity(truth, torch.tensor([64.0, 95.0]), 30.0)
    moved = torch.stack([warp(torch.stack([texture, body]), m) for m in matrices])
    gain = (1 + 0.1 * torch.sin(2 * t))[:, None, None]
    noise = torch.from_numpy(generator.normal(size=moved[:, 0].shape) * 0.01).float()
    grey = moved[:, 0] * gain + noise
    image, alpha = ((255 * part).round().clamp(0, 255).byte() for part in (grey, moved[:, 1]))
    image = image[..., None].expand(-1, -1, -1, 3)
    images = prepare_images(image, alpha, head.expand(FRAMES, -1, -1), SIDE)
    return images, matrices


def test_known_similarities_are_recovered(scene):
    images, truth = scene
    tracker = TorsoTracker(images.select(slice(0, 1)))
    parameters, correlation = tracker.track(images, torch.zeros(1, FRAMES, 4))
    pixels = torch.tensor([[40.0, 100, 1], [90, 90, 1], [64, 120, 1]])
    found = tracker.matrices(parameters)
    error = torch.linalg.vector_norm((found - truth) @ pixels.T, dim=1)
    assert float(error.max()) < 0.5
    assert float(error.mean()) < 0.15
    assert float(correlation.min()) > 0.9


def test_a_second_guess_rescues_a_far_motion(scene):
    images, _ = scene
    far = torch.tensor([[0.0, 0, 26, 4]])
    tracker = TorsoTracker(images.select(slice(0, 1)))
    matrix = tracker.matrices(far)[0]
    first = images.select(slice(0, 1))
    moved = TorsoImages(*(warp(part[0][None], matrix) for part in (first.grey, first.person)), torch.ones(1, SIDE, SIDE))  # fmt: skip
    guess = torch.tensor([[0.0, 0, 24, 3]])
    parameters, correlation = tracker.track(moved, torch.stack([torch.zeros(1, 4), guess]))
    assert float((parameters - far).abs().max()) < 0.6
    assert float(correlation) > 0.9


def test_an_unrelated_frame_is_not_trusted(scene):
    images, _ = scene
    noise = TorsoImages(
        torch.rand(1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)),
        torch.rand(1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)),
        torch.ones(1, SIDE, SIDE),
    )
    tracker = TorsoTracker(images.select(slice(0, 1)))
    parameters, correlation = tracker.track(noise, torch.zeros(1, 1, 4))
    assert not is_plausible(TorsoMotion(parameters, correlation, tracker.centre, tracker.radius))[0]


def test_a_torso_that_moves_in_itself_too_is_still_followed(scene):
    images, truth = scene
    generator = np.random.default_rng(1)
    # Folds that come and go: as strong as the texture itself, other ones in every frame.
    folds = gaussian_filter(generator.normal(size=(FRAMES, SIDE, SIDE)), (0, 2.0, 2.0))
    folds = torch.from_numpy(folds / np.abs(folds).max()).float()
    folds[0] = 0
    folded = TorsoImages(images.grey + folds * images.person, images.person, images.torso)
    tracker = TorsoTracker(folded.select(slice(0, 1)))
    parameters, correlation = tracker.track(folded, torch.zeros(1, FRAMES, 4))
    motion = TorsoMotion(parameters, correlation, tracker.centre, tracker.radius)
    assert float(correlation[1:].median()) < 0.65
    assert bool(is_plausible(motion).all())
    pixels = torch.tensor([[40.0, 100, 1], [90, 90, 1], [64, 120, 1]])
    error = torch.linalg.vector_norm((tracker.matrices(parameters) - truth) @ pixels.T, dim=1)
    # Its motion is up to six pixels.
    assert float(error.mean()) < 1.0


def test_a_reference_without_torso_is_refused(scene):
    images, _ = scene
    hidden = TorsoImages(images.grey[:1], images.person[:1], torch.zeros(1, SIDE, SIDE))
    with pytest.raises(ValueError, match="not seen"):
        TorsoTracker(hidden)


def test_matrices_and_parameters_are_inverse(scene):
    tracker = TorsoTracker(scene[0].select(slice(0, 1)))
    parameters = torch.tensor([[1.0, -2.0, 3.0, -4.0], [0.0, 0.5, -6.0, 2.0]])
    assert torch.allclose(tracker.parameters(tracker.matrices(parameters)), parameters, atol=1e-4)


def test_smoothing_does_not_lag_and_fills_gaps():
    t = torch.arange(200)
    clean = torch.sin(2 * np.pi * t / 50)[:, None] * torch.tensor([2.0, 2, 10, 5])
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(200, dtype=torch.bool)
    valid[80:88] = False
    noisy[80:88] = 1000.0
    smoothed = smooth_in_time(noisy, valid)
    assert float((smoothed - clean)[valid].square().mean()) < 0.6 * 0.09
    assert float((smoothed - clean)[80:88].abs().max()) < 1.5
    lags = range(-3, 4)
    likeness = [float((smoothed[10:-10, 2] * clean.roll(lag, 0)[10:-10, 2]).sum()) for lag in lags]
    assert int(np.argmax(likeness)) == 3
    line = torch.arange(30.0)[:, None].expand(-1, 4)
    assert torch.allclose(smooth_in_time(line, torch.ones(30, dtype=torch.bool)), line, atol=0.35)


@pytest.mark.parametrize("frames", [1, 2])
def test_smoothing_very_short_clips(frames):
    parameters = torch.ones(frames, 4)
    smoothed = smooth_in_time(parameters, torch.ones(frames, dtype=torch.bool))
    assert torch.allclose(smoothed, parameters, atol=1e-3)
