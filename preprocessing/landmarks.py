"""Find the 478 face points of the clip's main person in every frame.

A face detector finds the face once; after that each frame's points say where to look in the next one.
The points are raw: nothing is smoothed over time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS, RENDER
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import ArtifactReader, open_artifact, write_artifact
from preprocessing.landmark_mesh import POINTS, FaceLandmarker
from preprocessing.landmark_tracking import FaceTracker, PersonPath, link_people

LOG = logging.getLogger(__name__)
BLOCK_FRAMES = 16
SAMPLE_EVERY, MIN_SAMPLES = 10, 20


@dataclass(frozen=True)
class Options:
    """Find face landmarks in a clip or in rendered frames."""

    images: Path
    """Images to look at: an artifact of kind frames or render (its dataset `image`)."""
    detector: Path
    """Network file face_detection_short_range.tflite."""
    mesh: Path
    """Network file face_landmark_with_attention.tflite."""
    out: Path
    """File to write (kind landmarks)."""


@dataclass(frozen=True)
class ClipLandmarks:
    """Points of one person in every frame.

    Attributes:
        points: x, y in pixels ((0, 0) is the centre of the top-left pixel), z on the same scale; 0 where not valid.
        confidence: Certainty in 0..1 that the face is there; 0 where not valid.
        valid: False where the face was not found.
    """

    points: Float32[np.ndarray, "frame 478 3"]
    confidence: Float32[np.ndarray, "frame"]
    valid: Bool[np.ndarray, "frame"]


def choose_person(reader: ArtifactReader, landmarker: FaceLandmarker) -> PersonPath | None:
    """The person who is largest and most present in frames sampled over the clip; None where no face is seen in them."""
    count = reader.shape("image")[0]
    step = max(1, min(SAMPLE_EVERY, count // MIN_SAMPLES))
    samples = [
        (index, landmarker.detector.detect(reader.read("image", index)))
        for index in range(0, count, step)
    ]
    people = link_people(samples)
    if len(people) > 1:
        LOG.info("%d faces or parts of their paths seen; following the most prominent", len(people))
    return people[0] if people else None


def iterate_images(reader: ArtifactReader) -> Iterator[np.ndarray]:
    """Every image of an artifact, read in blocks."""
    count = reader.shape("image")[0]
    for start in range(0, count, BLOCK_FRAMES):
        yield from reader.read("image", slice(start, min(start + BLOCK_FRAMES, count)))


def track_clip(reader: ArtifactReader, landmarker: FaceLandmarker) -> ClipLandmarks:
    """Follow the clip's main person through all frames."""
    count = reader.shape("image")[0]
    tracker = FaceTracker(landmarker, choose_person(reader, landmarker))
    points = np.zeros((count, POINTS, 3), np.float32)
    confidence = np.zeros(count, np.float32)
    valid = np.zeros(count, bool)
    images = tqdm(
        iterate_images(reader), desc="landmarks", total=count, unit="frame", mininterval=1
    )
    for index, image in enumerate(images):
        found = tracker.find(image, index)
        if found is not None:
            points[index], confidence[index] = found.points, found.presence
            valid[index] = True
    return ClipLandmarks(points, confidence, valid)


def main(options: Options) -> None:
    """Read the images, write the landmarks.

    Raises:
        InputError: no frame of a clip shows a face.
    """
    landmarker = FaceLandmarker(options.detector, options.mesh)
    with open_artifact(options.images, FRAMES, RENDER) as reader:
        clip = track_clip(reader, landmarker)
        _, height, width, _ = reader.shape("image")
        is_clip = reader.spec.kind == FRAMES.kind
    found = int(clip.valid.sum())
    if found == 0 and is_clip:
        raise InputError(
            f"{options.images}: no face was found in any of {len(clip.valid)} frames; choose a clip in which one person faces the camera"
        )
    if found < len(clip.valid):
        # An avatar that shows no face is a result, not an error: its frames are marked as not valid.
        LOG.warning("%s: face found in %d of %d frames", options.images, found, len(clip.valid))
    inputs = {"images": options.images, "detector": options.detector, "mesh": options.mesh}
    arrays = {
        "points": clip.points,
        "confidence": clip.confidence,
        "valid": clip.valid,
        "image_size": np.array([width, height], np.int32),
    }
    write_artifact(
        options.out, LANDMARKS, arrays, make_provenance("preprocessing.landmarks", options, inputs)
    )


if __name__ == "__main__":
    run_step(Options, main)
