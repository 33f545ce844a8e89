"""The baseline: training frames come back as they are, and the metric learns what matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform
from toy import with_classic_68

from artifacts.errors import InputError
from avatar_models.dataset import DrivingClip
from avatar_models.nearest_frame.config import NearestFrameConfig
from avatar_models.nearest_frame.model import build_model, similarity
from avatar_models.trainer import Training


@pytest.fixture
def model(toy_data):
    return build_model(NearestFrameConfig(comparison_side_px=24), toy_data)


def test_similarity_against_scikit_image():
    generator = np.random.default_rng(1)
    source = generator.normal(size=(3, 20, 2))
    target = 0.5 * source @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + generator.normal(
        0, 0.1, (3, 20, 2)
    )
    found = similarity(torch.from_numpy(source), torch.from_numpy(target))
    for row in range(3):
        expected = SimilarityTransform.from_estimate(source[row], target[row])
        np.testing.assert_allclose(found[row], expected.params, atol=1e-12)


def test_a_training_frame_comes_back_as_it_is(model, toy_data):
    for row, frame in enumerate(toy_data.train_frames.tolist()):
        driving = toy_data.driving(frame)
        assert model.choose(driving) == row
        with torch.no_grad():
            layers = model.render(driving)
        alpha = toy_data.alpha(frame)
        torch.testing.assert_close(layers.person_alpha(), alpha, atol=1e-3, rtol=0)
        white = torch.ones(3)
        truth = alpha[..., None] * toy_data.image(frame) + 1 - alpha[..., None]
        torch.testing.assert_close(layers.over(white), truth, atol=2e-3, rtol=0)
        head = alpha * toy_data.head_region(frame)
        torch.testing.assert_close(layers.head_alpha, head, atol=5e-3, rtol=0)


def test_signals_that_mean_nothing_lose_weight(toy_data):
    torch.manual_seed(0)
    model = build_model(NearestFrameConfig(guard_frames=1, steps=150), toy_data)
    # An expression that is pure chance and changes no pixel.
    noise = 5
    model.code[:, noise] = torch.randn(len(model.code))
    model.signal_std[noise] = 1
    training = Training(model, model.config, toy_data, seed=0)
    losses = [float(training.take_step()) for _ in range(150)]
    assert np.mean(losses[-30:]) < np.mean(losses[:30])
    weight = model.log_weight.detach()
    assert weight[noise] < weight[0] - 0.3


def test_long_clips_keep_only_so_many_frames(toy_data):
    model = build_model(NearestFrameConfig(max_frames=5), toy_data)
    assert model.pixels.shape[0] == 5
    assert model.frame.tolist() == [0, 4, 8, 11, 15]


def test_a_fit_of_other_landmarks_does_not_drive_it(model, toy, tmp_path):
    classic = with_classic_68(toy, tmp_path)
    driving = DrivingClip.load(classic.head_model, classic.face_fit, (64, 64)).driving(0)
    assert driving.landmarks.shape == (68, 2)
    with pytest.raises(InputError, match="trained on a fit of 478 landmarks, but 68 drive it"):
        model.render(driving)
