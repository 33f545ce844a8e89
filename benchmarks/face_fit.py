"""Agreement, steadiness and lag of face fits: one row per clip.

    python -m benchmarks.face_fit --head-model H --landmarks L1 L2 … --fits F1 F2 …

Speed is what the step itself logs; measure it with ``--time`` (fits each clip once more, landmarks only).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from artifacts.kinds import FACE_FIT, LANDMARKS
from artifacts.step import run_step
from artifacts.store import read_artifact
from head_geometry.cameras import project
from head_geometry.head_model import HeadModel
from head_geometry.landmark_sets import landmark_set_of
from preprocessing.fitting.clip import FitSettings, fit_frames, fit_subject, observe, weigh
from preprocessing.fitting.landmarks import eye_corner_distance_px
from preprocessing.fitting.model import make_landmark_model
from preprocessing.fitting.normal import NormalBuilder


@dataclass(frozen=True)
class Options:
    """Compare face fits with the landmarks they came from."""

    head_model: Path
    """head_model artifact."""
    landmarks: tuple[Path, ...]
    """landmarks artifacts."""
    fits: tuple[Path, ...]
    """face_fit artifacts, in the same order."""
    time: bool = False
    """Also time the fit."""


def projected_landmarks(head: HeadModel, fit: dict[str, np.ndarray], offsets: bool) -> np.ndarray:
    """The landmarks of the fit in pixels, (frame, landmark, 2), with or without the personal offsets."""
    rotation = torch.from_numpy(fit["joint_rotation"]).double()
    head = head.of_subject(fit)
    # Offsets are carried by the shape: a point's offset does not turn with the eye joints.
    vertices = head.vertices(
        torch.from_numpy(fit["identity"]).double(),
        torch.from_numpy(fit["expression"]).double(),
        rotation,
    )
    landmarks = landmark_set_of(len(fit["landmark_offset"]), "face_fit")
    points = head.landmark_points(vertices, landmarks)
    if offsets:
        points = points + torch.from_numpy(fit["landmark_offset"]).double()
    pose = torch.from_numpy(fit["camera_from_world"] @ fit["world_from_head"])
    camera = points @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    return project(camera, torch.from_numpy(fit["intrinsics"])).numpy()


def jitter_px(points: np.ndarray) -> float:
    """RMS second difference in time, pixel/frame²."""
    return float(np.sqrt((np.diff(points, n=2, axis=0) ** 2).sum(-1).mean()))


def opening(points: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """Distance of two points in every frame, pixels."""
    return np.linalg.norm(points[:, pair[0]] - points[:, pair[1]], axis=1)


def lag_frames(found: np.ndarray, seen: np.ndarray, reach: int = 5) -> int:
    """Shift in frames at which ``found`` is most like ``seen``; positive when it lags."""
    inner = slice(reach, -reach)
    lags = range(-reach, reach + 1)
    likeness = [np.corrcoef(found[inner], np.roll(seen, lag)[inner])[0, 1] for lag in lags]
    return lags[int(np.argmax(likeness))]


def describe(
    head: HeadModel, fit: dict[str, np.ndarray], landmarks: dict[str, Any]
) -> dict[str, Any]:
    """One row of the table."""
    raw = landmarks["points"][..., :2].astype(np.float64)
    kind = landmark_set_of(raw.shape[1], "landmarks")
    mouth, eyes = kind.lip_pairs[0], kind.middle_lid_pairs
    valid, usable = fit["valid"], head.landmark_places(kind).weight.numpy() > 0
    unit = eye_corner_distance_px(raw, kind)
    row: dict[str, Any] = {}
    for name, offsets in (("NME mesh", False), ("NME offsets", True)):
        points = projected_landmarks(head, fit, offsets)
        error = np.linalg.norm(points - raw, axis=-1)[:, usable].mean(1) / unit
        row[name] = float(np.median(error[valid]))
        row["p95" if offsets else "p95 mesh"] = float(np.percentile(error[valid], 95))
    inside = raw[:, usable], points[:, usable]
    row["raw jitter"], row["fit jitter"] = (jitter_px(part) for part in inside)
    row["ratio"] = row["fit jitter"] / row["raw jitter"]
    row["mouth lag"] = lag_frames(opening(points, mouth), opening(raw, mouth))
    row["mouth r"] = np.corrcoef(opening(points, mouth), opening(raw, mouth))[0, 1]
    for side, pair in zip("RL", eyes, strict=True):
        row[f"eye {side} r"] = np.corrcoef(opening(points, pair), opening(raw, pair))[0, 1]
    row["focal px"] = fit["intrinsics"][0, 0]
    row["depth m"] = float(np.median(fit["world_from_head"][:, 2, 3]))
    row["depth p5-p95 mm"] = (
        float(np.ptp(np.percentile(fit["world_from_head"][:, 2, 3], [5, 95]))) * 1e3
    )
    row["|id|"] = float(np.abs(fit["identity"]).max())
    return row


def seconds_to_fit(head: HeadModel, fit: dict[str, np.ndarray], landmarks: dict[str, Any]) -> float:
    """Wall-clock time of the whole fit from landmarks (torso aside)."""
    settings = FitSettings()
    points = landmarks["points"][..., :2].astype(np.float64)
    kind = landmark_set_of(points.shape[1], "landmarks")
    started = time.perf_counter()
    model = weigh(make_landmark_model(head, settings.identities, kind), settings)
    centre = torch.from_numpy(fit["intrinsics"][:2, 2])
    seen = observe(model, points, landmarks["valid"], centre, settings)
    builder = NormalBuilder(model)
    subject = fit_subject(builder, seen, float(fit["intrinsics"][0, 0]), settings)
    fit_frames(builder, subject, seen, settings)
    return time.perf_counter() - started


def main(options: Options) -> None:
    """Print the table."""
    head = HeadModel.load(options.head_model).to(dtype=torch.float64)
    rows = []
    for landmarks_path, fit_path in zip(options.landmarks, options.fits, strict=True):
        landmarks = read_artifact(landmarks_path, LANDMARKS)
        fit = read_artifact(fit_path, FACE_FIT)
        row = {"fit": "/".join(fit_path.parts[-2:])} | describe(head, fit, landmarks)
        if options.time:
            row["frames/s"] = len(fit["valid"]) / seconds_to_fit(head, fit, landmarks)
        rows.append(row)
    columns = list(rows[0])
    table = [[name, *(row[name] for row in rows)] for name in columns[1:]]
    print(tabulate(table, headers=["", *(row["fit"] for row in rows)], floatfmt=".4g"))


if __name__ == "__main__":
    run_step(Options, main)
