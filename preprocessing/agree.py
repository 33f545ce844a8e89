"""Compare the landmarks of two detectors: where they differ, frame by frame and region by region.

Where two detectors that know nothing of each other agree, their points can be trusted; where they do not, one of them
has lost the face, or the two mean different places by the same name. The latter shows as a difference that is the
same in every frame.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from tabulate import tabulate

from artifacts.errors import InputError
from artifacts.kinds import AGREE, LANDMARKS
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import read_artifact, write_artifact
from artifacts.text_files import write_whole
from head_geometry.images import resize_points
from head_geometry.landmark_sets import MEDIAPIPE, SPARSE68, LandmarkSet, landmark_set_of
from preprocessing.head_models.points import JAW_17, STATIC_51

log = logging.getLogger(__name__)

# Points of the classic 68.
REGIONS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}
WORST_FRAMES = 10


@dataclass(frozen=True)
class Options:
    """Compare two landmarks artifacts of one clip."""

    first: Path
    """landmarks artifact."""
    second: Path
    """landmarks artifact of the same frames, found by another detector."""
    out: Path
    """agree artifact to write."""
    markdown: Path
    """The same for people."""
    threshold: float = 0.05
    """Differences above this count, in outer-eye-corner distances."""


@dataclass(frozen=True)
class Track:
    """Points of one detector in pixels of the first one's images."""

    landmarks: LandmarkSet
    points: Float[np.ndarray, "frame landmark 2"]
    valid: Bool[np.ndarray, " frame"]

    @property
    def classic(self) -> Float[np.ndarray, "frame 68 2"]:
        """The classic 68 points, or MediaPipe's points that are nearest to them by name."""
        if self.landmarks is SPARSE68:
            return self.points
        return self.points[:, list(JAW_17 + STATIC_51)]

    @property
    def outline(self) -> Float[np.ndarray, "frame corner 2"]:
        """Corners of the face's edge as a line that is long enough for every jaw point of another detector.

        MediaPipe's is closed; the classic one goes on straight beyond the ears, by as much as the face is wide.
        """
        corners = self.points[:, list(self.landmarks.outline)]
        if self.landmarks is MEDIAPIPE:
            return np.concatenate([corners, corners[:, :1]], 1)
        width = np.linalg.norm(corners[:, -1:] - corners[:, :1], axis=-1, keepdims=True)
        ends = []
        for end, inner in ((corners[:, :1], corners[:, 1:2]), (corners[:, -1:], corners[:, -2:-1])):
            away = end - inner
            length = np.linalg.norm(away, axis=-1, keepdims=True)
            ends.append(end + away * width / np.maximum(length, 1e-9))
        return np.concatenate([ends[0], corners, ends[1]], 1)

    @property
    def eye_distance_px(self) -> Float[np.ndarray, " frame"]:
        """Distance between the outer eye corners."""
        right, left = (self.points[:, corner] for corner in self.landmarks.eye_corners)
        return np.linalg.norm(right - left, axis=-1)


def read_tracks(first: Path, second: Path) -> tuple[Track, Track]:
    """Both landmarks in pixels of the first one's images.

    Raises:
        InputError: they have other frames, or images of another shape.
    """
    tracks, sizes = [], []
    for path in (first, second):
        arrays = read_artifact(path, LANDMARKS)
        landmarks = landmark_set_of(arrays["points"].shape[1], path)
        points = arrays["points"][..., :2].astype(np.float64)
        sizes.append((int(arrays["image_size"][0]), int(arrays["image_size"][1])))
        points = resize_points(points, sizes[-1], sizes[0])
        tracks.append(Track(landmarks, points, arrays["valid"]))
    (width, height), (other_width, other_height) = sizes
    counts = [len(track.valid) for track in tracks]
    if counts[0] != counts[1] or abs(width * other_height - other_width * height) > max(sizes[0]):
        raise InputError(
            f"{second}: {counts[1]} frames of {other_width}x{other_height} px, but {first} has {counts[0]} of "
            f"{width}x{height} px; give landmarks of the same frames"
        )
    return tracks[0], tracks[1]


def compare(first: Track, second: Track) -> Float[np.ndarray, "frame region"]:
    """Mean distance of the common points in each region, in mean outer-eye-corner distances; 0 where not both are valid.

    Points of the jaw slide along it from one detector to the other, so they are measured from the other's outline.

    Source: own.
    """
    both = first.valid & second.valid
    # The jaw of the set that has one; MediaPipe's is part of an outline.
    jaw, edge = (second, first) if first.landmarks is MEDIAPIPE else (first, second)
    distance = np.linalg.norm(first.classic - second.classic, axis=-1)
    distance[:, REGIONS["jaw"]] = distance_to_line(jaw.classic[:, REGIONS["jaw"]], edge.outline)
    unit = np.where(both, (first.eye_distance_px + second.eye_distance_px) / 2, 1.0)
    means = np.stack([distance[:, part].mean(1) for part in REGIONS.values()], 1)
    return np.where(both[:, None], means / np.maximum(unit, 1e-9)[:, None], 0).astype(np.float32)


