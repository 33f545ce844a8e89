import numpy as np

from media.padding import inside_source

SIZE = np.array([200, 300], np.int32)


def test_a_crop_inside_the_frame_has_no_padding():
    matrix = np.array([[1.0, 0, 0], [0, 1, 100], [0, 0, 1]])
    assert inside_source(matrix, SIZE, (200, 200)).all()


def test_columns_beyond_the_frame():
    matrix = np.array([[1.0, 0, -30], [0, 1, 10], [0, 0, 1]])
    expected = np.zeros((260, 260), bool)
    expected[:, 30:230] = True
    np.testing.assert_array_equal(inside_source(matrix, SIZE, (260, 260)), expected)


def test_a_scaled_crop():
    """Half size: crop pixel i covers source pixels 2i - 20 and 2i - 19."""
    matrix = np.array([[2.0, 0, -19.5], [0, 2, 0.5], [0, 0, 1]])
    inside = inside_source(matrix, SIZE, (130, 130))
    assert not inside[:, :10].any()
    assert inside[:, 10:110].all()
    assert not inside[:, 110:].any()
