import numpy as np
import pytest
from clips import FACE_CENTER, detector_path, paste, person

from artifacts.errors import InputError
from preprocessing.detection.face_detector import FaceDetector, _anchor_centers, _suppress, overlap


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(detector_path())


def _room(width, height):
    room = np.full((height, width, 3), 90, np.uint8)
    room[:, : width // 2] = 110
    return room


def test_anchors_lie_in_the_middle_of_their_cells():
    anchors = _anchor_centers()
    assert anchors.shape == (896, 2)
    np.testing.assert_allclose(anchors[[0, 1, 2]], [[1 / 32] * 2, [1 / 32] * 2, [3 / 32, 1 / 32]])
    np.testing.assert_allclose(anchors[512:518], 1 / 16)
    np.testing.assert_allclose(anchors[-1], 15 / 16)


def test_overlap_of_boxes_in_closed_form():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [5, 5, 5, 5]], float)
    np.testing.assert_allclose(overlap(boxes, boxes[0]), [1, 2 / 6, 0, 0])


def test_candidates_of_one_face_are_averaged_by_their_scores():
    boxes = np.array([[0, 0, 4, 4], [1, 0, 5, 4], [10, 10, 12, 12]], np.float32)
    keypoints = np.tile(boxes[:, None, :2], (1, 6, 1))
    scores = np.array([0.6, 0.9, 0.7], np.float32)
    merged, points, certain = _suppress(boxes, keypoints, scores)
    np.testing.assert_allclose(merged, [[0.6, 0, 4.6, 4], [10, 10, 12, 12]], rtol=1e-6)
    np.testing.assert_allclose(points[:, 3], [[0.6, 0], [10, 10]], rtol=1e-6)
    np.testing.assert_allclose(certain, [0.9, 0.7])


@pytest.mark.parametrize("side", [128, 220, 600])
def test_face_of_a_photo_is_found_at_any_size(detector, side):
    image = person(side)
    image.flags.writeable = False
    found = detector.detect(image)
    assert len(found) == 1
    assert found.scores[0] > 0.8
    x0, y0, x1, y1 = found.boxes[0] / side
    assert x0 < FACE_CENTER[0] < x1
    assert y0 < FACE_CENTER[1] < y1
    assert 0.3 < x1 - x0 < 0.6
    right_eye, left_eye, nose, mouth, right_ear, left_ear = found.keypoints[0]
    assert right_ear[0] < right_eye[0] < nose[0] < left_eye[0] < left_ear[0]
    assert right_eye[1] < nose[1] < mouth[1]


@pytest.mark.parametrize("size", [(640, 300), (300, 640)])
def test_a_face_that_moves_takes_its_box_along(detector, size):
    centers = []
    for corner in ((20, 30), (70, 60)):
        image = _room(*size)
        paste(image, person(200), corner)
        centers.append(detector.detect(image).keypoints[0].mean(axis=0))
    # One pixel of the network's input is five of the image; it is right to about one.
    np.testing.assert_allclose(centers[1] - centers[0], [50, 30], atol=7.5)


def test_two_people_are_two_faces(detector):
    image = _room(460, 240)
    paste(image, person(220), (0, 20))
    paste(image, person(180), (250, 40))
    found = detector.detect(image)
    assert len(found) == 2
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert sorted(found.boxes[:, 0] > 230) == [False, True]


def test_an_empty_room_holds_no_face(detector):
    found = detector.detect(_room(200, 150))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.keypoints.shape == (0, 6, 2)


def test_missing_or_damaged_network_is_named_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.tflite: no such network file"):
        FaceDetector(tmp_path / "nowhere.tflite")
    text = tmp_path / "text.tflite"
    text.write_text("not a network")
    with pytest.raises(InputError, match=r"text\.tflite: not a TensorFlow Lite model"):
        FaceDetector(text)
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(detector_path().read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.tflite"):
        FaceDetector(cut)
