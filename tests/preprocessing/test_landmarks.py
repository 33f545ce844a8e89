import h5py
import numpy as np
import pytest
from clips import detector_path, paste, person, person_frames
from image_artifacts import decode_clip, write_frames, write_render

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS
from artifacts.store import open_artifact, read_artifact
from assets.fetch import fetch_asset
from preprocessing.detection import clip as landmark_clip
from preprocessing.detection.clip import track_clip
from preprocessing.detection.face_detector import Detections, FaceDetector
from preprocessing.detection.mesh import FaceLandmarker
from preprocessing.detection.tracking import link_people
from preprocessing.landmarks import Options, main

CLIPS = ("carphone", "obama_20s", "wojtek_16s")
LIPS = (13, 14, 61, 291)


@pytest.fixture(scope="module")
def mesh_path():
    return fetch_asset("face_landmark_with_attention.tflite")


@pytest.fixture(scope="module")
def landmarker(mesh_path):
    return FaceLandmarker.load(detector_path(), mesh_path)


@pytest.fixture(scope="module")
def reference(shared_data, shared_fixtures):
    """Frames of a real clip and what the MediaPipe package finds in them."""

    def load(name):
        path = shared_data / f"clips/{name}.mp4"
        clip = fetch_asset("carphone_pristine.mp4") if name == "carphone" else path
        with np.load(shared_fixtures / f"landmarks/{name}.npz") as numbers:
            return decode_clip(clip), dict(numbers)

    return load


def _run(images, folder, mesh_path, write=write_frames):
    images_path, out = write(folder / "images.h5", images), folder / "landmarks.h5"
    main(Options(images=images_path, detector=detector_path(), mesh=mesh_path, out=out))
    return read_artifact(out, LANDMARKS)


def _error_px(points, wanted):
    return np.linalg.norm((points - wanted)[..., :2], axis=-1)


@pytest.mark.parametrize("name", CLIPS)
def test_single_frames_equal_the_package(name, landmarker, reference):
    frames, numbers = reference(name)
    wanted = numbers["points_static"]
    found = np.stack(
        [landmarker.detect_single(frames[i], passes=1) for i in numbers["frame_index_static"]]
    )
    assert _error_px(found, wanted).mean() < 0.1
    # The refined parts on their own, so that a slip in one of them cannot hide in the mean.
    for part in (LIPS, range(468, 473), range(473, 478), (33, 133, 145, 159), (362, 263, 374, 386)):
        assert _error_px(found, wanted)[:, list(part)].mean() < 0.1
    assert np.abs(found - wanted)[..., 2].mean() < 0.1


@pytest.mark.parametrize("name", CLIPS)
def test_tracked_clip_equals_the_package(name, mesh_path, reference, tmp_path):
    frames, numbers = reference(name)
    count = min(len(frames), 150)
    found = _run(frames[:count], tmp_path, mesh_path)
    assert found["valid"].all()
    assert found["confidence"].min() > 0.9
    np.testing.assert_array_equal(found["image_size"], frames.shape[2:0:-1])
    # The package's own first frames hang on the detector's box; ours are settled from the start.
    error = _error_px(found["points"], numbers["points_video"][:count])
    assert error[12:].mean() < 0.15


def test_settled_points_no_longer_depend_on_the_first_look(landmarker):
    image = person(300)
    points = [landmarker.detect_single(image, passes) for passes in (1, 5, 9)]
    assert _error_px(points[0], points[2]).mean() > 0.3
    assert _error_px(points[1], points[2]).mean() < 0.2


def test_small_renders_work_and_agree_with_large_ones(landmarker):
    small, large = (landmarker.detect_single(person(side)) for side in (128, 512))
    eyes = np.linalg.norm((large[33] - large[263])[:2])
    assert _error_px((small[:, :2] + 0.5) * 4 - 0.5, large[:, :2]).mean() < 0.05 * eyes


def test_no_face_is_none(landmarker):
    assert landmarker.detect_single(np.full((100, 140, 3), 127, np.uint8)) is None


def test_face_in_a_third_of_the_frames(mesh_path, tmp_path):
    corners = [(20 + 3 * i, 40) if 10 <= i < 20 else None for i in range(30)]
    found = _run(person_frames(corners), tmp_path, mesh_path)
    present = np.array([corner is not None for corner in corners])
    np.testing.assert_array_equal(found["valid"], present)
    assert not found["points"][~present].any()
    assert not found["confidence"][~present].any()
    # Tracked where it is: the points move with the photo.
    still = found["points"][present, :, 0] - 3 * np.arange(10, 20)[:, None]
    assert np.ptp(still, axis=0).mean() < 3


def test_clip_without_a_face_ends_in_one_sentence(mesh_path, tmp_path):
    frames = person_frames([None] * 5)
    with pytest.raises(InputError, match=r"images\.h5: no face was found in any of 5 frames"):
        _run(frames, tmp_path, mesh_path)
    assert not (tmp_path / "landmarks.h5").exists()


