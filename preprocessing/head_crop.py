"""One square around the head for a whole clip: who is meant, and how much of the picture is kept.

Source: own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float64, UInt8

from media.video import PixelRectangle
from preprocessing.detection.face_detector import FaceDetector

Box = Float64[np.ndarray, "4"]

# A face narrower than this share of the detector's window is looked at again in a window around it: of 208 px in 1920
# the detector makes 254 +- 10, in a window of its own 208 +- 8. The window reaches so many box sides from its centre.
PRECISE_SHARE = 0.25
CLOSER_REACH = 1.4
# How far a face may move between two looked-at frames, and change in size, and still be the same person;
# in face widths and as a ratio.
MAX_STEP = 1.5
MAX_SIZE_RATIO = 1.7
# Reach from the centre of the face box (brows to chin), in box sides.
# HEAD holds hair, ears and chin, wherever the head goes; measured on people with short and with full hair, whose
# hair ends 0.95 to 1.15 sides above the centre and 0.6 to 0.9 beside it.
HEAD = {"left": 1.05, "right": 1.05, "up": 1.35, "down": 0.75}
# PORTRAIT adds neck, the top of the shoulders and some air, at the head's usual place.
PORTRAIT = {"left": 1.2, "right": 1.2, "up": 1.35, "down": 1.15}
# Outermost share of the face positions that may not stretch the square (a wrong detection, a short lunge).
OUTLIER_PERCENT = 1.0


@dataclass
class Track:
    """One person's face through the clip.

    Attributes:
        boxes: (x0, y0, x1, y1) of each sighting, pixels of the upright frame.
        samples: Number of the looked-at frame of each sighting.
    """

    boxes: list[Box] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """Size times presence: the sum of the face's sides over all sightings."""
        return float(sum(_side(box) for box in self.boxes))


def _side(box: Box) -> float:
    return float(np.sqrt(np.prod(np.maximum(box[2:] - box[:2], 0))))


def _center(box: Box) -> Float64[np.ndarray, "2"]:
    return (box[:2] + box[2:]) / 2


