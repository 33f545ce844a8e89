"""Per-frame scores of a render: pictures, landmarks, expression and pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from evaluation.metrics.coefficients import expression_distances, pose_distances
from evaluation.metrics.landmarks import (
    area_under_curve,
    box_error,
    jitter,
    landmark_distance,
    normalised_mean_error,
)
from evaluation.regions import Comparison
from evaluation.tracks import FitTracks, LandmarkTracks
from image_similarity.lpips import Lpips
from image_similarity.psnr_ssim import (
    SimilarityMaps,
    ms_ssim_name,
    ms_ssim_of_maps,
    ms_ssim_scales,
    psnr,
    similarity_maps,
    ssim,
    ssim_of_maps,
)

LPIPS_REGIONS = ("person", "head", "full", "mouth")
# NME above which a frame counts as failed in the AUC; its percent stand in the metrics' names.
AUC_THRESHOLD = 0.08


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

    def renamed(self, prefix: str) -> Scores:
        """The same with ``prefix`` before every metric's name."""

        def prefixed(named: dict) -> dict:
            return {f"{prefix}{name}": value for name, value in named.items()}

        return Scores(
            self.n_frames, *map(prefixed, (self.values, self.valid, self.clip, self.missing))
        )


def score_pictures(
    comparison: Comparison, lpips: Sequence[Lpips]
) -> dict[str, Float[np.ndarray, " frame"]]:
    """PSNR, SSIM, MS-SSIM (not of the mouth) and the given kinds of LPIPS of every region, per frame."""
    height, width = comparison.truth_full.shape[1:3]
    ms_ssim, scales = ms_ssim_name(height, width), ms_ssim_scales(height, width)
    scores: dict[str, np.ndarray] = {}
    maps: dict[tuple[int, int], list[SimilarityMaps]] = {}
    for region, pair in comparison.pairs().items():
        if region == "mouth":
            # Of another size, and too small for the five scales.
            of_mouth = {
                "psnr": psnr(pair.render, pair.truth),
                "ssim": ssim(pair.render, pair.truth),
            }
            of_mouth |= {f"lpips_{net.backbone}": net(pair.truth, pair.render) for net in lpips}
            scores |= {f"{name}_mouth": value.double().numpy() for name, value in of_mouth.items()}
            continue
        # Two regions compare the same pictures under different weights.
        pictures = (id(pair.render), id(pair.truth))
        if pictures not in maps:
            maps[pictures] = similarity_maps(pair.render, pair.truth, scales)
        of_region = {
            "psnr": psnr(pair.render, pair.truth, pair.weight),
            "ssim": ssim_of_maps(maps[pictures], pair.weight),
            ms_ssim: ms_ssim_of_maps(maps[pictures], pair.weight),
        }
        if region in LPIPS_REGIONS:
            for network in lpips:
                of_region[f"lpips_{network.backbone}"] = network(pair.truth, pair.render)
        for metric, values in of_region.items():
            scores[f"{metric}_{region}"] = values.double().numpy()
    return scores


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
    for name, of_eyes in (("nme_outer_eye", face), ("nme_mouth_outer_eye", mouth)):
        errors = np.zeros(len(both))
        errors[both] = normalised_mean_error(
            render.points[both], truth.points[both], truth.landmarks, of_eyes
        )
        scores.put(name, errors, both, reason)
        if truth.valid.any():
            # A face that the truth has and the render lacks is a failure; without a truth there is nothing to fail at.
            curve = area_under_curve(errors[truth.valid], both[truth.valid], AUC_THRESHOLD)
            scores.clip[f"auc_8pct_{name}"] = curve
        else:
            scores.missing[f"auc_8pct_{name}"] = "no face was found in any filmed frame"
    boxes = np.zeros(len(both))
    boxes[both] = box_error(render.points[both][:, face], truth.points[both][:, face])
    scores.put("nme_box", boxes, both, reason)
    score_track(scores, render, frame)
    _put_jitter(scores, "jitter_truth_px", truth, frame)
    error = LandmarkTracks(truth.landmarks, render.points - truth.points, both)
    _put_jitter(scores, "jitter_error_px", error, frame)


def score_track(scores: Scores, render: LandmarkTracks, frame: Int[np.ndarray, " frame"]) -> None:
    """Add what the landmarks of a render say by themselves: in how many frames there is a face, and how it shakes."""
    scores.clip["landmark_detected_share"] = float(render.valid.mean())
    _put_jitter(scores, "jitter_render_px", render, frame)


def _put_jitter(
    scores: Scores, name: str, track: LandmarkTracks, frame: Int[np.ndarray, " frame"]
) -> None:
    value = jitter(track.points[:, track.landmarks.face], track.valid, frame)
    if value is None:
        scores.missing[name] = "no three consecutive scored frames in which a face was found"
    else:
        scores.clip[name] = value


def _lmd(render: LandmarkTracks, truth: LandmarkTracks, chosen: list[int]) -> np.ndarray:
    return landmark_distance(render.points[:, chosen], truth.points[:, chosen])


def score_changes(scores: Scores, render: FitTracks, driver: FitTracks) -> None:
    """Add distances of the motion alone: expression and head rotation, each relative to its own mean over the frames."""
    both = render.valid & driver.valid
    reason = "no frame that was fitted both in the render and in the driver's clip"
    changes = [np.zeros_like(track.expression, np.float64) for track in (render, driver)]
    turned = np.zeros(len(both))
    if both.any():
        for change, track in zip(changes, (render, driver), strict=True):
            change[both] = track.expression[both] - track.expression[both].mean(0)
        turns = [
            Rotation.from_matrix(track.camera_from_head[both, :3, :3]) for track in (render, driver)
        ]
        first, second = (turn.mean().inv() * turn for turn in turns)
        turned[both] = (first.inv() * second).magnitude()
    scores.put("aed_change_l1_mean", np.abs(changes[0] - changes[1]).mean(-1), both, reason)
    scores.put("apd_change_geodesic_rad", turned, both, reason)


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
