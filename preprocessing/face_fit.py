"""Step ``face_fit``: the head model fitted to a whole clip, with cameras, gaze and the motion of the torso."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES, LANDMARKS, MATTE
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import open_artifact, read_artifact, write_artifact
from artifacts.stretches import name_frames
from head_geometry.cameras import resize_intrinsics
from head_geometry.devices import find_device
from head_geometry.head_model import HeadModel
from head_geometry.landmark_sets import landmark_set_of
from preprocessing.fitting.clip import (
    ClipFit,
    FitSettings,
    Subject,
    describe_fit,
    fit_frames,
    observe,
    weigh,
)
from preprocessing.fitting.doubt import ClipLandmarks, fit_believed, without
from preprocessing.fitting.landmarks import eye_corner_distance_px
from preprocessing.fitting.model import make_landmark_model
from preprocessing.fitting.normal import NormalBuilder
from preprocessing.fitting.refine import PHOTOMETRIC, Looks, PhotometricFit
from preprocessing.fitting.start import FOCAL_OVER_LONG_SIDE, source_camera
from preprocessing.fitting.torso_clip import Torso, follow_torso, no_torso

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Fit the head model to a clip; with ``subject_fit``, to renders of a subject that was fitted before."""

    landmarks: Path
    """landmarks artifact."""
    head_model: Path
    """head_model artifact."""
    out: Path
    """face_fit artifact to write."""
    frames: Path | None = None
    """frames artifact the landmarks came from (not needed with --subject-fit)."""
    matte: Path | None = None
    """matte artifact of the same frames (not needed with --subject-fit)."""
    subject_fit: Path | None = None
    """face_fit artifact whose identity, focal length and landmark offsets are held."""
    identities: int = 40
    """Identity components to estimate."""
    focal_over_long_side: float = FOCAL_OVER_LONG_SIDE
    """Focal length to expect, over the longer side of the source picture: 0.9 a phone's front camera, 1.5 a usual
    lens, 2.5 a television studio."""
    smoothness: float = 1.0
    """How much smoother than raw: 0.5 halves the expected accelerations' precision, 2 doubles it."""
    landmark_offsets: bool = True
    """Estimate a personal offset for every landmark."""
    photometric: Literal["none", "light", "full"] = "none"
    """How much the pictures say besides the landmarks: nothing, little work or much (needs --frames and --matte)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the pictures are looked at."""


@dataclass(frozen=True)
class Fitted:
    """Everything that the fit of a clip found."""

    fit: ClipFit
    torso: Torso
    vertex_offset: Float[np.ndarray, "any_vertex 3"]
    expression_offset: Float[np.ndarray, "own_expression own_vertex 3"]
    valid: Bool[np.ndarray, " frame"]
    """False where no face was found, or not believed, and the frame was filled in."""
    looks: Looks | None
    """Only after a photometric fit."""


def main(options: Options) -> None:
    """Read, fit, write."""
    torch.manual_seed(0)
    head = HeadModel.load(options.head_model)
    landmarks = read_artifact(options.landmarks, LANDMARKS)
    faceless = not landmarks["valid"].any()
    if faceless and options.subject_fit is None:
        raise InputError(
            f"{options.landmarks}: no frame shows a face; choose a clip in which the face is seen"
        )
    if not landmark_set_of(landmarks["points"].shape[1], options.landmarks).irises:
        log.info("%s: these landmarks have no irises, the gaze stays at rest", options.landmarks)
    settings = make_settings(options)
    started = time.perf_counter()
    if options.subject_fit is None:
        fitted = fit_clip(options, head, landmarks, settings)
    else:
        fitted = fit_render(read_artifact(options.subject_fit, FACE_FIT), head, landmarks, settings)
    fit = fitted.fit
    seconds = time.perf_counter() - started
    nme = 0.0 if faceless else float(np.median(fit.nme[fitted.valid]))
    log.info("%d frames in %.1f s, median NME %.4f", len(fit.nme), seconds, nme)
    named = {"landmarks": options.landmarks, "head_model": options.head_model}
    named |= {
        name: path
        for name in ("frames", "matte", "subject_fit")
        if (path := getattr(options, name)) is not None
    }
    write_artifact(
        options.out,
        FACE_FIT,
        artifact_arrays(fitted, landmarks),
        make_provenance("preprocessing.face_fit", options, named),
    )


