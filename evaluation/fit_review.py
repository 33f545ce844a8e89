"""A fit beside the clip it was made of: read, checked to belong together, and measured frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation
from skimage.measure import blur_effect

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS, MATTE, SYNC
from artifacts.splits import split_frames
from artifacts.store import open_artifact, read_artifact
from artifacts.stretches import runs
from evaluation.face_openings import eye_opening, mouth_opening
from evaluation.metrics.coefficients import FRONTAL
from evaluation.report_subject import head_angles
from evaluation.truth import FittedClip
from head_geometry.head_model import HeadModel
from head_geometry.images import resize_points
from head_geometry.landmark_sets import landmark_set_of
from head_geometry.spherical_harmonics import irradiance_basis

# Frames whose pictures are looked at: enough for a median, few enough for ten minutes of video.
PICTURE_SAMPLES = 120
# A smaller face (pixels) says nothing about blur.
_LEAST_FACE_PX = 16
# Levels (0..1) from which on nothing can be told apart any more.
_WHITE, _BLACK = 0.98, 0.02
# An eye is shut below this share of its usual opening.
_SHUT = 0.5
# Poses beyond these angles from the frontal view, where landmarks become guesses, degrees.
_FAR_YAW, _FAR_PITCH = 60.0, 45.0


@dataclass(frozen=True)
class FitFiles:
    """Files of one subject's track."""

    frames: Path
    landmarks: Path
    matte: Path
    face_fit: Path
    sync: Path | None


@dataclass(frozen=True)
class Review:
    """A fit and its clip.

    Attributes:
        files: Where they came from.
        clip: The posed head, in pictures of the page's size.
        detected: 2D landmarks of the detector in the same pictures, (frame, landmark, 2).
        found: True where the detector found the face.
        face_px: Width of the face in the stored frames, pixels.
        source_px_per_px: Pixels of the filmed picture per pixel of the stored frames.
        rate_hz: Frames per second.
        test_start: First held-out frame.
        sync: Arrays of the ``sync`` artifact; None without one.
    """

    files: FitFiles
    clip: FittedClip
    detected: Float[np.ndarray, "frame landmark 2"]
    found: Bool[np.ndarray, " frame"]
    face_px: Float[np.ndarray, " frame"]
    source_px_per_px: float
    rate_hz: float
    test_start: int
    sync: dict[str, np.ndarray] | None

    @property
    def has_photometry(self) -> bool:
        """Whether the fit explains the pictures, not the landmarks alone."""
        return len(self.clip.fit["light"]) > 0 and self.clip.fit["albedo"].size > 0

    @property
    def has_outline(self) -> bool:
        """Whether the fit was compared with the matte."""
        return bool((self.clip.fit["outline_iou"] > 0).any())

    @property
    def tracked(self) -> Bool[np.ndarray, " frame"]:
        """True for the frames that were tracked, not filled in."""
        return self.clip.fit["valid"]

    @property
    def doubted(self) -> Bool[np.ndarray, " frame"]:
        """True for the frames in which a face was found that the fit did not believe."""
        return self.found & ~self.tracked


def read_review(
    files: FitFiles, head_model: HeadModel, split: str, size: tuple[int, int]
) -> Review:
    """Read a fit and what it was made of.

    Args:
        files: The subject's artifacts.
        head_model: Head model of the fit.
        split: Name of the split into training and test frames.
        size: Width, height of the page's pictures, pixels.

    Raises:
        InputError: a file belongs to another clip or to another head model.
    """
    with open_artifact(files.frames, FRAMES) as reader:
        shape = reader.shape("image")[:3]
        rate_hz = float(reader.read("frame_rate_hz"))
        source_from_crop = reader.read("source_from_crop")
    landmarks = read_artifact(files.landmarks, LANDMARKS)
    clip = FittedClip(head_model, files.face_fit, size)
    _check_shapes(files, clip, landmarks, shape)
    points = landmarks["points"][..., :2]
    sync = None
    if files.sync is not None:
        sync = read_artifact(files.sync, SYNC)
        _check_length(files.sync, "sync", len(sync["mouth_opening"]), files.frames, shape[0])
    return Review(
        files=files,
        clip=clip,
        detected=resize_points(points, (shape[2], shape[1]), size),
        found=landmarks["valid"],
        face_px=np.ptp(points[..., 0], axis=1),
        source_px_per_px=float(np.sqrt(abs(np.linalg.det(source_from_crop[:2, :2])))),
        rate_hz=rate_hz,
        test_start=int(split_frames(split, shape[0])[1][0]),
        sync=sync,
    )


def _check_length(path: Path, step: str, found: int, frames: Path, wanted: int) -> None:
    if found != wanted:
        raise InputError(
            f"{path}: has {found} frames, but {frames} has {wanted}; run {step} again on this clip"
        )


