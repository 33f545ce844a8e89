import pytest
import torch

from head_geometry.images import resample_area, resize_area


def test_resize_area_is_the_mean_over_whole_blocks():
    image = torch.rand(2, 12, 8, 3)
    small = resize_area(image, (4, 4))
    expected = image.reshape(2, 4, 3, 4, 2, 3).mean((2, 4))
    torch.testing.assert_close(small, expected)


def test_resize_area_agrees_with_exact_integration_of_the_pixel_squares():
    image = torch.rand(7, 5, 1, dtype=torch.float64)
    ours = resize_area(image, (3, 4))[..., 0]
    # 4 new rows from 7 and 3 new columns from 5: repeat to a common grid, then average whole blocks.
    fine = image[..., 0].repeat_interleave(4, 0).repeat_interleave(3, 1)
    expected = fine.reshape(4, 7, 3, 5).mean((1, 3))
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)


def test_a_linear_ramp_stays_on_the_half_pixel_grid():
    columns = torch.arange(30, dtype=torch.float32)
    ramp = columns.expand(4, 30)[..., None]
    for width in (10, 15, 30):
        scale = 30 / width
        expected = (torch.arange(width) + 0.5) * scale - 0.5
        torch.testing.assert_close(resize_area(ramp, (width, 4))[0, :, 0], expected)
    grown = resize_area(ramp, (60, 4))[0, 1:-1, 0]
    torch.testing.assert_close(grown, ((torch.arange(60) + 0.5) / 2 - 0.5)[1:-1])


def test_uint8_stays_uint8_and_the_same_size_is_untouched():
    image = torch.randint(0, 256, (1, 6, 6, 1), dtype=torch.uint8)
    assert resize_area(image, (3, 3)).dtype == torch.uint8
    assert resize_area(image, (6, 6)) is image


def _map(scale_x, scale_y, x, y):
    return torch.tensor([[scale_x, 0, x], [0, scale_y, y], [0, 0, 1]], dtype=torch.float64)


def test_resampling_a_whole_image_is_resizing_it():
    image = torch.rand(2, 30, 24, 3)
    for width, height in ((10, 7), (24, 30), (50, 61), (50, 7)):
        scale_x, scale_y = 24 / width, 30 / height
        source_from_result = _map(scale_x, scale_y, 0.5 * scale_x - 0.5, 0.5 * scale_y - 0.5)
        found = resample_area(image, source_from_result, (width, height))
        torch.testing.assert_close(found, resize_area(image, (width, height)))


def test_resampling_integrates_pixel_squares_and_mixes_at_edges():
    image = torch.rand(9, 8, 2, dtype=torch.float64)
    # Result pixels of 2.5 x 1.5 source pixels, from 1 left of the source's edge and 0.5 below it.
    source_from_result = _map(2.5, 1.5, -1 + 1.25 - 0.5, 0.5 + 0.75 - 0.5)
    found = resample_area(image, source_from_result, (5, 7), outside=3.0)
    # Two by two cells in each source pixel; the result's edges lie on theirs.
    fine = torch.full((24, 28, 2), 3.0, dtype=torch.float64)
    fine[2:20, 4:20] = image.repeat_interleave(2, 0).repeat_interleave(2, 1)
    for row in range(7):
        for column in range(5):
            rows = slice(3 + 3 * row, 6 + 3 * row)
            columns = slice(2 + 5 * column, 7 + 5 * column)
            expected = fine[rows, columns].mean((0, 1))
            torch.testing.assert_close(found[row, column], expected)


def test_resampling_passes_gradients_and_refuses_turns():
    image = torch.rand(6, 6, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: resample_area(x, _map(1.7, 0.6, 0.3, -0.2), (4, 5), 1.0), image
    )
    turned = _map(1.0, 1.0, 0.0, 0.0)
    turned[0, 1], turned[1, 0] = 0.1, -0.1
    with pytest.raises(ValueError, match="scale and shift"):
        resample_area(image, turned, (3, 3))
    with pytest.raises(ValueError, match="scale and shift"):
        resample_area(image, _map(-1.0, 1.0, 0.0, 0.0), (3, 3))