def make_settings(options: Options) -> FitSettings:
    """The fit's settings from the step's options."""
    default = FitSettings()
    spread = 1 / np.sqrt(options.smoothness)
    return FitSettings(
        identities=options.identities,
        offset_std_m=default.offset_std_m if options.landmark_offsets else 0.0,
        rotation_std=default.rotation_std * spread,
        translation_std_m=default.translation_std_m * spread,
        expression_acceleration=default.expression_acceleration * spread,
        turn_std=default.turn_std * spread,
    )


def read_landmarks(
    options: Options, head: HeadModel, landmarks: dict[str, np.ndarray], settings: FitSettings
) -> ClipLandmarks:
    """The landmarks of a clip in the terms of the fit.

    Raises:
        InputError: frames are missing or belong to other landmarks.
    """
    if options.frames is None:
        raise InputError("face_fit needs --frames (or --subject-fit for renders)")
    with open_artifact(options.frames, FRAMES) as reader:
        size = reader.read("source_size")
        source_from_crop = reader.read("source_from_crop")
        if reader.shape("image")[0] != len(landmarks["valid"]):
            raise InputError(
                f"{options.landmarks}: {len(landmarks['valid'])} frames, but {options.frames} has "
                f"{reader.shape('image')[0]}; make the landmarks again"
            )
    width, height = (int(side) for side in size)
    centre, focal_px = source_camera(
        source_from_crop, (width, height), options.focal_over_long_side
    )
    found = landmark_set_of(landmarks["points"].shape[1], options.landmarks)
    model = weigh(make_landmark_model(head, settings.identities, found), settings)
    points = landmarks["points"][..., :2]
    seen = observe(model, points, landmarks["valid"], centre, settings)
    corners = np.where(landmarks["valid"], eye_corner_distance_px(points, found), 1.0)
    return ClipLandmarks(model, seen, torch.from_numpy(corners), focal_px)


def fit_clip(
    options: Options, head: HeadModel, landmarks: dict[str, np.ndarray], settings: FitSettings
) -> Fitted:
    """Fit subject and frames of a clip, to landmarks and, if wanted, to its pictures, and follow its torso.

    Raises:
        InputError: frames or mattes are missing or belong to other landmarks.
    """
    clip = read_landmarks(options, head, landmarks, settings)
    model, points = clip.model, landmarks["points"][..., :2]
    state, seen = fit_believed(clip, clip.seen, settings)
    offset, own = np.zeros((len(head.template), 3), np.float32), np.zeros((0, 0, 3), np.float32)
    if options.frames is None or options.matte is None:
        if options.photometric != "none":
            raise InputError("face_fit needs --matte for --photometric; give it, or none")
        fit = describe_fit(head, model, state, seen, points)
        report_doubtful(landmarks["valid"] & ~seen.valid.numpy())
        return Fitted(fit, no_torso(len(points)), offset, own, seen.valid.numpy(), None)
    with (
        open_artifact(options.frames, FRAMES) as frames,
        open_artifact(options.matte, MATTE) as matte,
    ):
        if matte.shape("alpha") != frames.shape("image")[:3]:
            raise InputError(
                f"{options.matte}: {matte.shape('alpha')} (frames, height, width), but {options.frames} "
                f"has {frames.shape('image')[:3]}; make the matte of these frames"
            )
        looks = None
        if options.photometric != "none":
            chosen = settings, PHOTOMETRIC[options.photometric]
            device = find_device(options.device)
            photometric = PhotometricFit(head, seen, (frames, matte), chosen, device)
            doubtful = photometric.doubtful_frames(model, state)
            if doubtful.any():
                state, seen = fit_believed(clip, without(seen, doubtful), settings)
                photometric = PhotometricFit(head, seen, (frames, matte), chosen, device)
            track, looks = photometric.run(model, state)
            head, model, state = track.head, track.model, track.state
            offset, own = track.vertex_offset.numpy(), track.expression_offset.numpy()
        fit = describe_fit(head, model, state, seen, points)
        valid = seen.valid.numpy()
        torso = follow_torso(frames, matte, head, fit, valid)
    report_doubtful(landmarks["valid"] & ~valid)
    return Fitted(fit, torso, offset, own, valid, looks)


def report_doubtful(doubtful: Bool[np.ndarray, " frame"]) -> None:
    """Say which frames were filled in although landmarks were found in them."""
    if doubtful.any():
        log.warning(
            "%s not explained by the head (a hand or an object before the face, or a profile?) and filled in: "
            "they count for nothing and are marked as not valid",
            name_frames(doubtful),
        )


