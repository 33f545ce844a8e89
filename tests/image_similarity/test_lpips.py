import numpy as np
import pytest
import torch
from lpips_weights import random_state, write_weights
from scipy.signal import correlate2d

from artifacts.errors import InputError
from image_similarity.lpips import Lpips, load_lpips


@pytest.fixture(scope="module")
def state():
    return random_state()


def reference_lpips(first, second, state):
    """Float64 numpy: explicit windows for every convolution and pooling, no shared code."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])

    def convolve(planes, index, stride, padding):
        weight = state[f"features.{index}.weight"].double().numpy()
        bias = state[f"features.{index}.bias"].double().numpy()
        planes = np.pad(planes, ((0, 0), (padding, padding), (padding, padding)))
        kernel = weight.shape[-1]
        windows = np.lib.stride_tricks.sliding_window_view(planes, (kernel, kernel), (1, 2))
        windows = windows[:, ::stride, ::stride]
        out = np.einsum("cyxij,ocij->oyx", windows, weight, optimize=True)
        return np.maximum(out + bias[:, None, None], 0)

    def pool(planes):
        windows = np.lib.stride_tricks.sliding_window_view(planes, (3, 3), (1, 2))
        return windows[:, ::2, ::2].max((3, 4))

    stacks = []
    for image in (first, second):
        planes = np.moveaxis((image * 2 - 1 - shift) / scale, -1, 0)
        one = convolve(planes, 0, 4, 2)
        two = convolve(pool(one), 3, 1, 2)
        three = convolve(pool(two), 6, 1, 1)
        four = convolve(three, 8, 1, 1)
        stacks.append((one, two, three, four, convolve(four, 10, 1, 1)))
    total = 0.0
    for number, pair in enumerate(zip(*stacks, strict=True)):
        a, b = (x / (np.sqrt((x**2).sum(0)) + 1e-10) for x in pair)
        head = state[f"lin{number}.model.1.weight"].double().numpy()[0, :, 0, 0]
        total += np.einsum("c,cyx->yx", head, (a - b) ** 2).mean()
    return total


def test_lpips_agrees_with_an_independent_computation(state):
    generator = np.random.default_rng(1)
    first, second = generator.random((2, 67, 64, 3))
    ours = Lpips(state)(
        torch.from_numpy(first)[None].float(), torch.from_numpy(second)[None].float()
    )
    assert ours.item() == pytest.approx(reference_lpips(first, second, state), rel=1e-4)


# What lpips 0.1.4 computes with these weights in torchvision's networks.
@pytest.mark.parametrize(
    ("backbone", "expected"),
    [("alex", 1.0116294622), ("vgg", 0.3746753633), ("squeeze", 0.8209994435)],
)
def test_each_backbone_agrees_with_the_published_package(backbone, expected):
    first, second = torch.from_numpy(np.random.default_rng(1).random((2, 1, 67, 64, 3))).float()
    found = Lpips(random_state(backbone), backbone)(first, second)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_weights_of_another_backbone_are_refused(tmp_path):
    files = write_weights(tmp_path, "squeeze")
    with pytest.raises(InputError, match=r"not the weights of LPIPS with backbone vgg .*lpips_vgg"):
        load_lpips(files, "vgg")


def test_the_references_convolution_is_the_textbook_one(state):
    plane = np.random.default_rng(0).random((9, 9))
    kernel = state["features.6.weight"][0, 0].double().numpy()
    windows = np.lib.stride_tricks.sliding_window_view(plane, (3, 3))
    np.testing.assert_allclose(
        np.einsum("yxij,ij->yx", windows, kernel), correlate2d(plane, kernel, "valid")
    )


def test_equal_images_are_at_distance_zero(state):
    image = torch.rand(1, 64, 64, 3)
    assert Lpips(state)(image, image).item() == 0


def test_weights_split_over_two_files_as_they_are_published(state, tmp_path):
    backbone, heads = write_weights(tmp_path)
    image, other = torch.rand(2, 1, 64, 64, 3)
    both = load_lpips([backbone, heads])
    torch.testing.assert_close(both(image, other), Lpips(state)(image, other))
    with pytest.raises(
        InputError, match=r"alexnet\.pth: not the weights of LPIPS with backbone alex .*lin0"
    ):
        load_lpips([backbone])


def test_a_damaged_or_foreign_file_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"not a file of weights")
    with pytest.raises(InputError, match=r"bad\.pth: cannot be read as a file of weights"):
        load_lpips([tmp_path / "bad.pth"])
    with pytest.raises(InputError, match="cannot be read"):
        load_lpips([tmp_path / "absent.pth"])


def test_a_network_that_learns_by_it_does_not_carry_it(state):
    assert not Lpips(state).state_dict()
    assert not list(Lpips(state).parameters())
