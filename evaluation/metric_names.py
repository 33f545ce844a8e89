"""Every metric by name: unit, direction and definition, one sentence each (shown in tables and in the report)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "neither"]

REGIONS = {
    "person": (
        "the person over white: the truth with its matte, the render with its own opacity, so errors of the "
        "outline count"
    ),
    "head": "as person, and white outside the head region of the truth's fit, in both pictures",
    "full": "the whole crop with its background, as filmed and as rendered",
    "mesh": "only the pixels that the truth's fitted head mesh covers, backgrounds as they are",
    "mouth": (
        "a square around the lips of the truth's fit, half as wide again as they are, from the pictures of person, resized to "
        "64 px"
    ),
}
# Metrics of pictures; completed by a region.
IMAGE_METRICS: dict[str, tuple[str, Better, str]] = {
    "psnr": ("dB", "higher", "peak signal-to-noise ratio per frame (sRGB, data range 1)"),
    "ssim": (
        "1",
        "higher",
        "structural similarity (11-tap Gaussian, 1.5 px, mean of the channels)",
    ),
    "ms_ssim": ("1", "higher", "multi-scale structural similarity, the published five scales"),
    "lpips_alex": ("1", "lower", "LPIPS 0.1, AlexNet backbone"),
    "lpips_vgg": ("1", "lower", "LPIPS 0.1, VGG-16 backbone"),
    "lpips_squeeze": ("1", "lower", "LPIPS 0.1, SqueezeNet 1.1 backbone"),
}
_IMAGE_NAME = re.compile(rf"({'|'.join(IMAGE_METRICS)})(?:_(\d)scale)?_({'|'.join(REGIONS)})")


@dataclass(frozen=True)
class MetricInfo:
    """What a metric's name stands for."""

    unit: str
    better: Better
    definition: str


_OTHERS: dict[str, tuple[str, Better, str]] = {
    "lmd_px": (
        "px",
        "lower",
        "mean distance of the face points (the detector's, without irises) detected in render and truth, pixels of the render's size",
    ),
    "lmd_mouth_px": ("px", "lower", "as lmd_px, the lip points only"),
    "nme_outer_eye": ("1", "lower", "lmd_px over the truth's outer-eye-corner distance"),
    "nme_box": (
        "1",
        "lower",
        "lmd_px over the square root of the area of the box around the truth's face points",
    ),
    "nme_mouth_outer_eye": (
        "1",
        "lower",
        "lmd_mouth_px over the truth's outer-eye-corner distance",
    ),
    "auc_8pct_nme_outer_eye": (
        "1",
        "higher",
        "area under the cumulative distribution of nme_outer_eye up to 0.08, over 0.08, of the frames in which the filmed face was "
        "found; those without a detected face in the render count as failed",
    ),
    "auc_8pct_nme_mouth_outer_eye": (
        "1",
        "higher",
        "as auc_8pct_nme_outer_eye, of nme_mouth_outer_eye",
    ),
    "csim_source": (
        "1",
        "higher",
        "cosine of the ArcFace embedding (w600k_r50) of the rendered face and the mean one of the frames trained on (one "
        "photo: its own)",
    ),
    "csim_target": (
        "1",
        "higher",
        "cosine of the ArcFace embeddings of the rendered and the filmed face, frame by frame",
    ),
    "csim_source_truth": (
        "1",
        "neither",
        "as csim_source, of the filmed face: what a perfect render reaches",
    ),
    "identity_drift": (
        "1",
        "lower",
        "1 - cosine of the mean ArcFace embeddings of the first and the last quarter of the rendered frames; compare with "
        "identity_drift_truth",
    ),
    "identity_drift_truth": ("1", "neither", "as identity_drift, of the filmed frames"),
    "fid_person": (
        "1",
        "lower",
        "squared Fréchet distance of Inception features (TensorFlow's network of 2015-12-05, 2048 of each picture, resized to "
        "299 px) of the rendered and the filmed frames, the person over white; few frames raise it: see n_test_frames, "
        "image_side_px",
    ),
    "aed_l1_mean": (
        "1",
        "lower",
        "expression coefficients re-estimated from the render against the truth's fit, mean L1",
    ),
    "aed_l1_sum": ("1", "lower", "as aed_l1_mean, summed over the coefficients"),
    "aed_rmse": ("1", "lower", "as aed_l1_mean, root mean square"),
    "apd_rotation_l1_rad": (
        "rad",
        "lower",
        "head rotation re-estimated from the render against the truth's fit, mean L1 of the rotation vector",
    ),
    "apd_rotation_l1_sum_rad": ("rad", "lower", "as apd_rotation_l1_rad, summed over the three"),
    "apd_euler_l1_rad": ("rad", "lower", "as apd_rotation_l1_rad, of pitch, yaw and roll"),
    "apd_geodesic_rad": ("rad", "lower", "as apd_rotation_l1_rad, angle between the rotations"),
    "apd_translation_l1_m": ("m", "lower", "head translation, mean L1 of x, y, z"),
    "apd_pose6_l1": (
        "rad and m",
        "lower",
        "mean L1 of the rotation vector (rad) and the translation (m) together",
    ),
    "joint_rotation_l1_rad": ("rad", "lower", "rotations of neck, eyes and jaw, mean L1"),
    "render_time_s": ("s", "lower", "wall-clock time per frame, without reading and writing"),
    "frames_per_second": ("1/s", "higher", "frames over the sum of their render times"),
    "landmark_detected_share": (
        "1",
        "higher",
        "share of the rendered frames in which a face was found",
    ),
    "jitter_render_px": (
        "px/frame²",
        "neither",
        "RMS acceleration of the landmarks detected in the render; compare with jitter_truth_px",
    ),
    "jitter_truth_px": ("px/frame²", "neither", "as jitter_render_px, in the truth"),
    "jitter_error_px": (
        "px/frame²",
        "lower",
        "RMS acceleration of the difference between the landmarks of render and truth",
    ),
    "training_time_s": ("s", "lower", "wall-clock time of training"),
    "peak_memory_mb": (
        "MB",
        "lower",
        "largest memory during training (10^6 bytes; of the GPU on CUDA)",
    ),
    "n_train_frames": ("1", "neither", "frames the avatar was trained on"),
    "n_test_frames": ("1", "neither", "frames that were scored"),
    "image_side_px": ("px", "neither", "side of the rendered pictures, at which they are compared"),
}