def fit_render(
    held: dict[str, np.ndarray],
    head: HeadModel,
    landmarks: dict[str, np.ndarray],
    settings: FitSettings,
) -> Fitted:
    """Fit only the frames; identity, camera, displacement and landmark offsets are those of ``held``.

    Raises:
        InputError: the subject was fitted to another set of landmarks.
    """
    offset, own = held["vertex_offset"], held["expression_offset"]
    head = head.of_subject(held)
    frames = len(landmarks["valid"])
    torso = no_torso(frames)
    width, height = (int(side) for side in landmarks["image_size"])
    old_width, old_height = (int(side) for side in held["image_size"])
    intrinsics = resize_intrinsics(
        torch.from_numpy(held["intrinsics"]), (old_width, old_height), (width, height)
    )
    identities = int(np.flatnonzero(held["identity"])[-1]) + 1 if held["identity"].any() else 1
    if not landmarks["valid"].any():
        at_rest = rest_fit(held, frames, intrinsics.numpy())
        return Fitted(at_rest, torso, offset, own, landmarks["valid"], None)
    found = landmark_set_of(landmarks["points"].shape[1], "landmarks of the renders")
    if len(held["landmark_offset"]) != found.count:
        raise InputError(
            f"the renders have {found.count} landmarks, but their subject was fitted to "
            f"{len(held['landmark_offset'])}; find both with the same landmark detector"
        )
    model = weigh(make_landmark_model(head, identities, found), settings)
    subject = Subject(
        identity=torch.from_numpy(held["identity"][:identities]).double(),
        log_focal=torch.log(intrinsics[0, 0]),
        offset=torch.from_numpy(held["landmark_offset"]).double()[model.index],
    )
    points = landmarks["points"][..., :2]
    seen = observe(model, points, landmarks["valid"], intrinsics[:2, 2], settings)
    state = fit_frames(NormalBuilder(model), subject, seen, settings)
    fit = describe_fit(head, model, state, seen, points)
    return Fitted(fit, torso, offset, own, landmarks["valid"], None)


def rest_fit(
    held: dict[str, np.ndarray], frames: int, intrinsics: Float[np.ndarray, "3 3"]
) -> ClipFit:
    """Renders in which no face is found (a poor avatar): the subject at rest, every frame marked as not valid."""
    return ClipFit(
        identity=held["identity"],
        expression=np.zeros((frames, held["expression"].shape[1]), np.float32),
        joint_rotation=np.zeros((frames, *held["joint_rotation"].shape[1:]), np.float32),
        camera_from_head=np.repeat(held["world_from_head"][:1], frames, axis=0),
        intrinsics=intrinsics,
        landmark_offset=held["landmark_offset"],
        nme=np.zeros(frames, np.float32),
    )


def artifact_arrays(fitted: Fitted, landmarks: dict[str, np.ndarray]) -> dict[str, Any]:
    """All datasets of the ``face_fit`` artifact."""
    fit, looks, frames = fitted.fit, fitted.looks, len(fitted.fit.nme)
    arrays: dict[str, Any] = {
        "identity": fit.identity.astype(np.float32),
        "expression": fit.expression.astype(np.float32),
        "joint_rotation": fit.joint_rotation.astype(np.float32),
        "world_from_head": fit.camera_from_head,
        "camera_from_world": np.tile(np.eye(4), (frames, 1, 1)),
        "intrinsics": fit.intrinsics,
        "image_size": landmarks["image_size"].astype(np.int32),
        "landmark_offset": fit.landmark_offset.astype(np.float32),
        "nme": fit.nme.astype(np.float32),
        "valid": fitted.valid,
        "vertex_offset": fitted.vertex_offset,
        "expression_offset": fitted.expression_offset,
        "outline_iou": np.zeros(frames, np.float32),
        "albedo": np.zeros((0, 0, 3), np.uint8),
        "albedo_seen": np.zeros((0, 0), np.uint8),
        "light": np.zeros((0, 9, 3), np.float32),
        "photometric_error": np.zeros(0, np.float32),
    }
    if looks is not None:
        arrays |= {
            "outline_iou": looks.outline_iou.astype(np.float32),
            "albedo": looks.texture.albedo,
            "albedo_seen": looks.texture.seen,
            "light": looks.light.astype(np.float32),
            "photometric_error": looks.photometric_error.astype(np.float32),
        }
    torso = fitted.torso
    return arrays | {field.name: getattr(torso, field.name) for field in fields(torso)}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_step(Options, main)
