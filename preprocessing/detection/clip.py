"""Track one person through a whole clip on several cores, with the result of tracking frame by frame.

The clip is cut into segments that are tracked at the same time. Each starts some frames early, from a
detection; where the points it has reached by then are not those with which the segment before it ended, the
segment is tracked again from there, until both agree. The length of the clip alone decides on the segments,
so that the number of cores never changes the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from jaxtyping import Bool, Float32
from tqdm import tqdm

from artifacts.store import ArtifactReader
from preprocessing.detection.face_detector import FaceDetector
from preprocessing.detection.mesh import POINTS, FaceLandmarker, FacePoints
from preprocessing.detection.tracking import FaceTracker, PersonPath, link_people

BLOCK_FRAMES = 16
LEAD_FRAMES = 8
# Bounds of a segment: short ones are mostly lead, long ones leave cores idle while the last one is tracked.
SHORTEST_SEGMENT, LONGEST_SEGMENT = 48, 128
# Segments come in multiples of this many, so that few cores get equal shares.
SEGMENTS_AT_ONCE = 4
# Tracks agree when their points differ by less than this on average, as a share of the face's width.
AGREEMENT = 2e-3
SAMPLE_EVERY, MIN_SAMPLES = 20, 20


@dataclass(frozen=True)
class ClipLandmarks:
    """Points of one person in every frame.

    Attributes:
        points: x, y in pixels ((0, 0) is the centre of the top-left pixel), z on the same scale; 0 where not valid.
        confidence: Certainty in 0..1 that the face is there; 0 where not valid.
        valid: False where the face was not found.
    """

    points: Float32[np.ndarray, "frame landmark 3"]
    confidence: Float32[np.ndarray, " frame"]
    valid: Bool[np.ndarray, " frame"]


@dataclass
class _Segment:
    """Part of a clip: its first frame, what was found in it and in the frame before it."""

    start: int
    found: list[FacePoints | None]
    lead: FacePoints | None


def choose_person(reader: ArtifactReader, detector: FaceDetector) -> PersonPath | None:
    """The person who is largest and most present in frames sampled over the clip; None where no face is seen in them."""
    count = reader.shape("image")[0]
    step = max(1, min(SAMPLE_EVERY, count // MIN_SAMPLES))
    people = link_people(
        [(index, detector.detect(reader.read("image", index))) for index in range(0, count, step)]
    )
    return people[0] if people else None


def track_clip(
    reader: ArtifactReader, detector_path: Path, mesh_path: Path, threads: int
) -> ClipLandmarks:
    """Follow the clip's main person through all frames.

    Args:
        reader: An artifact with a dataset ``image``.
        detector_path: ``face_detection_short_range.tflite``.
        mesh_path: ``face_landmark_with_attention.tflite``.
        threads: Segments tracked at a time (does not change the result).

    Raises:
        InputError: a network file is missing or damaged.
    """
    count = reader.shape("image")[0]
    # A network serves one thread at a time: whoever tracks a segment takes one and puts it back.
    landmarkers: SimpleQueue[FaceLandmarker] = SimpleQueue()
    for one in FaceLandmarker.load_several(threads, detector_path, mesh_path):
        landmarkers.put(one)
    landmarker = landmarkers.get()
    person = choose_person(reader, landmarker.detector)
    landmarkers.put(landmarker)

    length = segment_frames(count)

    def track(start: int) -> _Segment:
        own = landmarkers.get()
        try:
            stop = min(start + length, count)
            return _track_segment(reader, FaceTracker(own, person), start, stop)
        finally:
            landmarkers.put(own)

    clip = ClipLandmarks(
        np.zeros((count, POINTS, 3), np.float32), np.zeros(count, np.float32), np.zeros(count, bool)
    )
    last: FacePoints | None = None
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(desc="landmarks", total=count, unit="frame", mininterval=1) as progress,
    ):
        for segment in pool.map(track, range(0, count, length)):
            if segment.start > 0 and not _agree(last, segment.lead):
                own = landmarkers.get()
                _track_again(reader, FaceTracker(own, person), segment, last)
                landmarkers.put(own)
            last = segment.found[-1]
            _store(clip, segment)
            progress.update(len(segment.found))
    return clip


def segment_frames(count: int) -> int:
    """How many frames each segment of a clip of ``count`` frames has (the last one fewer)."""
    rounds = -(-count // (SEGMENTS_AT_ONCE * LONGEST_SEGMENT))
    return max(-(-count // (SEGMENTS_AT_ONCE * max(1, rounds))), SHORTEST_SEGMENT)


def iterate_images(reader: ArtifactReader, start: int, stop: int) -> Iterator[np.ndarray]:
    """Images of the frames ``start`` to ``stop``, read in blocks."""
    for first in range(start, stop, BLOCK_FRAMES):
        yield from reader.read("image", slice(first, min(first + BLOCK_FRAMES, stop)))


def _track_segment(reader: ArtifactReader, tracker: FaceTracker, start: int, stop: int) -> _Segment:
    begin = max(0, start - LEAD_FRAMES)
    images = enumerate(iterate_images(reader, begin, stop), start=begin)
    found = [tracker.find(image, index) for index, image in images]
    lead = found[start - begin - 1] if start > begin else None
    return _Segment(start, found[start - begin :], lead)


def _track_again(
    reader: ArtifactReader, tracker: FaceTracker, segment: _Segment, last: FacePoints | None
) -> None:
    """Replace the beginning of a segment by what tracking from ``last`` finds, up to where both agree."""
    tracker.resume(last)
    stop = segment.start + len(segment.found)
    for offset, image in enumerate(iterate_images(reader, segment.start, stop)):
        found = tracker.find(image, segment.start + offset)
        agreed = _agree(found, segment.found[offset])
        segment.found[offset] = found
        if agreed:
            return


def _agree(first: FacePoints | None, second: FacePoints | None) -> bool:
    if first is None or second is None:
        return first is second
    offset = np.linalg.norm((first.points - second.points)[:, :2], axis=1).mean()
    return bool(offset < AGREEMENT * np.ptp(first.points[:, 0]))


def _store(clip: ClipLandmarks, segment: _Segment) -> None:
    for index, found in enumerate(segment.found, start=segment.start):
        if found is not None:
            clip.points[index], clip.confidence[index] = found.points, found.presence
            clip.valid[index] = True
