"""The classic 68 points with FAN: the chain from box to points against the package's own, loading, clips."""

import pickle
import zipfile
from types import SimpleNamespace

import face_alignment
import numpy as np
import pytest
import torch
from clips import detector_path, person, person_frames
from face_alignment.models import FAN
from image_artifacts import write_frames
from torch import nn

from artifacts.errors import InputError
from artifacts.kinds import LANDMARKS
from artifacts.store import read_artifact
from preprocessing import landmarks
from preprocessing.detection import fan
from preprocessing.detection.face_detector import FaceDetector
from preprocessing.detection.fan import FaceAligner, peak_positions, sample_crop

# A box whose square is 256 px wide and, in the package, begins and ends at whole pixels (and a thousandth, so that
# its rounding cannot go the other way).
HALF = 256 * 195 / 400 / 2
CENTER = np.array([200.501, 150.501])
BOX = np.concatenate([CENTER - HALF, CENTER + HALF]) + 0.24 * HALF * np.array([0, 1, 0, 1])


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whoever tries to download is found out."""

    def refuse(*arguments, **options):
        raise AssertionError(f"tried to download {arguments}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(face_alignment.utils, "download_url_to_file", refuse)


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory):
    """A file of the published one's layout: random weights, without the counters of newer versions."""
    generator = torch.Generator().manual_seed(0)
    state = FAN(fan.HOURGLASSES).state_dict()
    for name, value in state.items():
        if name.endswith("running_mean") or name.endswith("bias"):
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    kept = {name: value for name, value in state.items() if "num_batches" not in name}
    path = tmp_path_factory.mktemp("fan") / "2DFAN4-11f355bf06.pth.tar"
    torch.save(kept, path, _use_new_zipfile_serialization=False)
    return path


class Peaks(nn.Module):
    """Heatmaps that are Gaussians at known places, mirrored for a mirrored picture like a trained network's."""

    def __init__(self, cells):
        super().__init__()
        grid = torch.arange(64) + 0.5
        cells = np.asarray(cells, np.float32)
        x, y = (torch.tensor(cells)[:, axis, None] for axis in range(2))
        row, column = (torch.exp(-((grid - place) ** 2) / (2 * 1.5**2)) for place in (y, x))
        self.heatmaps = row[:, :, None] * column[:, None]

    def forward(self, planes):
        # The marked corner of the picture says which way round it is.
        straight = planes[:, 0, 128, 64] > planes[:, 0, 128, 192]
        mirrored = face_alignment.utils.flip(self.heatmaps[None], is_label=True)[0]
        return [torch.stack([self.heatmaps if one else mirrored for one in straight]).clone()]


def package_with(network):
    """The package's own chain around a network, without its constructor, which downloads."""
    package = object.__new__(face_alignment.FaceAlignment)
    package.device, package.dtype, package.flip_input = "cpu", torch.float32, True
    package.landmarks_type, package.max_batch_size = face_alignment.LandmarksType.TWO_D, 1
    package.face_detector = SimpleNamespace(reference_scale=face_alignment.utils.REFERENCE_SCALE)
    package.face_alignment_net = network
    return package


def package_points(network, image, box):
    """What the package finds; its coordinates run from edge to edge, (0, 0) is the image's corner."""
    return package_with(network).get_landmarks_from_image(image, [box + 0.5])[0]