# Metrics of renders that another person drives: this, and the name of the metric that they are like.
CROSS = "cross_"
_CROSS_WORDS = {
    "fid_person": "as fid_person, against all filmed frames of the avatar's person",
    **dict.fromkeys(
        ("csim_source", "identity_drift", "landmark_detected_share", "jitter_render_px"),
        "as {name}",
    ),
    "aed_change_l1_mean": "expression coefficients, each track relative to its own mean over the frames, render against driver, "
    "mean L1: the motion without the resting face",
    "apd_change_geodesic_rad": "head rotation, each track relative to its own mean over the frames, render against driver, angle",
}
_CROSS_UNITS: dict[str, tuple[str, Better]] = {
    "aed_change_l1_mean": ("1", "lower"),
    "apd_change_geodesic_rad": ("rad", "lower"),
}


def _add_cross_metrics() -> None:
    of_motion = [n for n in _OTHERS if n.startswith(("aed_", "apd_", "joint_rotation"))]
    words = dict.fromkeys(
        of_motion, "as {name}, against the driver's frames, fitted in the same way"
    )
    for name, text in {**_CROSS_WORDS, **words}.items():
        unit, better = _CROSS_UNITS.get(name) or _OTHERS[name][:2]
        definition = f"of renders that another person drives, mean over the drivers: {text.format(name=name)}"
        _OTHERS[f"{CROSS}{name}"] = (unit, better, definition)


_add_cross_metrics()
# Of several people together; only declared tables have them.
POOLED = ("fid_person_pooled", "cross_fid_person_pooled")
_OTHERS |= {
    name: (
        "1",
        "lower",
        f"as {name.removesuffix('_pooled')}, of the frames of all these people together",
    )
    for name in POOLED
}


def metric_info(name: str) -> MetricInfo:
    """Unit, direction and definition of a metric.

    Raises:
        KeyError: no metric has this name.
    """
    match = _IMAGE_NAME.fullmatch(name)
    if match is None:
        return MetricInfo(*_OTHERS[name])
    metric, scales, region = match.groups()
    unit, better, definition = IMAGE_METRICS[metric]
    if scales is not None:
        definition = (
            f"multi-scale structural similarity over the {scales} scales that fit the image size, "
            "weights rescaled"
        )
    return MetricInfo(unit, better, f"{definition}; {REGIONS[region]}")


def other_metrics() -> dict[str, MetricInfo]:
    """The metrics that are not of pictures, in the order of tables."""
    return {name: MetricInfo(*entry) for name, entry in _OTHERS.items()}


def sort_key(name: str) -> tuple[int, int, str]:
    """Order of metrics in tables: pictures by region first, then the others as they are listed here."""
    match = _IMAGE_NAME.fullmatch(name)
    if match is None:
        names = list(_OTHERS)
        return (len(REGIONS), names.index(name) if name in names else len(names), name)
    metric, _, region = match.groups()
    return (list(REGIONS).index(region), list(IMAGE_METRICS).index(metric), name)
