"""The torso of a whole clip: read frames and mattes in pieces, align them with a reference frame, steady the result."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from artifacts.store import ArtifactReader
from head_geometry.cameras import resize_intrinsics
from head_geometry.head_model import HeadModel
from head_geometry.head_region import head_region
from head_geometry.rotations import axis_angle_from_matrix
from preprocessing.cores import claim_cores
from preprocessing.fitting.clip import ClipFit
from preprocessing.fitting.torso import (
    LEVELS,
    TorsoImages,
    TorsoMotion,
    TorsoTracker,
    is_plausible,
    prepare_images,
    smooth_in_time,
)

log = logging.getLogger(__name__)
_BATCH = 24
_RETRIES = 2
# The head's outline is smooth: a small mask is enough to keep it out of the torso.
_MASK_SIDE = 64
_SIDE = LEVELS[-1][0]


@dataclass(frozen=True)
class Torso:
    """Motion of the torso, in the terms of the ``face_fit`` artifact."""

    torso_from_reference: Float[np.ndarray, "frame 3 3"]
    torso_reference_frame: Int[np.ndarray, ""]
    torso_valid: Bool[np.ndarray, " frame"]


def no_torso(frames: int) -> Torso:
    """A torso that does not move and was not tracked."""
    return Torso(
        np.tile(np.eye(3), (frames, 1, 1)), np.array(0, np.int32), np.zeros(frames, dtype=bool)
    )


def follow_torso(
    frames: ArtifactReader,
    matte: ArtifactReader,
    head: HeadModel,
    fit: ClipFit,
    valid: Bool[np.ndarray, " frame"],
) -> Torso:
    """Track the torso through a clip whose head was fitted.

    Args:
        frames: Open ``frames`` artifact.
        matte: Open ``matte`` artifact of the same frames.
        head: The head model of the fit.
        fit: The head's motion.
        valid: Frames in which the face was found; the reference is one of them.
    """
    count, height, width = frames.shape("image")[:3]
    reference = median_pose_frame(fit, valid)
    source = _Source(frames, matte, head, fit, (width, height))
    try:
        tracker = TorsoTracker(source.images(torch.tensor([reference])))
    except ValueError as error:
        log.warning("%s: %s; its motion is left at rest", frames.path, error)
        return no_torso(count)
    shift = torch.zeros(count, 4)
    shift[:, 2:] = _neck_shift(fit, reference) * torch.tensor([_SIDE / width, _SIDE / height])
    still = torch.zeros_like(shift)
    motion = _track(tracker, source, torch.stack([still, shift, 0.5 * shift]), None)
    trusted = is_plausible(motion)
    if not bool(trusted.any()):
        return no_torso(count)
    steady = smooth_in_time(motion.parameters, trusted)
    for _ in range(_RETRIES):
        if bool(trusted.all()):
            break
        # Where the first starts failed, what the neighbours did is a better one.
        motion = _track(tracker, source, torch.stack([steady, motion.parameters]), motion)
        trusted = is_plausible(motion)
        steady = smooth_in_time(motion.parameters, trusted)
    # The reference maps to itself: what is drawn on it needs no warp.
    to_working = torch.eye(3, dtype=torch.float64)
    to_working = resize_intrinsics(to_working, (width, height), (_SIDE, _SIDE))
    matrices = tracker.matrices(steady.double())
    moved = torch.linalg.inv(to_working) @ matrices @ to_working
    return Torso(moved.numpy(), np.array(reference, np.int32), trusted.numpy())


def _track(
    tracker: TorsoTracker,
    source: _Source,
    guesses: Float[Tensor, "guess frame 4"],
    earlier: TorsoMotion | None,
) -> TorsoMotion:
    """Align every frame, or, given ``earlier`` results, only those not to be trusted."""
    count = guesses.shape[1]
    parameters, correlation = torch.zeros(count, 4), torch.full((count,), -1.0)
    todo = torch.arange(count)
    if earlier is not None:
        parameters, correlation = earlier.parameters.clone(), earlier.correlation.clone()
        todo = (~is_plausible(earlier)).nonzero()[:, 0]
    batches = list(todo.split(_BATCH))

    def align(rows: Int[Tensor, " row"]) -> tuple[Tensor, Tensor]:
        return tracker.track(source.images(rows), guesses[:, rows])

    with claim_cores() as cores, ThreadPoolExecutor(cores) as pool:
        results = tqdm(
            pool.map(align, batches), "torso", total=len(batches), unit="batch", leave=False
        )
        for rows, (found, score) in zip(batches, results, strict=True):
            better = score > correlation[rows]
            parameters[rows] = torch.where(better[:, None], found, parameters[rows])
            correlation[rows] = torch.where(better, score, correlation[rows])
    return TorsoMotion(parameters, correlation, tracker.centre, tracker.radius)


def median_pose_frame(fit: ClipFit, valid: Bool[np.ndarray, " frame"]) -> int:
    """Index of the valid frame whose head pose is nearest to the clip's median pose."""
    rotation = torch.from_numpy(fit.camera_from_head[:, :3, :3])
    first = int(np.flatnonzero(valid)[0])
    turned = axis_angle_from_matrix(rotation @ rotation[first].T).numpy()
    place = fit.camera_from_head[:, :3, 3]
    # A tenth of a metre counts like a third of a radian.
    pose = np.concatenate([3 * turned, 10 * place[:, :2] / place[:, 2:].mean()], 1)
    distance = np.linalg.norm(pose - np.median(pose[valid], 0), axis=1)
    return int(np.where(valid, distance, np.inf).argmin())


def _neck_shift(fit: ClipFit, reference: int) -> Float[Tensor, "frame 2"]:
    """Movement in the image of the head's origin since the reference frame, pixels."""
    place = fit.camera_from_head[:, :3, 3] @ fit.intrinsics.T
    pixel = place[:, :2] / place[:, 2:]
    return torch.from_numpy(pixel - pixel[reference]).float()


@dataclass(frozen=True)
class _Source:
    """Reads frames at working size."""

    frames: ArtifactReader
    matte: ArtifactReader
    head: HeadModel
    fit: ClipFit
    size: tuple[int, int]

    def images(self, rows: Int[Tensor, " row"]) -> TorsoImages:
        """The frames ``rows`` (rising) as the tracker sees them."""
        chosen = rows.numpy()
        image = torch.from_numpy(self.frames.read("image", chosen))
        alpha = torch.from_numpy(self.matte.read("alpha", chosen))
        return prepare_images(image, alpha, self._head_masks(chosen), _SIDE)

    def _head_masks(self, rows: Int[np.ndarray, " row"]) -> Float[Tensor, "frame side side"]:
        small = (_MASK_SIDE, _MASK_SIDE)
        intrinsics = torch.from_numpy(self.fit.intrinsics).float()
        intrinsics = resize_intrinsics(intrinsics, self.size, small)
        vertices = self.head.vertices(
            torch.from_numpy(self.fit.identity).float(),
            torch.from_numpy(self.fit.expression[rows]).float(),
            torch.from_numpy(self.fit.joint_rotation[rows]).float(),
        )
        poses = torch.from_numpy(self.fit.camera_from_head[rows]).float()
        return torch.stack(
            [
                head_region(self.head, placed, pose, intrinsics, small)
                for placed, pose in zip(vertices, poses, strict=True)
            ]
        )