def _check_shapes(
    files: FitFiles, clip: FittedClip, landmarks: dict[str, np.ndarray], shape: tuple[int, ...]
) -> None:
    """Refuse files that are not of the frames of ``shape`` (frame, height, width)."""
    with open_artifact(files.matte, MATTE) as reader:
        matte = reader.shape("alpha")
    lengths = {
        "landmarks": (files.landmarks, len(landmarks["points"])),
        "matte": (files.matte, matte[0]),
        "face_fit": (files.face_fit, clip.n_frames),
    }
    for step, (path, found) in lengths.items():
        _check_length(path, step, found, files.frames, shape[0])
    sizes = {
        "landmarks": (files.landmarks, landmarks["image_size"]),
        "matte": (files.matte, matte[:0:-1]),
        "face_fit": (files.face_fit, clip.fit["image_size"]),
    }
    for step, (path, size) in sizes.items():
        if tuple(map(int, size)) != (shape[2], shape[1]):
            raise InputError(
                f"{path}: is of {size[0]}×{size[1]} px pictures, but {files.frames} has "
                f"{shape[2]}×{shape[1]} px; run {step} again on this clip"
            )
    lit = len(clip.fit["light"])
    if lit not in (0, shape[0]):
        raise InputError(
            f"{files.face_fit}: has the light of {lit} of {shape[0]} frames; run face_fit again"
        )
    detected = landmark_set_of(landmarks["points"].shape[1], files.landmarks)
    if detected != clip.landmark_set:
        raise InputError(
            f"{files.face_fit}: follows {clip.landmark_set.count} landmarks, but {files.landmarks} has "
            f"{detected.count}; run face_fit again on these landmarks"
        )


@dataclass(frozen=True)
class Measures:
    """What is known of every frame. Degrees; openings as in :mod:`evaluation.face_openings`."""

    yaw: Float[np.ndarray, " frame"]
    pitch: Float[np.ndarray, " frame"]
    roll: Float[np.ndarray, " frame"]
    mouth_detected: Float[np.ndarray, " frame"]
    mouth_fitted: Float[np.ndarray, " frame"]
    eye_detected: Float[np.ndarray, " frame"]
    eye_fitted: Float[np.ndarray, " frame"]


def measure(review: Review) -> Measures:
    """Angles of the head, and the openings of mouth and eyes as detected and as fitted, of all frames."""
    clip = review.clip
    angles = head_angles(clip.camera_from_head)
    upright = FRONTAL @ clip.camera_from_head[:, :3, :3]
    roll = Rotation.from_matrix(upright).as_euler("YXZ", degrees=True)[:, 2]
    mouth, eye = np.zeros(clip.n_frames), np.zeros(clip.n_frames)
    for frame in range(clip.n_frames):
        points = clip.landmarks(frame)[None]
        mouth[frame], eye[frame] = mouth_opening(points)[0], eye_opening(points)[0]
    return Measures(
        yaw=angles["yaw"],
        pitch=angles["pitch"],
        roll=roll,
        mouth_detected=mouth_opening(review.detected),
        mouth_fitted=mouth,
        eye_detected=eye_opening(review.detected),
        eye_fitted=eye,
    )


def clip_values(review: Review, measures: Measures) -> dict[str, float]:
    """One number for each criterion of :mod:`evaluation.fit_verdict` that can be measured on this clip."""
    fit, tracked = review.clip.fit, review.tracked
    values = {
        "tracked": float(tracked.mean()),
        "length": review.clip.n_frames / review.rate_hz,
    }
    if not (tracked & review.found).any():
        return values
    values["unexplained"] = float(review.doubted.mean())
    values["nme"] = float(np.median(fit["nme"][tracked]))
    if review.has_outline:
        iou = fit["outline_iou"]
        values["outline"] = float(np.median(iou[iou > 0]))
    if review.has_photometry:
        values["photometric"] = float(np.median(fit["photometric_error"][tracked]))
        values["light"] = light_change(fit["light"][tracked])
    values["yaw"] = _spread(measures.yaw[tracked])
    values["pitch"] = _spread(measures.pitch[tracked])
    far = (abs(measures.yaw) > _FAR_YAW) | (abs(measures.pitch) > _FAR_PITCH)
    values["turned_away"] = float(far[tracked].mean())
    seen = tracked & review.found
    values["mouth"] = _spread(measures.mouth_detected[seen])
    values["blinks"] = float(count_blinks(measures.eye_detected, seen))
    values["face_size"] = float(np.median(review.face_px[review.found]))
    train = tracked & (np.arange(len(tracked)) < review.test_start)
    test = tracked & ~train
    if train.any() and test.any():
        angles = np.stack([measures.yaw, measures.pitch, measures.roll], 1)
        distance, _ = KDTree(angles[train]).query(angles[test])
        values["unseen"] = float(np.percentile(distance, 95))
    return values | picture_values(review)


