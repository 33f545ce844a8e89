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
}
_IMAGE_NAME = re.compile(r"(psnr|ssim|ms_ssim|lpips_alex)(?:_(\d)scale)?_(person|head|full|mesh)")


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
    "apd_geodesic_rad": ("rad", "lower", "as apd_rotation_l1_rad, angle between the rotations"),
    "apd_translation_l1_m": ("m", "lower", "head translation, mean L1 of x, y, z"),
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


def sort_key(name: str) -> tuple[int, int, str]:
    """Order of metrics in tables: pictures by region first, then the others as they are listed here."""
    match = _IMAGE_NAME.fullmatch(name)
    if match is None:
        names = list(_OTHERS)
        return (len(REGIONS), names.index(name) if name in names else len(names), name)
    metric, _, region = match.groups()
    return (list(REGIONS).index(region), list(IMAGE_METRICS).index(metric), name)
