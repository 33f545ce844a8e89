"""Render an avatar: its own held-out frames, a camera around it, another subject's motion, or a sound (step ``render_avatar``)."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from artifacts.code_digest import code_digest
from artifacts.errors import InputError
from artifacts.kinds import FRAMES, RENDER
from artifacts.provenance import make_provenance
from artifacts.splits import split_frames
from artifacts.step import run_step
from artifacts.store import open_artifact, open_writer
from avatar_models.avatar_file import AvatarMeta, load_avatar
from avatar_models.dataset import DrivingClip
from avatar_models.device import choose_device, synchronise
from avatar_models.driver_media import NO_MEDIA, DriverMedia, DriverSound, open_pictures
from avatar_models.driving import (
    cross_driving,
    navigation_driving,
    orbit_driving,
    rest_pose,
    self_driving,
    sound_driving,
)
from avatar_models.interface import AvatarModel, Driving, Layers
from avatar_models.registry import driven_by, model_module, n_directions
from media.video import VideoWriter

LOGGER = logging.getLogger(__name__)
# Places along each principal axis of a subspace, standard deviations of the training.
NAVIGATION_AMOUNTS = (-3.0, -1.5, 0.0, 1.5, 3.0)


@dataclass(frozen=True)
class Options:
    """Render an avatar to a ``render`` artifact and a video."""

    avatar: Path
    """``avatar`` artifact."""
    mode: Literal["self", "orbit", "cross", "audio", "navigation"]
    """self: the held-out frames of its own clip; orbit: a camera swinging around the head at a fixed
    expression (head alone over white); cross: the held-out frames of another subject; audio: a sound alone, head and
    torso moving as in the avatar's own clip (for models that are driven by sound); navigation: the rest frame while
    the model moves along each principal axis of its subspace (head alone over white)."""
    head_model: Path
    """``head_model`` artifact that the fits were made with."""
    face_fit: Path
    """``face_fit`` artifact of the avatar's own subject."""
    driver_frames: Path
    """``frames`` artifact of the driver: times, sound and, only where the model is driven by pictures, pixels."""
    out: Path
    """Render file to write."""
    video: Path
    """H.264 video to write, with the driver's sound where there is one."""
    driver_fit: Path | None = None
    """``face_fit`` artifact of the driver, for mode cross."""
    driver_matte: Path | None = None
    """``matte`` artifact of the driver; read only where the model is driven by pictures."""
    driver_audio: Path | None = None
    """``audio_features`` artifact of the driver, of the kind that the avatar was trained with; read only where the
    model is driven by sound."""
    split: str = "tail-20"
    """Whose held-out frames of the driver are rendered."""
    whole_driver: bool = False
    """In mode cross, render all frames of the driver (a recording that nobody trained on)."""
    orbit_frames: int = 100
    """Frames of one swing of the camera."""
    device: str = "auto"
    """auto, cpu or cuda."""


@dataclass(frozen=True)
class Plan:
    """What to render.

    Attributes:
        signals: Driving signals, one per frame to make.
        driver_frame: Index in the driver's clip of each, int32.
        time_s: Time of each from the start of the driver's clip, seconds.
        frame_rate_hz: Of the video.
        audio: Sound and its rate in hertz, from the first frame on; None where there is none.
        head_only: Show the head alone over white.
        direction: Principal axis of the subspace that each frame moves along, int32; empty but in mode navigation.
        amount: How far, standard deviations of the training, float32; empty but in mode navigation.
        warning: What was found amiss with the driver, one sentence, or empty.
    """

    signals: Iterator[Driving]
    driver_frame: np.ndarray
    time_s: np.ndarray
    frame_rate_hz: float
    audio: tuple[np.ndarray, int] | None
    head_only: bool
    warning: str = ""
    direction: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    amount: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


