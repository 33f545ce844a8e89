"""Speed of landmarks and matte on this machine, and their agreement with the MediaPipe package.

    python -m benchmarks.landmarks frames.h5 [--reference points.npz --clip clip.mp4] [--package-python PYTHON]

All parts are timed in one run, in turns, so that their ratios hold on a busy machine too; times are CPU
times of one thread, except the rates of whole clips (wall clock, all cores). With the MediaPipe package's own
output (``points_static`` and ``frame_index_static``) the distance to it is printed as well. With an interpreter
that has the package (``pip install mediapipe==0.10.21`` in an environment of its own), its speed on the same
images in the same run.

Source: own.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from artifacts.kinds import FRAMES
from artifacts.step import run_step
from artifacts.store import open_artifact
from assets.fetch import fetch_asset
from media.probe import probe
from media.reader import decode_frames
from preprocessing.cores import claim_cores
from preprocessing.detection.clip import track_clip
from preprocessing.detection.mesh import INPUT_SIZE, FaceLandmarker, square_of_points
from preprocessing.detection.roi import sample_square
from preprocessing.matte import MatteMaker, face_boxes
from preprocessing.matting.filter import damp_flicker, keep_person, refine_edges
from preprocessing.matting.segmenter import Segmenter, shrink_image

ROUNDS = 60


@dataclass(frozen=True)
class Options:
    """Time landmarks and matte on a clip."""

    frames: tyro.conf.Positional[Path]
    """Clip: an artifact of kind frames."""
    reference: Path | None = None
    """Output of the MediaPipe package (.npz) for `clip`."""
    clip: Path | None = None
    """The video `reference` belongs to, uncropped."""
    package_python: Path | None = None
    """Python of an environment with the MediaPipe package."""


def time_parts(images: np.ndarray, landmarker: FaceLandmarker) -> dict[str, float]:
    """Median CPU milliseconds of each part, on frames in turn."""
    segmenter = Segmenter(fetch_asset("selfie_segmentation.tflite"))
    squares = []
    for image in images:
        points = landmarker.detect_single(image)
        if points is None:
            raise SystemExit("a frame without a face; choose another clip")
        squares.append(
            (square_of_points(points), np.r_[points[:, :2].min(0), points[:, :2].max(0)])
        )
    small = [shrink_image(image) for image in images]
    masks = [segmenter.segment(image) for image in small]
    scale = 256 / images.shape[2]
    parts: dict[str, Callable[[int], object]] = {
        "detector": lambda i: landmarker.detector.detect(images[i]),
        "face sampling (part of the mesh)": lambda i: sample_square(
            images[i], squares[i][0], INPUT_SIZE, gain=1 / 255
        ),
        "mesh, sampling included": lambda i: landmarker.mesh.find_points(images[i], squares[i][0]),
        "matte: shrink": lambda i: shrink_image(images[i]),
        "matte: network": lambda i: segmenter.segment(small[i]),
        "matte: keep person": lambda i: keep_person(masks[i], squares[i][1] * scale),
        "matte: damp flicker": lambda i: damp_flicker(masks, small, i),
        "matte: refine edges": lambda i: refine_edges(masks[i], small[i], images[i]),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(ROUNDS):
        for name, part in parts.items():
            start = time.thread_time()
            part(turn % len(images))
            times[name].append(time.thread_time() - start)
    return {name: float(np.median(values)) * 1e3 for name, values in times.items()}


def agreement(reference: Path, clip: Path, landmarker: FaceLandmarker) -> np.ndarray:
    """Distance in pixels to the package's points, frame by frame on their own: (frame, landmark)."""
    with np.load(reference) as numbers:
        wanted = dict(zip(numbers["frame_index_static"], numbers["points_static"], strict=True))
    errors = []
    info = probe(clip)
    # The package was given the pixels as they are stored, square or not.
    for index, image in enumerate(decode_frames(replace(info, size=info.stored_size))):
        if index in wanted:
            found = landmarker.detect_single(image, passes=1)
            if found is None:
                raise SystemExit(f"frame {index}: no face found where the package finds one")
            errors.append(np.linalg.norm((found - wanted[index])[:, :2], axis=1))
    return np.array(errors)


def package_rate(python: Path, images: np.ndarray) -> float:
    """Frames per second of the MediaPipe package's tracking."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, images)
        script = Path(__file__).with_name("mediapipe_package.py")
        done = subprocess.run(
            [str(python), str(script), str(path)], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise SystemExit(f"{python}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def main(options: Options) -> None:
    """Print the tables."""
    with claim_cores() as cores:
        report(options, cores)


def report(options: Options, cores: int) -> None:
    """Measure and print."""
    detector = fetch_asset("face_detection_short_range.tflite")
    mesh = fetch_asset("face_landmark_with_attention.tflite")
    landmarker = FaceLandmarker.load(detector, mesh)
    with open_artifact(options.frames, FRAMES) as reader:
        count, height, width, _ = reader.shape("image")
        print(f"{options.frames}: {count} frames of {width}x{height}")
        for name, time_ms in time_parts(reader.read("image", slice(0, 7)), landmarker).items():
            print(f"  {name:34s} {time_ms:7.2f} ms")
        rates = []
        for _ in range(3):
            start = time.perf_counter()
            tracked = track_clip(reader, detector, mesh, cores)
            rates.append(count / (time.perf_counter() - start))
        print(f"  landmarks, {cores} threads, best of three: {max(rates):.0f} frames/s")
        if options.package_python is not None:
            rate = package_rate(options.package_python, reader.read("image"))
            print(
                f"  MediaPipe package, best of three: {rate:.0f} frames/s; ratio {max(rates) / rate:.2f}"
            )
        boxes = face_boxes(tracked.points, tracked.valid, (width, height))
        maker = MatteMaker(fetch_asset("selfie_segmentation.tflite"), boxes, 3, cores)
        start = time.perf_counter()
        mattes = sum(len(block) for block in maker.iterate(reader))
        seconds = time.perf_counter() - start
        print(f"  matte, {cores} threads: {mattes / seconds:.0f} frames/s")
    if options.reference is not None and options.clip is not None:
        errors = agreement(options.reference, options.clip, landmarker)
        print(
            f"  distance to the package: mean {errors.mean():.3f} px, worst frame {errors.mean(1).max():.3f} px "
            f"({len(errors)} frames)"
        )


if __name__ == "__main__":
    run_step(Options, main)
