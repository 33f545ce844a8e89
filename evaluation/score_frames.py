"""Per-frame scores of a render: pictures, landmarks, expression and pose."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from evaluation.metrics.coefficients import expression_distances, pose_distances
from evaluation.metrics.landmarks import jitter, landmark_distance, normalised_mean_error
from evaluation.regions import Comparison
from head_geometry.landmark_sets import LandmarkSet
from image_similarity.lpips import LpipsAlex
from image_similarity.psnr_ssim import (
    SimilarityMaps,
    ms_ssim_name,
    ms_ssim_of_maps,
    ms_ssim_scales,
    psnr,
    similarity_maps,
    ssim_of_maps,
)

LPIPS_REGIONS = ("person", "head", "full")


@dataclass
class Scores:
    """What is known about one render; every array is aligned with its frames."""

    n_frames: int
    values: dict[str, np.ndarray] = field(default_factory=dict)
    """Metric to (frame,) numbers; 0 where not valid."""
    valid: dict[str, np.ndarray] = field(default_factory=dict)
    """Metric to (frame,) booleans."""
    clip: dict[str, float] = field(default_factory=dict)
    """Metric to its one value for the clip."""
    missing: dict[str, str] = field(default_factory=dict)
    """Metric that could not be computed to the reason."""

    def put(
        self,
        name: str,
        values: Float[np.ndarray, " frame"],
        valid: Bool[np.ndarray, " frame"] | None = None,
        reason: str = "",
    ) -> None:
        """Add a metric with a value per frame; without any valid frame it is missing, for ``reason``."""
        valid = np.ones(self.n_frames, bool) if valid is None else valid
        if not valid.any():
            self.missing[name] = reason
            return
        self.values[name] = np.where(valid, values, 0).astype(np.float32)
        self.valid[name] = valid.copy()


def score_pictures(
    comparison: Comparison, lpips: LpipsAlex | None
) -> dict[str, Float[np.ndarray, " frame"]]:
    """PSNR, SSIM, MS-SSIM and, where its weights are given, LPIPS of every region, per frame."""
    height, width = comparison.truth_full.shape[1:3]
    ms_ssim, scales = ms_ssim_name(height, width), ms_ssim_scales(height, width)
    scores: dict[str, np.ndarray] = {}
    maps: dict[tuple[int, int], list[SimilarityMaps]] = {}
    for region, pair in comparison.pairs().items():
        # Two regions compare the same pictures under different weights.
        pictures = (id(pair.render), id(pair.truth))
        if pictures not in maps:
            maps[pictures] = similarity_maps(pair.render, pair.truth, scales)
        of_region = {
            "psnr": psnr(pair.render, pair.truth, pair.weight),
            "ssim": ssim_of_maps(maps[pictures], pair.weight),
            ms_ssim: ms_ssim_of_maps(maps[pictures], pair.weight),
        }
        if lpips is not None and region in LPIPS_REGIONS:
            of_region["lpips_alex"] = lpips(pair.truth, pair.render)
        for metric, values in of_region.items():
            scores[f"{metric}_{region}"] = values.double().numpy()
    return scores


@dataclass(frozen=True)
class LandmarkTracks:
    """Landmarks of the scored frames, pixels of the render's size."""

    landmarks: LandmarkSet
    points: Float[np.ndarray, "frame landmark 2"]
    valid: Bool[np.ndarray, " frame"]


def score_landmarks(
    scores: Scores, render: LandmarkTracks, truth: LandmarkTracks, frame: Int[np.ndarray, " frame"]
) -> None:
    """Add landmark distances and jitter to ``scores``.

    Args:
        scores: What to add to.
        render: Detected in the rendered frames.
        truth: Detected in the filmed frames.
        frame: Index of each scored frame in the clip.
    """
    face, mouth = truth.landmarks.face, list(truth.landmarks.lips)
    both = render.valid & truth.valid
    reason = "no scored frame in which a face was found both in the render and in the truth"
    scores.put("lmd_px", _lmd(render, truth, face), both, reason)
    scores.put("lmd_mouth_px", _lmd(render, truth, mouth), both, reason)
    nme = np.zeros(len(both))
    nme[both] = normalised_mean_error(render.points[both], truth.points[both], truth.landmarks)
    scores.put("nme_outer_eye", nme, both, reason)
    scores.clip["landmark_detected_share"] = float(render.valid.mean())
    for name, points, valid in (
        ("jitter_render_px", render.points, render.valid),
        ("jitter_truth_px", truth.points, truth.valid),
        ("jitter_error_px", render.points - truth.points, both),
    ):
        value = jitter(points[:, face], valid, frame)
        if value is None:
            scores.missing[name] = "no three consecutive scored frames in which a face was found"
        else:
            scores.clip[name] = value


def _lmd(render: LandmarkTracks, truth: LandmarkTracks, chosen: list[int]) -> np.ndarray:
    return landmark_distance(render.points[:, chosen], truth.points[:, chosen])


@dataclass(frozen=True)
class FitTracks:
    """Expression and pose of the scored frames."""

    expression: Float[np.ndarray, "frame expression"]
    joint_rotation: Float[np.ndarray, "frame joint 3"]
    camera_from_head: Float[np.ndarray, "frame 4 4"]
    valid: Bool[np.ndarray, " frame"]

    @classmethod
    def of(cls, fit: dict[str, np.ndarray], rows: Int[np.ndarray, " row"]) -> FitTracks:
        """The given rows of a ``face_fit`` artifact."""
        return cls(
            fit["expression"][rows],
            fit["joint_rotation"][rows],
            (fit["camera_from_world"] @ fit["world_from_head"])[rows],
            fit["valid"][rows],
        )


def score_fits(scores: Scores, render: FitTracks, truth: FitTracks) -> None:
    """Add expression and pose distances between fits of the render and of the filmed frames by the same estimator."""
    both = render.valid & truth.valid
    reason = "no scored frame that was fitted both in the render and in the truth"
    distances = {
        **expression_distances(render.expression, truth.expression),
        **pose_distances(render.camera_from_head, truth.camera_from_head),
        "joint_rotation_l1_rad": np.abs(
            render.joint_rotation.astype(np.float64) - truth.joint_rotation
        ).mean((1, 2)),
    }
    for name, values in distances.items():
        scores.put(name, values, both, reason)