def find_faces(
    detector: FaceDetector, image: UInt8[np.ndarray, "height width 3"]
) -> Float64[np.ndarray, "detection 4"]:
    """Boxes (x0, y0, x1, y1) of all faces; small faces are looked for in ever smaller square windows.

    The detector sees any image as 128² pixels, so that a face in a wide shot would be a few pixels wide.
    """
    height, width = image.shape[:2]
    for window in (max(height, width), min(height, width), min(height, width) // 2):
        found = []
        for x, y in _window_corners(width, height, window):
            boxes = detector.detect(image[y : y + window, x : x + window]).boxes
            found.append(boxes.astype(np.float64) + np.array([x, y, x, y], dtype=np.float64))
        boxes = _without_duplicates(np.concatenate(found))
        if len(boxes):
            precise = [
                box if _side(box) > PRECISE_SHARE * window else _look_closer(detector, image, box)
                for box in boxes
            ]
            return _without_duplicates(np.stack(precise))
    return np.zeros((0, 4))


def _look_closer(
    detector: FaceDetector, image: UInt8[np.ndarray, "height width 3"], box: Box
) -> Box:
    """The same face found again in a window around it; ``box`` itself where it is not."""
    reach = CLOSER_REACH * _side(box)
    low = np.maximum(np.floor(_center(box) - reach), 0).astype(int)
    high = np.ceil(_center(box) + reach).astype(int)
    found = detector.detect(image[low[1] : high[1], low[0] : high[0]]).boxes + np.tile(low, 2)
    steps = [float(np.linalg.norm(_center(other) - _center(box))) for other in found]
    if not steps or min(steps) > 0.5 * _side(box):
        return box
    return found[int(np.argmin(steps))].astype(np.float64)


def _window_corners(width: int, height: int, window: int) -> Iterator[tuple[int, int]]:
    """Top-left corners of windows that cover the image and overlap by at least a third."""
    for y in _starts(height, window):
        for x in _starts(width, window):
            yield x, y


def _starts(length: int, window: int) -> list[int]:
    n_windows = max(1, int(np.ceil(1.5 * (length - window) / window)) + 1)
    return [round(start) for start in np.linspace(0, max(length - window, 0), n_windows)]


def _without_duplicates(boxes: Float[np.ndarray, "detection 4"]) -> Float[np.ndarray, "kept 4"]:
    """Drop a box whose centre lies in an earlier kept one (the same face in two windows)."""
    kept: list[Box] = []
    for box in boxes:
        center = _center(box)
        if not any(np.all((other[:2] <= center) & (center <= other[2:])) for other in kept):
            kept.append(box)
    return np.array(kept, dtype=np.float64).reshape(-1, 4)


def follow_faces(detections: Iterable[Float64[np.ndarray, "_ 4"]]) -> list[Track]:
    """Join the faces of successive frames to persons; the greatest (:attr:`Track.weight`) comes first."""
    tracks: list[Track] = []
    for sample, boxes in enumerate(detections):
        taken: set[int] = set()
        for box in sorted(boxes, key=_side, reverse=True):
            index = _nearest_track(tracks, taken, box)
            if index is None:
                index = len(tracks)
                tracks.append(Track())
            tracks[index].boxes.append(box)
            tracks[index].samples.append(sample)
            taken.add(index)
    return sorted(tracks, key=lambda track: track.weight, reverse=True)


def _nearest_track(tracks: list[Track], taken: set[int], box: Box) -> int | None:
    best, best_step = None, MAX_STEP
    for index, track in enumerate(tracks):
        last = track.boxes[-1]
        ratio = _side(box) / max(_side(last), 1e-6)
        step = float(np.linalg.norm(_center(box) - _center(last))) / max(_side(last), 1e-6)
        same_size = 1 / MAX_SIZE_RATIO < ratio < MAX_SIZE_RATIO
        if index not in taken and same_size and step < best_step:
            best, best_step = index, step
    return best


def _reach(boxes: Float64[np.ndarray, "sighting 4"], margins: dict[str, float]) -> Box:
    """Rectangle (x0, y0, x1, y1) that holds the margins around all sightings but the outliers."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    low, high = OUTLIER_PERCENT, 100 - OUTLIER_PERCENT
    return np.array(
        [
            np.percentile(centers[:, 0] - margins["left"] * sides, low),
            np.percentile(centers[:, 1] - margins["up"] * sides, low),
            np.percentile(centers[:, 0] + margins["right"] * sides, high),
            np.percentile(centers[:, 1] + margins["down"] * sides, high),
        ]
    )


def head_square(
    boxes: Float64[np.ndarray, "sighting 4"], frame_size: tuple[int, int]
) -> PixelRectangle:
    """The clip's crop: a square of even side with head and hair of all frames, neck and the top of the shoulders.

    It gives up air and shoulders before it leaves the frame, and leaves the frame before it cuts the head: its
    side is what HEAD (in all frames) and PORTRAIT (at the median place) want, but at most the frame's shorter
    side unless the head itself needs more; it is moved into the frame where it fits.

    Args:
        boxes: (x0, y0, x1, y1) of one person's face, pixels of the upright frame.
        frame_size: Width, height of the upright frame.
    """
    head = _reach(boxes, HEAD)
    portrait = _reach(np.median(boxes, axis=0, keepdims=True), PORTRAIT)
    wanted = np.concatenate(
        [np.minimum(head[:2], portrait[:2]), np.maximum(head[2:], portrait[2:])]
    )
    # What lies outside the frame cannot be kept, so it makes no demand.
    limits = np.array([0, 0, *frame_size], dtype=np.float64)
    seen = np.concatenate([np.maximum(head[:2], limits[:2]), np.minimum(head[2:], limits[2:])])
    needed_side = float(np.max(seen[2:] - seen[:2]))
    side = min(float(np.max(wanted[2:] - wanted[:2])), max(min(frame_size), needed_side))
    # Even, since video encoders want it; rounded up only where that costs nothing.
    side_px = 2 * int(np.ceil(side / 2)) if side > min(frame_size) else 2 * int(side / 2)
    x, y = (_start(side_px, frame_size[axis], wanted[axis::2], seen[axis::2]) for axis in (0, 1))
    return PixelRectangle(x, y, side_px, side_px)


def _start(
    side_px: int,
    frame_side_px: int,
    wanted: Float64[np.ndarray, "2"],
    seen: Float64[np.ndarray, "2"],
) -> int:
    """Where the square begins along one axis: around ``wanted``, then holding ``seen``, then inside the frame."""
    if side_px > frame_side_px:
        return (frame_side_px - side_px) // 2
    start = (wanted[0] + wanted[1] - side_px) / 2
    start = min(max(start, seen[1] - side_px), seen[0])
    return round(min(max(start, 0), frame_side_px - side_px))


def crop_matrix(crop: PixelRectangle, side_px: int) -> Float64[np.ndarray, "3 3"]:
    """``source_from_crop``: source pixel = matrix @ crop pixel, both with (0, 0) at the centre of the top-left pixel."""
    scale = crop.width / side_px
    return np.array(
        [
            [scale, 0.0, crop.x + (scale - 1) / 2],
            [0.0, scale, crop.y + (scale - 1) / 2],
            [0.0, 0.0, 1.0],
        ]
    )
