"""Layers computed strip by strip and by tiles agree with those computed as a whole."""

import pytest
import torch
from torch.nn import functional

from avatar_models.triplane.layers import ModulatedConvolution
from avatar_models.triplane.strips import can_be_cut
from avatar_models.triplane.winograd import convolve_tiles, kernel_in_tiles


@pytest.mark.parametrize(("height", "width"), [(4, 8), (20, 36), (64, 64)])
def test_a_convolution_by_tiles_is_the_direct_one(height, width):
    torch.manual_seed(0)
    image, weight = torch.randn(height + 2, width + 2, 7), torch.randn(5, 7, 3, 3)
    expected = functional.conv2d(image.double().movedim(-1, 0)[None], weight.double())[0]
    found = convolve_tiles(image, kernel_in_tiles(weight)).movedim(-1, 0)
    assert float((found - expected).norm() / expected.norm()) < 5e-6


def test_only_one_large_picture_on_a_cpu_without_gradients_is_cut():
    image, weight = torch.zeros(1, 2, 64, 64), torch.zeros(2, 2, 3, 3)
    assert can_be_cut(image, weight)
    assert not can_be_cut(image[..., :32, :32], weight)
    assert not can_be_cut(image.repeat(2, 1, 1, 1), weight)
    assert not can_be_cut(image, weight.requires_grad_())
    with torch.no_grad():
        assert can_be_cut(image, weight)


@pytest.mark.parametrize("doubles", [False, True])
@pytest.mark.parametrize(
    ("channels", "side"), [((6, 5), 16), ((6, 5), 128), ((130, 129), 64), ((3, 200), 96)]
)
def test_a_layer_gives_the_same_with_and_without_gradients(channels, side, doubles):
    torch.manual_seed(0)
    layer = ModulatedConvolution(*channels, 4, side * 2 if doubles else side, doubles)
    layer.noise_strength.data.fill_(0.3)
    image, latent = torch.randn(1, channels[0], side, side), torch.randn(1, 4)
    for noise in ("const", "none"):
        whole = layer(image, latent, noise)
        assert whole.requires_grad
        whole = whole.detach()
        with torch.no_grad():
            cut = layer(image, latent, noise)
        assert float((cut - whole).norm() / whole.norm()) < 1e-5
