import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from image_similarity.psnr_ssim import (
    MS_SSIM_WEIGHTS,
    ms_ssim,
    ms_ssim_name,
    ms_ssim_scales,
    psnr,
    ssim,
)


@pytest.fixture
def pair():
    """A smooth picture and a disturbed copy, (2, 96, 80, 3)."""
    generator = np.random.default_rng(3)
    rows, columns = np.mgrid[0:96, 0:80] / 30
    picture = 0.5 + 0.4 * np.sin(np.stack([rows, columns, rows * columns], -1))
    noisy = np.clip(picture + generator.normal(0, [[[0.05, 0.1, 0.02]]], picture.shape), 0, 1)
    shifted = np.roll(picture, 3, 1)
    return (
        torch.from_numpy(np.stack([picture, picture])).float(),
        torch.from_numpy(np.stack([noisy, shifted])).float(),
    )


def test_psnr_agrees_with_scikit_image(pair):
    expected = [
        peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1)
        for a, b in zip(*pair, strict=True)
    ]
    np.testing.assert_allclose(psnr(*pair).numpy(), expected, rtol=1e-5)


def test_psnr_of_a_known_error_and_of_equal_images():
    black = torch.zeros(1, 12, 12, 3)
    assert psnr(black, black + 0.1).item() == pytest.approx(20, abs=1e-4)
    assert psnr(black, black).item() == pytest.approx(100)


def test_weighted_psnr_sees_only_the_weighted_pixels():
    black = torch.zeros(1, 12, 12, 3)
    other = black.clone()
    other[:, :6] = 0.1
    other[:, 6:] = 0.9
    weight = torch.zeros(1, 12, 12)
    weight[:, :6] = 1
    assert psnr(black, other, weight).item() == pytest.approx(20, abs=1e-4)


def test_ssim_agrees_with_scikit_image(pair):
    expected = [
        structural_similarity(
            a.double().numpy(),
            b.double().numpy(),
            data_range=1,
            channel_axis=2,
            gaussian_weights=True,
            use_sample_covariance=False,
        )
        for a, b in zip(*pair, strict=True)
    ]
    np.testing.assert_allclose(ssim(*pair).numpy(), expected, atol=1e-6)


def test_weighted_ssim_is_the_mean_of_scikit_images_map_over_the_mask(pair):
    mask = np.zeros((96, 80))
    mask[20:60, 10:50] = 1
    for a, b in zip(*pair, strict=True):
        _, similarity = structural_similarity(
            a.double().numpy(),
            b.double().numpy(),
            data_range=1,
            channel_axis=2,
            gaussian_weights=True,
            use_sample_covariance=False,
            full=True,
        )
        ours = ssim(a[None], b[None], torch.from_numpy(mask).float()[None])
        assert ours.item() == pytest.approx(similarity[mask > 0].mean(), abs=1e-6)


def reference_ms_ssim(first, second, scales):
    """Float64, one channel at a time, scipy's Gaussian, plain loops."""
    weights = np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])

    def blur(image):
        for axis in (0, 1):
            image = gaussian_filter1d(image, 1.5, axis, radius=5)
        return image[5:-5, 5:-5]

    def halve(image):
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4

    channels = []
    for x, y in zip(np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0), strict=True):
        product = 1.0
        for scale in range(scales):
            mx, my = blur(x), blur(y)
            sx, sy, sxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
            term = (2 * sxy + 9e-4) / (sx + sy + 9e-4)
            if scale == scales - 1:
                term = term * (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
            product *= max(term.mean(), 0.0) ** weights[scale]
            x, y = halve(x), halve(y)  # noqa: PLW2901
        channels.append(product)
    return np.mean(channels)


def test_ms_ssim_agrees_with_a_float64_reference(pair):
    assert ms_ssim_scales(96, 80) == 3
    expected = [
        reference_ms_ssim(a.double().numpy(), b.double().numpy(), 3)
        for a, b in zip(*pair, strict=True)
    ]
    np.testing.assert_allclose(ms_ssim(*pair).numpy(), expected, atol=1e-6)


def test_ms_ssim_of_five_scales_agrees_with_the_reference():
    generator = np.random.default_rng(5)
    first = np.kron(generator.random((23, 23, 3)), np.ones((8, 8, 1)))
    second = np.clip(first + generator.normal(0, 0.1, first.shape), 0, 1)
    ours = ms_ssim(torch.from_numpy(first)[None], torch.from_numpy(second)[None])
    assert ours.item() == pytest.approx(reference_ms_ssim(first, second, 5), abs=1e-6)


def test_ms_ssim_weighted_everywhere_equals_unweighted(pair):
    weight = torch.ones(2, 96, 80)
    torch.testing.assert_close(ms_ssim(*pair, weight), ms_ssim(*pair))


@pytest.mark.parametrize(
    ("side", "name"),
    [
        (512, "ms_ssim"),
        (176, "ms_ssim"),
        (175, "ms_ssim_4scale"),
        (128, "ms_ssim_4scale"),
        (64, "ms_ssim_3scale"),
    ],
)
def test_ms_ssim_is_named_after_the_scales_that_fit(side, name):
    assert ms_ssim_name(side, side) == name


def test_an_image_smaller_than_one_window_is_refused():
    with pytest.raises(ValueError, match="smaller than one 11-px window"):
        ms_ssim_name(10, 40)


def test_windows_of_small_and_of_large_images_are_the_same(pair, monkeypatch):
    small = ms_ssim(*pair)
    monkeypatch.setattr("image_similarity.psnr_ssim.LARGEST_PRODUCT_PX", 0)
    torch.testing.assert_close(small, ms_ssim(*pair), rtol=1e-12, atol=0)


def test_a_frame_without_any_weight_has_no_value(pair):
    first, second = pair
    weight = torch.ones(first.shape[:3])
    weight[0] = 0
    for metric in (psnr, ssim, ms_ssim):
        values = metric(first, second, weight)
        assert torch.isnan(values[0])
        assert torch.isfinite(values[1:]).all()
