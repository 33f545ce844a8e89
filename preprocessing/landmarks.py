"""Find the face points of the clip's main person in every frame.

MediaPipe's 478 points: a face detector finds the face once; after that each frame's points say where to look in
the next one. The classic 68 points of FAN: in the detected face of each frame. The points are raw: nothing is
smoothed over time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS, RENDER
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import ArtifactReader, open_artifact, write_artifact
from head_geometry.devices import find_device
from preprocessing.cores import claim_cores
from preprocessing.detection.clip import ClipLandmarks, track_clip
from preprocessing.detection.fan import FaceAligner
from preprocessing.detection.fan_clip import align_clip

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Find face landmarks in a clip or in rendered frames."""

    images: Path
    """Images to look at: an artifact of kind frames or render (its dataset `image`)."""
    detector: Path
    """Network file face_detection_short_range.tflite."""
    out: Path
    """File to write (kind landmarks)."""
    landmark_detector: Literal["mediapipe", "face_alignment"] = "mediapipe"
    """Whose points: mediapipe finds 478 (with irises), face_alignment (FAN) the classic 68."""
    mesh: Path | None = None
    """Network file face_landmark_with_attention.tflite (needed for mediapipe)."""
    fan: Path | None = None
    """Network file 2DFAN4-11f355bf06.pth.tar (needed for face_alignment)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where FAN runs; auto takes CUDA where it is at hand. MediaPipe's networks run on the CPU."""


def main(options: Options) -> None:
    """Read the images, write the landmarks.

    Raises:
        InputError: no frame of a clip shows a face, or a file or a package is missing.
    """
    with open_artifact(options.images, FRAMES, RENDER) as reader:
        clip = find_landmarks(reader, options)
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
    files = {name: getattr(options, name) for name in ("images", "detector", "mesh", "fan")}
    inputs = {name: path for name, path in files.items() if path is not None}
    arrays = {
        "points": clip.points,
        "confidence": clip.confidence,
        "valid": clip.valid,
        "image_size": np.array([width, height], np.int32),
    }
    write_artifact(
        options.out, LANDMARKS, arrays, make_provenance("preprocessing.landmarks", options, inputs)
    )


def find_landmarks(reader: ArtifactReader, options: Options) -> ClipLandmarks:
    """The points of the chosen detector in every image.

    Raises:
        InputError: a network file or the package that it needs is missing or damaged.
    """
    if options.landmark_detector == "mediapipe":
        if options.mesh is None:
            raise InputError("landmarks: --landmark-detector mediapipe needs --mesh")
        with claim_cores() as cores:
            return track_clip(reader, options.detector, options.mesh, cores)
    if options.fan is None:
        raise InputError("landmarks: --landmark-detector face_alignment needs --fan")
    aligner = FaceAligner.load(options.fan, find_device(options.device))
    return align_clip(reader, options.detector, aligner)


if __name__ == "__main__":
    run_step(Options, main)
