"""The classic 68 points of one person in every frame of a clip: each frame on its own, in its detected face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from artifacts.store import ArtifactReader
from head_geometry.landmark_sets import SPARSE68
from preprocessing.detection.clip import BLOCK_FRAMES, ClipLandmarks, choose_person
from preprocessing.detection.face_detector import FaceDetector
from preprocessing.detection.fan import FaceAligner
from preprocessing.detection.tracking import find_person


def align_clip(reader: ArtifactReader, detector_path: Path, aligner: FaceAligner) -> ClipLandmarks:
    """Find the clip's main person in all frames.

    A frame in which the detector does not find the face is not valid: the network itself has points for any
    picture and does not say whether it shows a face.

    Args:
        reader: An artifact with a dataset ``image``.
        detector_path: ``face_detection_short_range.tflite``.
        aligner: The network.

    Raises:
        InputError: the detector's file is missing or damaged.
    """
    detector = FaceDetector(detector_path)
    person = choose_person(reader, detector)
    count = reader.shape("image")[0]
    points = np.zeros((count, SPARSE68.count, 3), np.float32)
    confidence, valid = np.zeros(count, np.float32), np.zeros(count, bool)
    with tqdm(desc="landmarks", total=count, unit="frame", mininterval=1) as progress:
        for start in range(0, count, BLOCK_FRAMES):
            images = reader.read("image", slice(start, min(start + BLOCK_FRAMES, count)))
            frames, boxes = [], []
            for frame, image in enumerate(images, start):
                found = detector.detect(image)
                chosen = find_person(found, person, frame)
                if chosen is not None:
                    frames.append(frame)
                    boxes.append(found.boxes[chosen])
                    confidence[frame] = found.scores[chosen]
            if frames:
                shown = [images[frame - start] for frame in frames]
                points[frames, :, :2] = aligner.find_points(shown, np.stack(boxes))
                valid[frames] = True
            progress.update(len(images))
    return ClipLandmarks(points, confidence, valid)
