"""Find the 478 face points of the clip's main person in every frame.

A face detector finds the face once; after that each frame's points say where to look in the next one.
The points are raw: nothing is smoothed over time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS, RENDER
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import open_artifact, write_artifact
from preprocessing.cores import claim_cores
from preprocessing.detection.clip import track_clip

LOG = logging.getLogger(__name__)


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


def main(options: Options) -> None:
    """Read the images, write the landmarks.

    Raises:
        InputError: no frame of a clip shows a face.
    """
    with open_artifact(options.images, FRAMES, RENDER) as reader, claim_cores() as cores:
        clip = track_clip(reader, options.detector, options.mesh, cores)
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
