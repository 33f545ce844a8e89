"""Find faces in one image with the short-range BlazeFace network.

Source: Bazarevsky et al., BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs, 2019; the
anchor layout, thresholds and weighted non-maximum suppression are those of MediaPipe's face_detection graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from preprocessing.detection.roi import RotatedSquare, sample_square
from preprocessing.detection.tflite import Network, read_model_file

INPUT_SIZE = 128
# (cells along a side, anchors per cell) of each feature map, in the order of the network's output.
ANCHOR_GRIDS = ((16, 2), (8, 6))
KEYPOINTS = 6
OVERLAP_THRESHOLD = 0.3


@dataclass(frozen=True)
class Detections:
    """Faces of one image, the most certain first.

    Attributes:
        boxes: (x0, y0, x1, y1) in pixels; (0, 0) is the centre of the top-left pixel. Brows to chin, without hair.
        keypoints: Right eye, left eye (the subject's), nose tip, mouth, right ear, left ear, in pixels.
        scores: Certainty in 0..1.
    """

    boxes: Float32[np.ndarray, "detection 4"]
    keypoints: Float32[np.ndarray, "detection 6 2"]
    scores: Float32[np.ndarray, " detection"]

    def __len__(self) -> int:
        return len(self.scores)


class FaceDetector:
    """Finds every face of an image that is wider than about a twelfth of the longer side."""

    def __init__(self, model_path: Path, min_score: float = 0.5) -> None:
        """Load the network.

        Args:
            model_path: ``face_detection_short_range.tflite``.
            min_score: Faces less certain than this are dropped (0..1).

        Raises:
            InputError: the file is missing or damaged.
        """
        self._network = Network(read_model_file(model_path), str(model_path))
        self._anchors = _anchor_centers()
        self._min_score = min_score

    def detect(self, image: UInt8[np.ndarray, "height width 3"]) -> Detections:
        """All faces of an sRGB image of any size."""
        height, width = image.shape[:2]
        side = float(max(height, width))
        square = RotatedSquare(width / 2, height / 2, side)
        pixels = sample_square(image, square, INPUT_SIZE, border="black", gain=2 / 255, offset=-1.0)
        outputs = self._network.run({"input": pixels})
        boxes, points, scores = _decode(
            outputs["regressors"][0], outputs["classificators"][0, :, 0], self._anchors
        )
        keep = scores >= self._min_score
        boxes, points, scores = _suppress(boxes[keep], points[keep], scores[keep])
        corner = np.array([width - side, height - side], dtype=np.float32) / 2
        return Detections(
            boxes=boxes * np.float32(side) + np.tile(corner, 2),
            keypoints=points * np.float32(side) + corner,
            scores=scores,
        )


def _anchor_centers() -> Float32[np.ndarray, "anchor 2"]:
    """Centre (x, y) of every anchor in 0..1 of the network's input."""
    grids = []
    for cells, per_cell in ANCHOR_GRIDS:
        centers = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(centers, centers, indexing="ij")
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), per_cell, axis=0))
    return np.concatenate(grids)


def _decode(
    regressors: Float32[np.ndarray, "anchor 16"],
    logits: Float32[np.ndarray, " anchor"],
    anchors: Float32[np.ndarray, "anchor 2"],
) -> tuple[
    Float32[np.ndarray, "anchor 4"],
    Float32[np.ndarray, "anchor 6 2"],
    Float32[np.ndarray, " anchor"],
]:
    """Corner boxes, keypoints (both in 0..1 of the network's input) and scores."""
    values = regressors.reshape(len(anchors), 2 + KEYPOINTS, 2) / np.float32(INPUT_SIZE)
    center, half = values[:, 0] + anchors, values[:, 1] / 2
    boxes = np.concatenate([center - half, center + half], axis=1)
    scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    return boxes, values[:, 2:] + anchors[:, None], scores.astype(np.float32)


def overlap(
    boxes: Float[np.ndarray, "detection 4"], box: Float[np.ndarray, "4"]
) -> Float[np.ndarray, " detection"]:
    """Intersection over union of each of ``boxes`` with ``box``."""
    size = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    intersection = np.prod(np.maximum(size, 0), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return intersection / np.maximum(area - intersection, 1e-12)


def _suppress(
    boxes: Float32[np.ndarray, "candidate 4"],
    keypoints: Float32[np.ndarray, "candidate 6 2"],
    scores: Float32[np.ndarray, " candidate"],
) -> tuple[
    Float32[np.ndarray, "detection 4"],
    Float32[np.ndarray, "detection 6 2"],
    Float32[np.ndarray, " detection"],
]:
    """One detection per face: the score-weighted mean of all candidates that overlap the best one."""
    order = np.argsort(-scores, kind="stable")
    flat = np.concatenate([boxes, keypoints.reshape(-1, 2 * KEYPOINTS)], axis=1)
    merged, best_scores = [], []
    while len(order):
        near = overlap(boxes[order], boxes[order[0]]) > OVERLAP_THRESHOLD
        near[0] = True  # a degenerate box overlaps not even itself
        group = order[near]
        merged.append(np.average(flat[group], axis=0, weights=scores[group]))
        best_scores.append(scores[order[0]])
        order = order[~near]
    rows = np.array(merged, dtype=np.float32).reshape(-1, 4 + 2 * KEYPOINTS)
    return (
        rows[:, :4],
        rows[:, 4:].reshape(-1, KEYPOINTS, 2),
        np.array(best_scores, dtype=np.float32),
    )