def test_render_without_a_face_is_a_result(mesh_path, tmp_path):
    found = _run(person_frames([None] * 3), tmp_path, mesh_path, write=write_render)
    assert not found["valid"].any()


def test_render_is_read_like_a_clip(mesh_path, tmp_path):
    found = _run(person_frames([(10, 20)] * 3), tmp_path, mesh_path, write=write_render)
    assert found["valid"].all()


def _box(x, y, side):
    return np.array([x, y, x + side, y + side], np.float32)


def _detections(*boxes):
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros((count, 6, 2), np.float32),
        np.ones(count, np.float32),
    )


def test_people_are_linked_by_place_whatever_their_order():
    samples = []
    for frame in range(0, 100, 10):
        large, small = _box(100 + frame / 2, 50, 60), _box(300 - frame / 2, 60, 30)
        boxes = [small, large] if frame % 20 else [large, small]
        samples.append((frame, _detections(*(boxes[:1] if frame == 50 else boxes))))
    people = link_people(samples)
    assert [len(p.frames) for p in people] == [9, 10]
    assert all(p.boxes[0][2] - p.boxes[0][0] == p.boxes[-1][2] - p.boxes[-1][0] for p in people)
    np.testing.assert_allclose(people[0].box_at(15), _box(107.5, 50, 60))


def test_someone_small_who_stays_beats_someone_large_who_passes():
    samples = [
        (frame, _detections(_box(10, 10, 40), *([_box(200, 20, 90)] if frame < 3 else [])))
        for frame in range(10)
    ]
    assert len(link_people(samples)[0].frames) == 10


def test_of_two_people_the_larger_is_followed_throughout(mesh_path, tmp_path):
    # The large one comes later, leaves for a while, and both move.
    frames = person_frames([(5 + i, 150) for i in range(40)], size=(420, 300), side=110)
    for i, frame in enumerate(frames):
        if i >= 3 and not 15 <= i < 20:
            paste(frame, person(200), (210 - i, 60))
    found = _run(frames, tmp_path, mesh_path)
    width = np.ptp(found["points"][..., 0], axis=1)
    present = np.array([i >= 3 and not 15 <= i < 20 for i in range(40)])
    np.testing.assert_array_equal(found["valid"], present)
    assert (width[present] > 65).all()


@pytest.fixture
def moving_clip(tmp_path):
    corners = [(int(60 + 40 * np.sin(i / 6)), int(40 + 15 * np.cos(i / 5))) for i in range(60)]
    return write_frames(tmp_path / "moving.h5", person_frames(corners, size=(300, 260), side=180))


def _track(path, mesh_path, threads=1):
    with open_artifact(path, FRAMES) as reader:
        return track_clip(reader, detector_path(), mesh_path, threads)


def test_segments_and_threads_do_not_change_the_result(moving_clip, mesh_path, monkeypatch):
    monkeypatch.setattr(landmark_clip, "SHORTEST_SEGMENT", 60)
    whole = _track(moving_clip, mesh_path)
    monkeypatch.setattr(landmark_clip, "SHORTEST_SEGMENT", 16)
    one, two = (_track(moving_clip, mesh_path, threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.points, two.points)
    assert one.valid.all()
    eyes = np.linalg.norm((whole.points[0, 33] - whole.points[0, 263])[:2])
    assert _error_px(one.points, whole.points).mean(axis=1).max() < 0.01 * eyes


def test_segments_are_even_and_neither_short_nor_long():
    for count in (1, 48, 100, 382, 400, 513, 18_000):
        length = landmark_clip.segment_frames(count)
        assert min(count, landmark_clip.SHORTEST_SEGMENT) <= length
        assert length <= landmark_clip.LONGEST_SEGMENT
        if count > 4 * landmark_clip.SHORTEST_SEGMENT:
            n_segments = -(-count // length)
            assert n_segments % landmark_clip.SEGMENTS_AT_ONCE == 0
            # The last segment is hardly shorter than the rest.
            assert n_segments * length - count < n_segments


def test_a_face_that_only_tracking_can_hold_is_held_across_segments(
    moving_clip, mesh_path, monkeypatch
):
    with h5py.File(moving_clip, "a") as file:
        # A mark in a corner says in which frames the detector below sees anything.
        file["image"][:, 0, 0] = 0
        file["image"][:10, 0, 0] = 255
    detect = FaceDetector.detect
    monkeypatch.setattr(
        FaceDetector,
        "detect",
        lambda self, image: detect(self, image if image[0, 0, 0] else np.zeros_like(image)),
    )
    monkeypatch.setattr(landmark_clip, "SHORTEST_SEGMENT", 60)
    whole = _track(moving_clip, mesh_path)
    monkeypatch.setattr(landmark_clip, "SHORTEST_SEGMENT", 16)
    cut = _track(moving_clip, mesh_path, threads=2)
    assert whole.valid.all()
    assert cut.valid.all()
    np.testing.assert_allclose(cut.points, whole.points, atol=0.1)
