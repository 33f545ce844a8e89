"""The perceptual loss of a training: LPIPS with weights, a substitute without, and which of the two is said."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import skimage.data
import torch
from lpips_weights import write_weights
from mean_image import MeanImage
from torch.nn import functional

from artifacts.errors import InputError
from avatar_models import registry
from avatar_models.avatar_file import build_model
from avatar_models.perceptual import (
    LPIPS_NAME,
    SUBSTITUTE_NAME,
    gradient_loss,
    perceptual_loss,
    structure_loss,
)
from image_similarity.psnr_ssim import ssim


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("lpips"))


@pytest.fixture(params=["lpips", "substitute"])
def loss(request, weights):
    return perceptual_loss(request.param, weights, "cpu")


@pytest.fixture(scope="module")
def face():
    """A face of 64 px."""
    photo = torch.from_numpy(skimage.data.astronaut()[32:224, 128:320]).movedim(-1, 0)
    return functional.avg_pool2d(photo[None] / 255, 3)


def blurred(picture, side):
    padded = functional.pad(picture, (side // 2,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, side, 1)


@pytest.mark.parametrize("side", [32, 64])
def test_equal_pictures_give_0_and_other_ones_a_gradient(loss, face, side):
    wanted = face[..., :side, :side].repeat(2, 1, 1, 1)
    found = wanted.clone().requires_grad_()
    same = loss(found, wanted)
    assert same.shape == ()
    assert float(same.detach()) == pytest.approx(0, abs=1e-6)
    same.backward()
    assert torch.isfinite(found.grad).all()
    other = blurred(wanted, 5).requires_grad_()
    loss(other, wanted).backward()
    assert torch.isfinite(other.grad).all()
    assert (other.grad.abs().amax(1) > 0).float().mean() > 0.9
    # A step against the gradient helps.
    step = 0.02 * other.grad / other.grad.abs().max()
    assert float(loss(other.detach() - step, wanted)) < float(loss(other.detach(), wanted))


def test_a_picture_without_any_structure_has_a_finite_gradient(loss, face):
    """Black pictures, and structure that is just opposite."""
    for start in (torch.zeros_like(face), 1 - face):
        found = start.clone().requires_grad_()
        loss(found, face).backward()
        assert torch.isfinite(found.grad).all()
        assert found.grad.abs().max() > 0


def test_more_blur_and_larger_shifts_are_worse(loss, face):
    blurs = [float(loss(blurred(face, side), face)) for side in (3, 7, 15)]
    shifts = [float(loss(face.roll(step, -1), face)) for step in (1, 3, 6)]
    for values in (blurs, shifts):
        assert 0 < values[0] < values[1] < values[2]


def test_both_parts_of_the_substitute_count(face):
    for other in (blurred(face, 7), face.roll(2, -1)):
        structure, gradient = float(structure_loss(other, face)), float(gradient_loss(other, face))
        whole = float(perceptual_loss("substitute", (), "cpu")(other, face))
        assert 0.2 < structure / whole < 0.8
        assert whole - structure == pytest.approx(4 * gradient, rel=1e-5)


def test_structure_is_ssim_at_every_scale(face):
    other = blurred(face, 5)
    pairs = [(other, face)]
    for _ in range(2):
        pairs.append(tuple(functional.avg_pool2d(x, 2) for x in pairs[-1]))
    expected = [1 - float(ssim(*(x.movedim(1, -1) for x in pair))) for pair in pairs]
    assert float(structure_loss(other, face)) == pytest.approx(sum(expected) / 3, rel=1e-4)


def test_gradients_are_steps_at_three_sizes():
    """A ramp of one unit a pixel against nothing: steps of 1, 2 and 4."""
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    assert float(gradient_loss(ramp, torch.zeros_like(ramp))) == pytest.approx((1 + 2 + 4) / 6)
    assert float(gradient_loss(ramp + 0.5, ramp)) == 0


def test_it_computes_in_single_precision_where_others_do_not(face):
    loss = perceptual_loss("substitute", (), "cpu")
    other = blurred(face, 3)
    expected = float(loss(other, face))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(loss(other, face)) == expected


def test_which_one_it_is_is_logged_and_auto_takes_what_is_there(weights, caplog):
    caplog.set_level(logging.INFO)
    assert perceptual_loss("auto", weights, "cpu").name == LPIPS_NAME
    assert perceptual_loss("auto", (), "cpu").name == SUBSTITUTE_NAME
    assert perceptual_loss("substitute", weights, "cpu").name == SUBSTITUTE_NAME
    assert [record.getMessage() for record in caplog.records] == [
        "perceptual loss: lpips_alex",
        "perceptual loss: substitute: multi-scale structure and gradient",
        "perceptual loss: substitute: multi-scale structure and gradient",
    ]


def test_weights_that_are_missing_or_foreign_are_refused_in_one_sentence(weights, tmp_path):
    with pytest.raises(InputError, match=r"lpips needs its weights .* --lpips-weights"):
        perceptual_loss("lpips", (), "cpu")
    with pytest.raises(InputError, match=r"absent\.pth: cannot be read"):
        perceptual_loss("auto", [tmp_path / "absent.pth"], "cpu")
    with pytest.raises(InputError, match="not the weights of LPIPS with backbone alex"):
        perceptual_loss("auto", weights[:1], "cpu")


@dataclass(frozen=True)
class PlainConfig:
    steps: int = 2
    max_minutes: float = 0.0

    @classmethod
    def preset(cls, name):
        return cls()


@dataclass(frozen=True)
class PerceivingConfig(PlainConfig):
    perceptual: str = "auto"


def test_models_that_ask_for_one_get_it(toy_data, weights, monkeypatch):
    registry.registered_models()
    monkeypatch.setattr(registry, "_CONFIGS", dict(registry._CONFIGS))
    module = SimpleNamespace(build_model=lambda config, data: MeanImage())
    monkeypatch.setitem(sys.modules, "perceiving.model", module)
    for name, config in (("plain", PlainConfig), ("perceiving", PerceivingConfig)):
        monkeypatch.setattr(config, "__module__", "perceiving.config")
        registry.register(name)(config)
    assert registry.perceptual_kind(registry.make_config("plain", "tiny")) is None
    plain = build_model("plain", registry.make_config("plain", "tiny"), toy_data, weights)
    assert not hasattr(plain, "perceptual")

    def made(*assignments, files=()):
        config = registry.make_config("perceiving", "tiny", assignments)
        return build_model("perceiving", config, toy_data, files)

    assert made().perceptual.name == SUBSTITUTE_NAME
    with_lpips = made("perceptual=lpips", files=weights)
    assert with_lpips.perceptual.name == LPIPS_NAME
    assert with_lpips.state_dict().keys() == MeanImage().state_dict().keys()
    with pytest.raises(InputError, match="'perceptual' of model 'perceiving' is 'vgg'"):
        made("perceptual=vgg")
