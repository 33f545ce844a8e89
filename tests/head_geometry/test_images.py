import torch

from head_geometry.images import resize_area


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
