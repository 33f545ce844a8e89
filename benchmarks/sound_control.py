r"""Does an avatar's mouth follow its sound: lips under the clip's own sound against the sound of other moments.

    python -m benchmarks.sound_control --avatar results/obama/hfa_gp_audio/avatar.h5 --subject results/obama \
        --head-model results/head_models/anny.h5 --detector D --mesh M --out results/benchmarks/sound_control

Renders the held-out frames once as they are and ``controls`` times with their windows of sound dealt out anew; camera,
head pose and torso stay. Then MediaPipe finds the lips in all of them and in the filmed frames. An avatar that does not
listen has the same distance in all. Given are the table's ``lmd_mouth_px`` (pixels of the render), the difference of the
openings (:func:`evaluation.face_openings.mouth_opening`), and the correlation of these with the film's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from artifacts.errors import InputError
from artifacts.kinds import LANDMARKS, RENDER
from artifacts.step import run_step
from artifacts.store import open_artifact
from avatar_models import render
from avatar_models.avatar_file import AvatarMeta, load_avatar
from avatar_models.device import choose_device
from avatar_models.driving_signals import Driving
from avatar_models.interface import AvatarModel
from avatar_models.registry import driven_by
from evaluation.face_openings import mouth_opening
from evaluation.metrics.landmarks import landmark_distance
from evaluation.tracks import LandmarkTracks, read_tracks
from preprocessing import landmarks

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Compare an avatar's lips under its own sound and under that of other moments."""

    avatar: Path
    """Avatar of a model that is driven by sound."""
    subject: Path
    """Folder of its subject: frames, landmarks, face_fit, audio_features."""
    head_model: Path
    """head_model artifact."""
    detector: Path
    """Network file face_detection_short_range.tflite."""
    mesh: Path
    """Network file face_landmark_with_attention.tflite."""
    out: Path
    """Folder for renders, videos and the table."""
    split: str = "adnerf-10-1"
    """With which the avatar was trained; its held-out frames are rendered."""
    controls: int = 3
    """How often the sound is dealt out anew."""
    device: str = "auto"
    """auto, cpu or cuda."""


def main(options: Options) -> None:
    """Render, find lips, compare."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device = choose_device(options.device)
    model, meta = load_avatar(options.avatar, device)
    if driven_by(meta.model_name) != "sound":
        raise InputError(
            f"{options.avatar}: {meta.model_name!r} is not driven by sound; give one of hfa_gp_audio"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    tracks = [
        _draw(options, model, meta, device, seed) for seed in (None, *range(options.controls))
    ]
    with open_artifact(options.out / "own.h5", RENDER) as reader:
        frames = reader.read("driver_frame")
        height, width = reader.shape("image")[1:3]
    truth = read_tracks(options.subject / "landmarks.h5", frames, (width, height))
    rows = [
        (name, *distances(track, truth))
        for name, track in zip(("own", *range(options.controls)), tracks, strict=True)
    ]
    titles = ("sound", "frames", "lips px", "opening", "correlation of opening")
    table = tabulate(rows, titles, floatfmt=".3f")
    (options.out / "sound_control.txt").write_text(table + "\n")
    LOGGER.info("%s", table)


def _draw(
    options: Options, model: AvatarModel, meta: AvatarMeta, device: torch.device, seed: int | None
) -> LandmarkTracks:
    """Landmarks of the held-out frames, under their own sound or under sound dealt out by ``seed``."""
    name = "own" if seed is None else f"dealt_{seed}"
    files = {kind: options.subject / f"{kind}.h5" for kind in ("frames", "face_fit")}
    out = options.out / f"{name}.h5"
    plan = render.make_plan(
        render.Options(
            avatar=options.avatar,
            mode="self",
            head_model=options.head_model,
            face_fit=files["face_fit"],
            driver_frames=files["frames"],
            driver_audio=options.subject / "audio_features.h5",
            out=out,
            video=out.with_suffix(".mp4"),
            split=options.split,
        ),
        meta,
        device,
    )
    if seed is not None:
        plan = replace(plan, signals=dealt_out(list(plan.signals), seed))
    render.render_to_files(model, plan, meta.image_size, out, out.with_suffix(".mp4"), {})
    found = options.out / f"{name}_landmarks.h5"
    landmarks.main(landmarks.Options(out, options.detector, found, mesh=options.mesh))
    with open_artifact(found, LANDMARKS) as reader:
        count = reader.shape("valid")[0]
    return read_tracks(found, np.arange(count), meta.image_size)


def dealt_out(signals: list[Driving], seed: int) -> Iterator[Driving]:
    """The same moments, each with the sound of another one."""
    order = torch.randperm(len(signals), generator=torch.Generator().manual_seed(seed)).tolist()
    # Round the circle of a random order, so that no moment keeps its own.
    other = {one: order[(place + 1) % len(order)] for place, one in enumerate(order)}
    sound: list[Tensor | None] = [signal.sound for signal in signals]
    return (replace(signal, sound=sound[other[index]]) for index, signal in enumerate(signals))


def distances(track: LandmarkTracks, truth: LandmarkTracks) -> tuple[int, float, float, float]:
    both = track.valid & truth.valid
    lips = list(truth.landmarks.lips)
    lip_px = landmark_distance(track.points[both][:, lips], truth.points[both][:, lips])
    opening, wanted = (mouth_opening(points[both]) for points in (track.points, truth.points))
    related = float(np.corrcoef(opening, wanted)[0, 1])
    return int(both.sum()), float(lip_px.mean()), float(np.abs(opening - wanted).mean()), related


if __name__ == "__main__":
    run_step(Options, main)