def noise_image(height=400, width=450, seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    image = np.repeat(np.repeat(noise, 8, 0), 8, 1)
    image[:, :200] = np.maximum(image[:, :200], 200)
    image[:, 202:] = np.minimum(image[:, 202:], 60)
    return image


def test_known_peaks_give_the_packages_points_with_what_it_drops_behind_the_point():
    generator = np.random.default_rng(1)
    # A quarter of a cell beside the middle is what the package can say exactly.
    cells = generator.integers(4, 60, (68, 2)) + 0.5 + generator.choice([-0.25, 0.25], (68, 2))
    network, image = Peaks(cells), noise_image()
    for box in (BOX, BOX * 0.7 + 61.3, np.array([71.0, 20, 321, 290.5])):
        (found,) = FaceAligner(network).find_points([image], box[None])
        rest = found + 0.5 - package_points(network, image, box)
        inside = (found > 0).all(1)  # below 0 the package's rounding goes the other way
        assert inside.sum() > 30
        assert rest[inside].min() > -2e-3
        assert rest[inside].max() < 1 + 2e-3
        center, side = fan._look(box[None])
        np.testing.assert_allclose(found, center + (cells / 64 - 0.5) * side, atol=2e-3)


def test_peaks_between_cells_are_found_to_a_hundredth():
    cells = np.random.default_rng(2).uniform(2, 62, (68, 2))
    heatmaps = Peaks(cells).heatmaps[None].numpy()
    np.testing.assert_allclose(peak_positions(heatmaps)[0], cells, atol=0.01)


def test_peaks_at_the_edge_and_flat_maps_stay_in_their_cell():
    heatmaps = np.zeros((1, 68, 64, 64), np.float32)
    heatmaps[0, 0, 0, 63] = heatmaps[0, 1, 63, 0] = 1
    heatmaps[0, 2] = -1
    found = peak_positions(heatmaps)[0]
    np.testing.assert_allclose(found[:3], [[63.5, 0.5], [0.5, 63.5], [0.5, 0.5]])


def test_crop_is_the_packages():
    image = noise_image()
    wanted = face_alignment.utils.crop(image, CENTER + 0.5, 1.28)
    found = 255 * sample_crop(image, BOX)
    assert np.abs(found - wanted).mean() < 0.3
    # Off by one pixel, it would be far away.
    assert np.abs(found - np.roll(wanted, 1, 1)).mean() > 2


@pytest.mark.slow
def test_random_weights_give_the_packages_points(weights_path):
    aligner = FaceAligner.load(weights_path)
    image = np.asarray(person(400))
    package = package_points(aligner._network, image, BOX)
    (found,) = aligner.find_points([image], BOX[None])
    # Ours may differ by what the package's quarters leave open, half a cell of 4 px, and its whole pixels.
    rest = found + 0.5 - package
    agree = ((rest > -2) & (rest < 3)).all(1)
    assert np.ptp(package, axis=0).min() > 50
    assert agree.mean() > 0.95


def test_two_faces_at_once_are_found_like_each_alone():
    torch.manual_seed(0)
    aligner = FaceAligner(FAN(1))
    images = [np.asarray(person(400)), noise_image(400, 400)]
    boxes = np.stack([np.array([120.0, 120, 280, 290]), BOX])
    together = aligner.find_points(images, boxes)
    for row in range(2):
        alone = aligner.find_points(images[row : row + 1], boxes[row : row + 1])
        np.testing.assert_allclose(together[row], alone[0], atol=0.5)


class Hostile:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_are_not_the_weights_are_refused(tmp_path, capsys):
    path = tmp_path / "fan.pth"
    for content, words in (
        (None, "no such network file"),
        (b"", "cannot be read"),
        (b"\x80\x02garbage", "cannot be read"),
        (pickle.dumps(Hostile(), protocol=2), "cannot be read"),
    ):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            FaceAligner.load(path)
    assert "executed" not in capsys.readouterr().out
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="not the weights of 2DFAN-4"):
        FaceAligner.load(path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="no state dict"):
        FaceAligner.load(path)


@pytest.mark.filterwarnings("ignore:.*TorchScript:UserWarning")
def test_a_program_in_place_of_weights_is_not_run(tmp_path):
    path = tmp_path / "fan.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("constants.pkl", "data.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"fan/{name}", "3")
    with pytest.raises(InputError, match="cannot be read as a file of weights"):
        FaceAligner.load(path)


def test_a_missing_package_is_refused_in_one_sentence(weights_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "face_alignment", None)
    with pytest.raises(InputError, match=r"needs its package .*pip install '\.\[face_alignment\]'"):
        FaceAligner.load(weights_path)


def _run(images, folder, aligner, monkeypatch):
    monkeypatch.setattr(FaceAligner, "load", lambda path, device: aligner)
    out = folder / "landmarks.h5"
    landmarks.main(
        landmarks.Options(
            images=write_frames(folder / "images.h5", images),
            detector=detector_path(),
            out=out,
            landmark_detector="face_alignment",
            fan=detector_path(),
        )
    )
    return read_artifact(out, LANDMARKS)


class Middle(nn.Module):
    """Points in the middle of the crop, so that they follow the box."""

    def forward(self, planes):
        heatmaps = torch.zeros(len(planes), 68, 64, 64)
        heatmaps[:, :, 31:33, 31:33] = 1
        return [heatmaps]


def test_a_clip_is_followed_and_frames_without_a_face_are_not_valid(tmp_path, monkeypatch):
    corners = [(20 + 3 * i, 40) if 4 <= i < 24 else None for i in range(30)]
    found = _run(person_frames(corners), tmp_path, FaceAligner(Middle()), monkeypatch)
    present = np.array([corner is not None for corner in corners])
    np.testing.assert_array_equal(found["valid"], present)
    assert found["points"].shape == (30, 68, 3)
    assert not found["points"][~present].any()
    assert not found["confidence"][~present].any()
    assert found["confidence"][present].min() > 0.5
    still = found["points"][present, :, 0] - 3 * np.arange(4, 24)[:, None]
    assert np.ptp(still, axis=0).max() < 4
    # The box is that of the detector, and its middle raised as the package does.
    detections = FaceDetector(detector_path()).detect(person_frames([corners[10]])[0])
    x0, y0, x1, y1 = detections.boxes[0]
    middle = [(x0 + x1) / 2, (y0 + y1) / 2 - 0.12 * (y1 - y0)]
    np.testing.assert_allclose(found["points"][10, :, :2], [middle] * 68, atol=2)


def test_a_clip_without_a_face_ends_in_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no face was found in any of 3 frames"):
        _run(person_frames([None] * 3), tmp_path, FaceAligner(Middle()), monkeypatch)


@pytest.mark.parametrize(("kind", "option"), [("mediapipe", "--mesh"), ("face_alignment", "--fan")])
def test_a_missing_network_file_is_named(tmp_path, kind, option):
    images = write_frames(tmp_path / "images.h5", person_frames([(10, 10)]))
    options = landmarks.Options(
        images=images, detector=detector_path(), out=tmp_path / "out.h5", landmark_detector=kind
    )
    with pytest.raises(InputError, match=f"{kind} needs {option}"):
        landmarks.main(options)
