"""The 478 face points inside one region of an image: the attention mesh with its refined lips, eyes and irises."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from preprocessing.detection.face_detector import Detections, FaceDetector
from preprocessing.detection.operators import MESH_OPERATORS
from preprocessing.detection.roi import RotatedSquare, sample_square, square_around
from preprocessing.detection.tflite_graph import SplitNetwork

INPUT_SIZE = 192
MESH_POINTS, IRIS_POINTS = 468, 5
POINTS = MESH_POINTS + 2 * IRIS_POINTS
# Outer corners of the subject's right and left eye.
EYE_CORNERS = [33, 263]
# The first points of each refined eye are its lid contour, both corners included.
LID_POINTS = 16
PRESENCE_THRESHOLD = 0.5
# The points hang a little on the region they were looked for in; after so many passes no longer.
SETTLE_PASSES = 5
# Refined output, and the operator's output in the graph whose option lists the mesh points it replaces.
REFINED = {
    "output_lips": "landmarks_to_transform_matrix_v2",
    "output_left_eye": "landmarks_to_transform_matrix_v2_1",
    "output_right_eye": "landmarks_to_transform_matrix_v2_2",
}
IRISES = {"output_left_iris": "output_left_eye", "output_right_iris": "output_right_eye"}


@dataclass(frozen=True)
class FacePoints:
    """What the mesh network found in one region.

    Attributes:
        points: x, y in pixels of the image ((0, 0) is the centre of the top-left pixel); z on the same
            scale, smaller is nearer. 468 refined mesh points, then 5 of each iris.
        presence: Certainty in 0..1 that the region holds a face.
    """

    points: Float32[np.ndarray, "478 3"]
    presence: float

    @property
    def is_face(self) -> bool:
        """True where a face is more likely than not."""
        return self.presence >= PRESENCE_THRESHOLD


class FaceMesh:
    """Runs the attention mesh in a region of an image."""

    def __init__(self, model_path: Path) -> None:
        """Load the network.

        Args:
            model_path: ``face_landmark_with_attention.tflite``.

        Raises:
            InputError: the file is missing, damaged or another network.
        """
        self._network = SplitNetwork(model_path, MESH_OPERATORS)
        options = self._network.step_options
        self._replaced = {name: options[step]["subset_idxs"] for name, step in REFINED.items()}

    def twin(self) -> FaceMesh:
        """The same mesh for another thread; much faster than loading the file again."""
        twin = copy(self)
        twin._network = self._network.twin()
        return twin

    def find_points(
        self, image: UInt8[np.ndarray, "height width 3"], square: RotatedSquare
    ) -> FacePoints:
        """The points of the face in ``square``, whether or not there is one."""
        pixels = sample_square(image, square, INPUT_SIZE, gain=1 / 255)
        outputs = self._network.run({"input_1": pixels})
        points = self._merge(outputs)
        points *= np.float32(1 / INPUT_SIZE)
        matrix = square.image_from_unit().astype(np.float32)
        points[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        points[:, 2] *= np.float32(square.side_px)
        logit = float(outputs["conv_faceflag"].ravel()[0])
        return FacePoints(points, float(1 / (1 + np.exp(-logit))))

    def settle(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        square: RotatedSquare,
        passes: int = SETTLE_PASSES,
    ) -> FacePoints | None:
        """Points after looking ``passes`` times, each time where the last points say; None where there is no face."""
        found = None
        for _ in range(passes):
            found = self.find_points(image, square)
            if not found.is_face:
                return None
            square = square_of_points(found.points)
        return found

    def _merge(self, outputs: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "478 3"]:
        """One list of points: refined x and y where there are any, an iris as deep as its lids on average."""
        points = np.empty((POINTS, 3), np.float32)
        points[:MESH_POINTS] = outputs["output_mesh_identity"].reshape(MESH_POINTS, 3)
        for name, indices in self._replaced.items():
            points[indices, :2] = outputs[name].reshape(-1, 2)
        start = MESH_POINTS
        for name, eye in IRISES.items():
            iris = points[start : start + IRIS_POINTS]
            iris[:, :2] = outputs[name].reshape(IRIS_POINTS, 2)
            iris[:, 2] = points[self._replaced[eye][:LID_POINTS], 2].mean()
            start += IRIS_POINTS
        return points


def square_of_points(points: Float[np.ndarray, "landmark 3"]) -> RotatedSquare:
    """Where to look for the face in the next image."""
    xy = points[:, :2]
    return square_around(xy.min(axis=0), xy.max(axis=0), xy[EYE_CORNERS])


def square_of_detection(detections: Detections, index: int) -> RotatedSquare:
    """Where to look for the points of a detected face."""
    box = detections.boxes[index]
    return square_around(box[:2], box[2:], detections.keypoints[index, :2])


class FaceLandmarker:
    """Detector and mesh together; serves one thread at a time."""

    def __init__(self, detector: FaceDetector, mesh: FaceMesh) -> None:
        self.detector, self.mesh = detector, mesh

    @classmethod
    def load(cls, detector_path: Path, mesh_path: Path) -> FaceLandmarker:
        """Load both networks.

        Args:
            detector_path: ``face_detection_short_range.tflite``.
            mesh_path: ``face_landmark_with_attention.tflite``.

        Raises:
            InputError: a file is missing or damaged.
        """
        return cls.load_several(1, detector_path, mesh_path)[0]

    @classmethod
    def load_several(cls, count: int, detector_path: Path, mesh_path: Path) -> list[FaceLandmarker]:
        """As :meth:`load`, one for each of ``count`` threads."""
        mesh = FaceMesh(mesh_path)
        meshes = [mesh, *(mesh.twin() for _ in range(count - 1))]
        return [cls(FaceDetector(detector_path), one) for one in meshes]

    def detect_single(
        self, image: UInt8[np.ndarray, "height width 3"], passes: int = SETTLE_PASSES
    ) -> Float32[np.ndarray, "478 3"] | None:
        """Points of the most certain face of one image on its own; None where there is no face.

        Args:
            image: sRGB.
            passes: How often to look, each time where the last points say. One pass is what MediaPipe's
                static mode does; its points differ by 1 to 2 % of the eye distance from those that
                tracking settles on, which the default reproduces.
        """
        detections = self.detector.detect(image)
        if len(detections) == 0:
            return None
        found = self.mesh.settle(image, square_of_detection(detections, 0), passes)
        return None if found is None else found.points
