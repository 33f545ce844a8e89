"""Follow one person's face through a clip: who it is, where to look in each frame, when to look anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32, UInt8

from preprocessing.detection.face_detector import Detections, overlap
from preprocessing.detection.mesh import (
    FaceLandmarker,
    FacePoints,
    square_of_detection,
    square_of_points,
)
from preprocessing.detection.roi import RotatedSquare

# Two boxes belong to one person when their centres are closer than this share of their mean side...
NEAR_CENTER = 0.75
# ... and their sides differ by less than this factor.
NEAR_SIZE = 1.6
# A region that has moved by more than this share of its side since it was chosen is looked at again.
MOVED_CENTER = 0.08
# A tracked face that overlaps its detection less than this has slipped to something else.
SLIPPED_OVERLAP = 0.1


@dataclass
class PersonPath:
    """Where one person was seen in sampled frames of a clip.

    Attributes:
        frames: Indices of the frames, rising.
        boxes: Box (x0, y0, x1, y1) in pixels in each of them.
    """

    frames: list[int] = field(default_factory=list)
    boxes: list[Float32[np.ndarray, "4"]] = field(default_factory=list)

    @property
    def prominence(self) -> float:
        """Sum of the face's side over the sampled frames: large and often seen counts most."""
        return float(sum(_side(box) for box in self.boxes))

    def box_at(self, frame: int) -> Float[np.ndarray, "4"]:
        """Box at ``frame``, interpolated; the nearest one before the first and after the last."""
        columns = np.array(self.boxes, dtype=np.float64).T
        return np.array([np.interp(frame, self.frames, column) for column in columns])


def _side(box: Float[np.ndarray, "4"]) -> float:
    return float(max(box[2] - box[0], box[3] - box[1], 1e-6))


def _distance(first: Float[np.ndarray, "4"], second: Float[np.ndarray, "4"]) -> float:
    """Distance of two boxes' centres in units of their mean side; infinite where their sizes differ too much."""
    sides = _side(first), _side(second)
    if max(sides) > NEAR_SIZE * min(sides):
        return np.inf
    offset = (first[:2] + first[2:] - second[:2] - second[2:]) / 2
    return float(np.hypot(*offset)) / (sum(sides) / 2)


def link_people(samples: Sequence[tuple[int, Detections]]) -> list[PersonPath]:
    """Join the detections of sampled frames to people, the most prominent first.

    Args:
        samples: Frame index and its detections, in the order of time.
    """
    people: list[PersonPath] = []
    for frame, detections in samples:
        pairs = sorted(
            (_distance(person.boxes[-1], box), p, b)
            for p, person in enumerate(people)
            for b, box in enumerate(detections.boxes)
        )
        taken_people: set[int] = set()
        taken_boxes: set[int] = set()
        for distance, p, b in pairs:
            if distance > NEAR_CENTER or p in taken_people or b in taken_boxes:
                continue
            people[p].frames.append(frame)
            people[p].boxes.append(detections.boxes[b])
            taken_people.add(p)
            taken_boxes.add(b)
        people += [
            PersonPath([frame], [box])
            for b, box in enumerate(detections.boxes)
            if b not in taken_boxes
        ]
    return sorted(people, key=lambda person: -person.prominence)


def find_person(detections: Detections, person: PersonPath | None, frame: int) -> int | None:
    """Which detection in a frame is the person's (without one, the most certain); None where none is."""
    if len(detections) == 0:
        return None
    if person is None:
        return 0
    expected = person.box_at(frame)
    distances = [_distance(expected, box) for box in detections.boxes]
    best = int(np.argmin(distances))
    return best if distances[best] <= 2 * NEAR_CENTER else None


class FaceTracker:
    """Finds the same person's points in one frame after the other."""

    def __init__(self, landmarker: FaceLandmarker, person: PersonPath | None = None) -> None:
        """Start without a known position.

        Args:
            landmarker: The networks.
            person: Who is followed; None follows the most certain face.
        """
        self._landmarker = landmarker
        self._person = person
        self._square: RotatedSquare | None = None

    def resume(self, last: FacePoints | None) -> None:
        """Go on as if ``last`` had been found in the frame before the next one."""
        self._square = None if last is None else square_of_points(last.points)

    def find(self, image: UInt8[np.ndarray, "height width 3"], frame: int) -> FacePoints | None:
        """Points in the next frame; None where the face is not there.

        Args:
            image: sRGB, of the same size in every frame.
            frame: Index of the frame.
        """
        found = None
        if self._square is not None:
            found = self._find_near(image, self._square)
        if found is None or self._has_slipped(found, frame):
            found = self._detect(image, frame)
        self.resume(found)
        return found

    def _find_near(
        self, image: UInt8[np.ndarray, "height width 3"], square: RotatedSquare
    ) -> FacePoints | None:
        found = self._landmarker.mesh.find_points(image, square)
        if not found.is_face:
            return None
        moved = square_of_points(found.points)
        shift = np.hypot(moved.center_x - square.center_x, moved.center_y - square.center_y)
        if shift > MOVED_CENTER * square.side_px:
            again = self._landmarker.mesh.find_points(image, moved)
            found = again if again.is_face else found
        return found

    def _has_slipped(self, found: FacePoints, frame: int) -> bool:
        if self._person is None or frame not in self._person.frames:
            return False
        box = _box_of_points(found.points)
        return bool(overlap(box[None], self._person.box_at(frame))[0] < SLIPPED_OVERLAP)

    def _detect(self, image: UInt8[np.ndarray, "height width 3"], frame: int) -> FacePoints | None:
        detections = self._landmarker.detector.detect(image)
        best = find_person(detections, self._person, frame)
        if best is None:
            return None
        return self._landmarker.mesh.settle(image, square_of_detection(detections, best))


def _box_of_points(points: Float[np.ndarray, "landmark 3"]) -> Float[np.ndarray, "4"]:
    return np.concatenate([points[:, :2].min(axis=0), points[:, :2].max(axis=0)]).astype(np.float64)