def distance_to_line(
    points: Float[np.ndarray, "frame point 2"], corners: Float[np.ndarray, "frame corner 2"]
) -> Float[np.ndarray, "frame point"]:
    """Distance of each point from the line through ``corners`` of its frame."""
    start, way = corners[:, None, :-1], np.diff(corners, axis=1)[:, None]
    length = np.maximum((way**2).sum(-1), 1e-12)
    share = (((points[:, :, None] - start) * way).sum(-1) / length).clip(0, 1)
    nearest = start + share[..., None] * way
    return np.linalg.norm(points[:, :, None] - nearest, axis=-1).min(-1)


def conclude(arrays: dict[str, np.ndarray]) -> str:
    """One plain sentence on the comparison."""
    names, found, valid = arrays["landmark_set"], arrays["found"], arrays["valid"]
    alone = [int((found[:, side] & ~found[:, 1 - side]).sum()) for side in range(2)]
    missed = [
        f"in {count} more only the {which} ({name}) finds the face"
        for which, name, count in zip(("first", "second"), names, alone, strict=True)
        if count
    ]
    n_valid = int(valid.sum())
    if n_valid == 0:
        return "; ".join(["There is no frame in which both find a face", *missed]) + "."
    differs = arrays["differs"][valid]
    n_differ = int(differs.any(1).sum())
    percent = f"{100 * float(arrays['threshold']):g} % of the outer-eye-corner distance"
    if n_differ == 0:
        text = f"The two agree: in none of {n_valid} frames does a region differ by more than {percent}"
    else:
        # Where as often, the larger difference.
        counts, sizes = differs.sum(0), arrays["difference"][valid].mean(0)
        region = int(np.lexsort((sizes, counts))[-1])
        text = (
            f"The two differ by more than {percent} somewhere in the face in {n_differ} of {n_valid} frames, most "
            f"often at the {arrays['region'][region]} ({counts[region]} of them)"
        )
    return "; ".join([text, *missed]) + "."


def report(arrays: dict[str, np.ndarray], options: Options) -> str:
    """What the artifact says, as Markdown."""
    valid, difference = arrays["valid"], arrays["difference"]
    names = arrays["landmark_set"]
    lines = [
        "# Agreement of two landmark detectors",
        "",
        f"First: {options.first.name} ({names[0]}). Second: {options.second.name} ({names[1]}).",
        "",
        f"**{conclude(arrays)}**",
        "",
    ]
    frames = np.flatnonzero(valid)
    if len(frames):
        rows = [
            [
                region,
                *(100 * np.quantile(difference[valid, column], [0.5, 0.95])),
                int(arrays["differs"][:, column].sum()),
                100 * difference[:, column].max(),
                int(difference[:, column].argmax()),
            ]
            for column, region in enumerate(arrays["region"])
        ]
        heads = ["region", "median %", "95th percentile %", "frames above", "worst %", "in frame"]
        lines += ["Differences in per cent of the outer-eye-corner distance:", ""]
        lines += [tabulate(rows, heads, "github", floatfmt=".1f"), ""]
        worst = frames[np.argsort(-difference[frames].max(1), kind="stable")[:WORST_FRAMES]]
        rows = [[int(frame), *(100 * difference[frame])] for frame in worst]
        lines += ["The worst frames:", ""]
        lines += [tabulate(rows, ["frame", *arrays["region"]], "github", floatfmt=".1f"), ""]
    for side, which in enumerate(("first", "second")):
        missing = np.flatnonzero(~arrays["found"][:, side])
        if len(missing):
            lines += [f"No face for the {which} in {describe_frames(missing)}.", ""]
    return "\n".join(lines)


def describe_frames(frames: np.ndarray) -> str:
    """Rising frame numbers in words, runs shortened."""
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    words = [f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return f"{'frame' if len(frames) == 1 else 'frames'} {', '.join(words)}"


def main(options: Options) -> None:
    """Read, compare, write.

    Raises:
        InputError: the landmarks are not of the same frames.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    first, second = read_tracks(options.first, options.second)
    valid = first.valid & second.valid
    difference = compare(first, second)
    arrays = {
        "landmark_set": np.array([first.landmarks.name, second.landmarks.name]),
        "region": np.array(list(REGIONS)),
        "difference": difference,
        "differs": difference > options.threshold,
        "threshold": np.float64(options.threshold),
        "found": np.stack([first.valid, second.valid], 1),
        "valid": valid,
    }
    inputs = {"first": options.first, "second": options.second}
    write_artifact(
        options.out, AGREE, arrays, make_provenance("preprocessing.agree", options, inputs)
    )
    write_whole(options.markdown, report(arrays, options))
    log.info("%s", conclude(arrays))


if __name__ == "__main__":
    run_step(Options, main)