def main(options: Options) -> None:
    """Load the avatar, render every frame, write artifact and video."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device = choose_device(options.device)
    model, meta = load_avatar(options.avatar, device)
    plan = make_plan(options, meta, device)
    provenance = make_provenance(
        "avatar_models.render", options, _inputs(options, driven_by(meta.model_name))
    )
    provenance["code"] = code_digest("avatar_models.render", model_module(meta.model_name))
    if plan.warning:
        LOGGER.warning("%s", plan.warning)
        provenance["warning"] = plan.warning
    size = meta.image_size
    times = render_to_files(model, plan, size, options.out, options.video, provenance)
    LOGGER.info(
        "%s, %s: %d frames of %dx%d, median %.1f ms each",
        meta.model_name,
        options.mode,
        len(times),
        *size,
        1000 * float(np.median(times)),
    )


def _inputs(options: Options, signal: str) -> dict[str, Path]:
    """The files that the render rests on."""
    files: dict[str, Path | None] = {
        "avatar": options.avatar,
        "head_model": options.head_model,
        "face_fit": options.face_fit,
        "driver_frames": options.driver_frames,
        "driver_fit": options.driver_fit,
        "driver_matte": options.driver_matte if signal == "picture" else None,
        "driver_audio": options.driver_audio if signal == "sound" else None,
    }
    return {name: path for name, path in files.items() if path is not None}


def open_media(options: Options, model_name: str, device: torch.device) -> DriverMedia:
    """The driver's pictures or sound, where the model is driven by them.

    Raises:
        InputError: they are not given, or the driver has none.
    """
    signal = driven_by(model_name)
    if signal == "picture":
        if options.driver_matte is None:
            raise InputError(
                f"model {model_name!r} is driven by pictures; give the matte of the driver's clip with --driver-matte "
                "(a recording of motion has no pictures and cannot drive it)"
            )
        pictures = open_pictures(options.driver_frames, options.driver_matte, device)
        return DriverMedia(pictures=pictures)
    if signal == "sound":
        if options.driver_audio is None:
            raise InputError(
                f"model {model_name!r} is driven by sound; give the driver's audio features with --driver-audio "
                "(a recording of motion has no sound and cannot drive it)"
            )
        return DriverMedia(sound=DriverSound.load(options.driver_audio, device))
    return NO_MEDIA


def make_plan(options: Options, meta: AvatarMeta, device: torch.device) -> Plan:
    """Choose frames and driving signals for a mode.

    Raises:
        InputError: the model cannot be driven so, files do not belong together, or the split leaves nothing.
    """
    if options.mode == "audio" and driven_by(meta.model_name) != "sound":
        raise InputError(
            f"mode audio is for models that are driven by sound, but {meta.model_name!r} is driven by "
            f"{driven_by(meta.model_name)}; choose --mode self, orbit or cross"
        )
    if options.mode == "navigation" and n_directions(meta.config) == 0:
        raise InputError(
            f"mode navigation is for models with a personal subspace, and {meta.model_name!r} has none; choose another mode"
        )
    media = open_media(options, meta.model_name, device)
    with open_artifact(options.driver_frames, FRAMES) as reader:
        time_s = reader.read("time_s")
        rate_hz = float(reader.read("frame_rate_hz"))
        sound = reader.read("audio") if bool(reader.read("has_audio")) else None
        sound_rate_hz = int(reader.read("audio_rate_hz"))
        warning = str(reader.provenance.get("warning", ""))
    media.check_length(len(time_s), options.driver_frames)
    subject = DrivingClip.load(options.head_model, options.face_fit, meta.image_size, device)
    if options.mode == "navigation":
        return _navigation_plan(subject, n_directions(meta.config), rate_hz)
    if options.mode == "audio":
        frames = np.arange(len(time_s), dtype=np.int32)
        audio = None if sound is None else (sound, sound_rate_hz)
        signals = sound_driving(subject, media, len(time_s))
        return Plan(signals, frames, time_s, rate_hz, audio, False, warning)
    driver = _driver_of(options, subject, media)
    if len(time_s) != driver.n_frames:
        raise InputError(
            f"{options.driver_frames}: {len(time_s)} frames, but the driver's fit has "
            f"{driver.n_frames}; give frames and fit of the same clip"
        )
    if options.mode == "orbit":
        n_frames = options.orbit_frames
        signals = orbit_driving(subject, n_frames)
        frame = np.full(n_frames, rest_pose(subject).frame, np.int32)
        return Plan(signals, frame, np.arange(n_frames) / rate_hz, rate_hz, None, True)
    if options.mode == "cross" and options.whole_driver:
        frames = np.arange(driver.n_frames)
    else:
        _, frames = split_frames(options.split, driver.n_frames)
    if options.mode == "self":
        signals = self_driving(subject, frames)
    else:
        signals = cross_driving(subject, driver, frames)
    audio = None
    if sound is not None:
        audio = (sound[round(float(time_s[frames[0]]) * sound_rate_hz) :], sound_rate_hz)
    return Plan(signals, frames.astype(np.int32), time_s[frames], rate_hz, audio, head_only=False)


def _navigation_plan(subject: DrivingClip, n_directions: int, rate_hz: float) -> Plan:
    """Every principal axis of a subspace, swept."""
    count = n_directions * len(NAVIGATION_AMOUNTS)
    signals = navigation_driving(subject, n_directions, NAVIGATION_AMOUNTS)
    return Plan(
        signals,
        np.full(count, rest_pose(subject).frame, np.int32),
        np.arange(count) / rate_hz,
        rate_hz,
        audio=None,
        head_only=True,
        direction=np.repeat(np.arange(n_directions, dtype=np.int32), len(NAVIGATION_AMOUNTS)),
        amount=np.tile(np.array(NAVIGATION_AMOUNTS, np.float32), n_directions),
    )


def _driver_of(options: Options, subject: DrivingClip, media: DriverMedia) -> DrivingClip:
    """Who drives: the subject itself, but for mode cross; with its pictures or sound."""
    driver = subject
    if options.mode == "cross":
        if options.driver_fit is None:
            raise InputError(
                "mode cross needs the motion of the driver; give its face_fit with --driver-fit, or choose --mode "
                "audio for a sound alone"
            )
        driver = DrivingClip.load(
            options.head_model, options.driver_fit, subject.image_size, subject.device
        )
    driver.media = media
    return driver


def render_to_files(
    model: AvatarModel,
    plan: Plan,
    size: tuple[int, int],
    out: Path,
    video: Path,
    provenance: dict[str, object],
) -> np.ndarray:
    """Render frame by frame, so that memory does not grow with the clip; returns seconds per frame.

    Raises:
        OSError: the disk is full or a folder is not writable.
    """
    times: list[float] = []
    with ExitStack() as stack:
        movie = stack.enter_context(VideoWriter(video, plan.frame_rate_hz, size, plan.audio))
        writer = stack.enter_context(open_writer(out, RENDER, provenance))
        # Nobody watches a log file: a line every ten seconds is enough there.
        interval_s = 0.5 if sys.stderr.isatty() else 10.0
        for _ in tqdm(plan.driver_frame, desc="render", mininterval=interval_s):
            begun = time.perf_counter()
            driving = next(plan.signals)
            posing_s = time.perf_counter() - begun
            if not times:
                render_frame(model, driving)  # kernels are compiled on first use
            begun = time.perf_counter()
            layers = render_frame(model, driving)
            images = frame_arrays(head_alone(layers) if plan.head_only else layers)
            times.append(posing_s + time.perf_counter() - begun)
            for name, image in images.items():
                writer.append(name, image[None], compressed=True)
            movie.write(images["image"])
        writer.put("driver_frame", plan.driver_frame)
        writer.put("time_s", plan.time_s.astype(np.float64))
        writer.put("render_time_s", np.array(times, np.float32))
        writer.put("direction", plan.direction)
        writer.put("amount", plan.amount)
    return np.array(times)


@torch.inference_mode()
def render_frame(model: AvatarModel, driving: Driving) -> Layers:
    """The layers of one frame, finished when this returns."""
    layers = model.render(driving)
    synchronise(layers.head.device)
    return layers


def head_alone(layers: Layers) -> Layers:
    """Without torso, over white."""
    return replace(
        layers,
        torso=torch.zeros_like(layers.torso),
        torso_alpha=torch.zeros_like(layers.torso_alpha),
        background=torch.ones_like(layers.background),
    )


def frame_arrays(layers: Layers) -> dict[str, np.ndarray]:
    """The pictures of a ``render`` artifact, as bytes."""
    white = torch.ones(3, device=layers.head.device)
    head = layers.head + (1 - layers.head_alpha)[..., None] * white
    return {
        "image": _bytes(layers.over(layers.background)),
        "person": _bytes(layers.over(white)),
        "head": _bytes(head),
        "person_alpha": _bytes(layers.person_alpha()),
        "head_alpha": _bytes(layers.head_alpha),
    }


def _bytes(image: Float[Tensor, "..."]) -> UInt8[np.ndarray, "..."]:
    return (255 * image).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


if __name__ == "__main__":
    run_step(Options, main)
