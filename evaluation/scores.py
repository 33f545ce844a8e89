"""Step: compare the held-out frames of a render with the truth, under every metric of :mod:`evaluation.metric_names`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import AVATAR, FACE_FIT, RENDER, SCORES
from artifacts.provenance import files_in, make_provenance
from artifacts.step import run_step
from artifacts.store import open_artifact, read_artifact, read_provenance, write_artifact
from evaluation.metric_names import metric_info, sort_key
from evaluation.regions import Comparison, view_of_lips
from evaluation.score_features import score_features
from evaluation.score_frames import (
    LPIPS_REGIONS,
    Scores,
    score_fits,
    score_landmarks,
    score_pictures,
)
from evaluation.tracks import FitTracks, read_tracks
from evaluation.truth import FittedClip, read_pictures
from head_geometry.head_model import HeadModel
from image_similarity.lpips import Backbone, Lpips, load_lpips

LOGGER = logging.getLogger(__name__)

# Compared together: at most so many frames, and of large ones fewer.
FRAMES_AT_ONCE, PIXELS_AT_ONCE = 8, 8 * 256**2
LPIPS_REASON = (
    "its weights (assets/registry.yaml, lpips_alex) are not here: set scores: {lpips: [alex]} in config.yaml, which downloads "
    "them (244 MB), or name both files with --lpips-alex"
)
REGIONS_OF_THE_FIT = ("head", "mesh", "mouth")


@dataclass(frozen=True)
class Options:
    """Options of ``python -m evaluation.scores``."""

    render: Path
    """``render`` artifact of the held-out frames (mode self)."""
    avatar: Path
    """``avatar`` artifact it was rendered with."""
    frames: Path
    """``frames`` artifact of the subject: the truth."""
    matte: Path
    """``matte`` artifact of the subject."""
    landmarks: Path
    """``landmarks`` artifact of the subject."""
    face_fit: Path
    """``face_fit`` artifact of the subject: what drove the render."""
    head_model: Path
    """``head_model`` artifact of both fits."""
    render_landmarks: Path
    """``landmarks`` artifact of the render."""
    render_fit: Path
    """``face_fit`` artifact of the render, identity and camera held."""
    filmed_fit: Path
    """``face_fit`` artifact of the filmed frames, made in the same way."""
    out: Path
    """``scores`` artifact to write."""
    features: tuple[Path, ...] = ()
    """``picture_features`` artifacts of the render and of the subject; without them FID and CSIM say what they need."""
    lpips_alex: tuple[Path, ...] = ()
    """Weight files of LPIPS: AlexNet and its linear heads; without them its rows say what to fetch."""
    lpips_vgg: tuple[Path, ...] = ()
    """Weight files of LPIPS with VGG-16."""
    lpips_squeeze: tuple[Path, ...] = ()
    """Weight files of LPIPS with SqueezeNet."""


def check_held_out(options: Options, driver_frame: Int[np.ndarray, " frame"]) -> dict:
    """The avatar's record, after checking that no scored frame was trained on.

    Raises:
        InputError: one was, or the render is of another clip.
    """
    with open_artifact(options.avatar, AVATAR) as reader:
        avatar = {name: reader.read(name) for name in AVATAR.arrays}
    seen = np.intersect1d(driver_frame, avatar["train_frame"])
    if len(seen):
        raise InputError(
            f"{options.render}: frame {seen[0]} was trained on by {options.avatar}; "
            "only held-out frames can be scored, render with the split it was trained with"
        )
    return avatar


def split_of(avatar: Path) -> str | None:
    """Split that an avatar was trained with, such as ``tail-20@1``; None where its file does not say."""
    return read_provenance(avatar).get("split")


def compare(
    clip: FittedClip,
    options: Options,
    driver_frame: Int[np.ndarray, " frame"],
    rows: slice,
) -> Comparison:
    """Truth and render of some frames at the render's size.

    Args:
        clip: The subject's fit.
        options: Where the pictures are.
        driver_frame: Index in the clip of each rendered frame.
        rows: Rendered frames to read.
    """
    chosen = driver_frame[rows]
    full, person = read_pictures(options.frames, options.matte, chosen, clip.size)
    with open_artifact(options.render, RENDER) as reader:
        image, layer = (_unit(reader.read(name, rows)) for name in ("image", "person"))
    return Comparison(
        truth_full=full,
        truth_person=person,
        head_mask=torch.stack([clip.head_mask(int(frame)) for frame in chosen]),
        mesh_mask=torch.stack([clip.mesh_mask(int(frame)) for frame in chosen]),
        mouth_view=torch.stack([view_of_lips(clip.lips(int(frame))) for frame in chosen]),
        render_full=image,
        render_person=layer,
    )


def _unit(image: np.ndarray) -> Float[Tensor, "frame height width 3"]:
    return torch.from_numpy(image).float() / 255


def networks_of_lpips(options: Options) -> list[Lpips]:
    """The networks whose weights are given.

    Raises:
        InputError: a file is missing or is not one of LPIPS.
    """
    given: dict[Backbone, tuple[Path, ...]] = {
        "alex": options.lpips_alex,
        "vgg": options.lpips_vgg,
        "squeeze": options.lpips_squeeze,
    }
    return [load_lpips(files, backbone) for backbone, files in given.items() if files]


def score_all_pictures(
    scores: Scores, clip: FittedClip, options: Options, driver_frame: Int[np.ndarray, " frame"]
) -> None:
    """Add every image metric of every frame to ``scores``."""
    lpips = networks_of_lpips(options)
    if not options.lpips_alex:
        scores.missing |= {f"lpips_alex_{region}": LPIPS_REASON for region in LPIPS_REGIONS}
    parts: list[dict[str, np.ndarray]] = []
    at_once = min(FRAMES_AT_ONCE, max(1, PIXELS_AT_ONCE // prod(clip.size)))
    with torch.inference_mode():
        for start in tqdm(range(0, len(driver_frame), at_once), "scores", unit="batch"):
            rows = slice(start, start + at_once)
            parts.append(score_pictures(compare(clip, options, driver_frame, rows), lpips))
    fitted = clip.fit["valid"][driver_frame]
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        # nan: the region has no pixel in this frame, such as a head that has left the picture.
        valid = ~np.isnan(values) & (fitted | (not name.endswith(REGIONS_OF_THE_FIT)))
        scores.put(
            name, values, valid, "no scored frame of the truth was fitted, its head in the picture"
        )


def to_arrays(scores: Scores, driver_frame: Int[np.ndarray, " frame"]) -> dict[str, np.ndarray]:
    """The datasets of the ``scores`` artifact, metrics in the order of tables."""
    frame_names = sorted(scores.values, key=sort_key)
    clip_names = sorted(scores.clip, key=sort_key)
    missing = sorted(scores.missing, key=sort_key)
    return {
        "frame_metric": _text(frame_names),
        "frame_metric_unit": _text([metric_info(name).unit for name in frame_names]),
        "frame_value": np.stack([scores.values[name] for name in frame_names]),
        "frame_valid": np.stack([scores.valid[name] for name in frame_names]),
        "driver_frame": driver_frame.astype(np.int32),
        "clip_metric": _text(clip_names),
        "clip_metric_unit": _text([metric_info(name).unit for name in clip_names]),
        "clip_value": np.array([scores.clip[name] for name in clip_names], np.float64),
        "missing_metric": _text(missing),
        "missing_reason": _text([scores.missing[name] for name in missing]),
    }


def _text(items: list[str]) -> np.ndarray:
    return np.array(items) if items else np.zeros(0, "U1")


def main(options: Options) -> None:
    """Score one render and write the ``scores`` artifact.

    Raises:
        InputError: the files do not belong together, or a scored frame was trained on.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with open_artifact(options.render, RENDER) as reader:
        driver_frame = reader.read("driver_frame").astype(np.int64)
        render_time_s = reader.read("render_time_s").astype(np.float64)
        height, width = reader.shape("image")[1:3]
    avatar = check_held_out(options, driver_frame)
    clip = FittedClip(HeadModel.load(options.head_model), options.face_fit, (width, height))
    if driver_frame.max() >= clip.n_frames:
        raise InputError(
            f"{options.render}: frame {driver_frame.max()} is not in {options.face_fit}; "
            "give the fit of the clip that drove the render"
        )
    scores = Scores(len(driver_frame))
    score_all_pictures(scores, clip, options, driver_frame)
    rendered = np.arange(len(driver_frame))
    found = read_tracks(options.render_landmarks, rendered, clip.size)
    true = read_tracks(options.landmarks, driver_frame, clip.size)
    if found.landmarks is not true.landmarks:
        raise InputError(
            f"{options.render_landmarks} holds the {found.landmarks.name} points, but {options.landmarks} the "
            f"{true.landmarks.name} ones; find both with the same landmark detector"
        )
    score_landmarks(scores, found, true, driver_frame)
    render_fit = read_artifact(options.render_fit, FACE_FIT)
    filmed_fit = read_artifact(options.filmed_fit, FACE_FIT)
    score_fits(scores, FitTracks.of(render_fit, rendered), FitTracks.of(filmed_fit, driver_frame))
    score_features(scores, options.features, driver_frame, avatar["train_frame"].astype(np.int64))
    scores.put("render_time_s", render_time_s)
    scores.clip |= {
        "frames_per_second": float(len(render_time_s) / max(render_time_s.sum(), 1e-9)),
        "training_time_s": float(avatar["training_time_s"]),
        "peak_memory_mb": float(avatar["peak_memory_bytes"]) / 1e6,
        "n_train_frames": float(len(avatar["train_frame"])),
        "n_test_frames": float(len(driver_frame)),
        "image_side_px": float(max(clip.size)),
    }
    provenance = make_provenance("evaluation.scores", options, files_in(options))
    provenance["split"] = split_of(options.avatar)
    write_artifact(options.out, SCORES, to_arrays(scores, driver_frame), provenance)
    LOGGER.info("%s: %d frames scored", options.out, scores.n_frames)


if __name__ == "__main__":
    run_step(Options, main)