def _spread(values: Float[np.ndarray, " frame"]) -> float:
    """Range without the outermost five per cent."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(high - low)


def count_blinks(opening: Float[np.ndarray, " frame"], seen: Bool[np.ndarray, " frame"]) -> int:
    """Times the eyes shut: stretches below half of their median opening, frames without a face left out."""
    shut = seen & (opening < _SHUT * np.median(opening[seen]))
    return len(runs(shut))


def light_change(light: Float[np.ndarray, "frame 9 3"]) -> float:
    """Largest change of what falls on a surface that faces the camera or a side, in shares of its median.

    Between the darkest and the brightest tenth of the frames; so a cloud, a lamp or a screen counts, a flash
    of a frame or two does not. Light from above and below is left out: a nod hides and shows it, so that the fit
    cannot tell the two apart as well.

    Args:
        light: Of each frame, camera axes.
    """
    normals = torch.tensor([[0, 0, -1.0], [-1, 0, 0], [1, 0, 0]])
    shown = irradiance_basis(normals).numpy() @ light.mean(-1).T  # (normal, frame)
    low, high = np.percentile(shown, [10, 90], axis=1)
    return float((high - low).max() / max(float(np.median(shown[0])), 1e-6))


def picture_values(review: Review) -> dict[str, float]:
    """Blur and exposure of the face, from frames all over the clip; no entry where no face is large enough."""
    frames = np.flatnonzero(review.found)
    frames = frames[np.linspace(0, len(frames) - 1, min(len(frames), PICTURE_SAMPLES)).astype(int)]
    blur, white, black = [], [], []
    with open_artifact(review.files.frames, FRAMES) as reader:
        for frame in np.unique(frames):
            image = reader.read("image", np.s_[int(frame)])
            points = resize_points(
                review.detected[frame][None], review.clip.size, image.shape[1::-1]
            )
            level = _face_levels(image, points[0])
            if min(level.shape) < _LEAST_FACE_PX:
                continue
            white.append((level > _WHITE).mean())
            black.append((level < _BLACK).mean())
            # A face without any contrast has no edges to measure.
            blur.append(blur_effect(level) if level.std() > 1e-3 else 1.0)
    if not blur:
        return {}
    return {
        "blur": float(np.median(blur)),
        "white": float(np.median(white)),
        "black": float(np.median(black)),
    }


def _face_levels(
    image: UInt8[np.ndarray, "height width 3"], points: Float[np.ndarray, "landmark 2"]
) -> Float[np.ndarray, "box_height box_width"]:
    """Luma (0..1) of the box around the landmarks."""
    height, width = image.shape[:2]
    left, top = np.floor(points.min(0)).astype(int).clip(0, [width, height])
    right, bottom = np.ceil(points.max(0)).astype(int).clip(0, [width, height])
    return image[top:bottom, left:right] @ np.array([0.299, 0.587, 0.114]) / 255


def worst_frames(review: Review, count: int = 10) -> dict[int, str]:
    """The frames that the fit explains worst, each with the reason, worst first.

    Frames are ranked by the mean of their errors (NME, photometric error), each over its median in the clip;
    of frames within a third of a second only the worst counts.
    """
    fit, tracked = review.clip.fit, review.tracked
    errors = {"NME": fit["nme"]}
    if review.has_photometry:
        errors["photometric"] = fit["photometric_error"]
    if not tracked.any():
        return {}
    ratios = {
        name: np.where(tracked, error / max(float(np.median(error[tracked])), 1e-6), 0)
        for name, error in errors.items()
    }
    total = np.mean(list(ratios.values()), axis=0)
    chosen: dict[int, str] = {}
    apart = max(1, round(review.rate_hz / 3))
    for frame in _apart(total, tracked, apart)[:count]:
        name = max(ratios, key=lambda candidate: ratios[candidate][frame])
        chosen[int(frame)] = (
            f"{name} {errors[name][frame]:.4f}\n{ratios[name][frame]:.1f} times the median"
        )
    return chosen


def _apart(
    score: Float[np.ndarray, " frame"], allowed: Bool[np.ndarray, " frame"], distance: int
) -> Int[np.ndarray, " kept"]:
    """Allowed frames by falling score, none nearer than ``distance`` to one before it."""
    free = allowed.copy()
    kept = []
    for frame in np.argsort(-score, kind="stable"):
        if free[frame]:
            kept.append(frame)
            free[max(0, frame - distance + 1) : frame + distance] = False
    return np.array(kept, np.int64)
