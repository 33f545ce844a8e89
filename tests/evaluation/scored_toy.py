"""A toy subject with a toy avatar: its render is the truth, disturbed by a known amount."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from toy import ToySubject

from artifacts.kinds import AVATAR, FACE_FIT, FRAMES, LANDMARKS, MATTE, RENDER
from artifacts.splits import split_frames
from artifacts.store import read_artifact, write_artifact

BY_TEST = {"step": "tests.toy", "options": {}, "code": "0" * 16, "seed": None}


@dataclass(frozen=True)
class ToyRender:
    """Files of a render of the held-out frames, and of what is re-estimated from it."""

    folder: Path
    avatar: Path
    render: Path
    landmarks: Path
    fit: Path


def make_toy_render(
    subject: ToySubject, folder: Path, level_shift: int = 0, landmark_shift_px: float = 0.0, **edits
) -> ToyRender:
    """Write avatar, render, landmarks and fit of the held-out frames into ``folder``.

    Args:
        subject: Whose clip is rendered.
        folder: Made if missing.
        level_shift: Added to every channel of the filmed picture (0..255).
        landmark_shift_px: Added to x of every landmark detected in the render.
        **edits: ``train_frame`` or ``valid`` to replace, ``expression_shift`` to add.
    """
    frames, matte = read_artifact(subject.frames, FRAMES), read_artifact(subject.matte, MATTE)
    landmarks = read_artifact(subject.landmarks, LANDMARKS)
    fit = read_artifact(subject.face_fit, FACE_FIT)
    train, test = split_frames("tail-20", len(frames["image"]))
    image = np.clip(frames["image"][test].astype(int) + level_shift, 0, 255).astype(np.uint8)
    opacity = matte["alpha"][test]
    alpha = opacity[..., None] / 255
    person = np.round(image * alpha + 255 * (1 - alpha)).astype(np.uint8)
    valid = np.array(edits.get("valid", landmarks["valid"][test]))
    paths = ToyRender(
        folder,
        *(folder / f"{name}.h5" for name in ("avatar", "render_self", "landmarks", "fit")),
    )
    size = np.array(image.shape[2:0:-1], np.int32)
    write_artifact(
        paths.avatar, AVATAR, _avatar(edits.get("train_frame", train), size), BY_TEST, {}
    )
    write_artifact(
        paths.render,
        RENDER,
        {
            "image": image,
            "person": person,
            "head": person,
            "person_alpha": opacity,
            "head_alpha": opacity,
            "driver_frame": test.astype(np.int32),
            "time_s": frames["time_s"][test],
            "render_time_s": np.full(len(test), 0.05, np.float32),
            "direction": np.zeros(0, np.int32),
            "amount": np.zeros(0, np.float32),
        },
        {**BY_TEST, "options": {"mode": "self"}},
    )
    points = landmarks["points"][test] + np.array([landmark_shift_px, 0, 0], np.float32)
    detected = {"points": points, "confidence": valid.astype(np.float32), "valid": valid}
    write_artifact(paths.landmarks, LANDMARKS, {**detected, "image_size": size}, BY_TEST)
    per_frame = [name for name, spec in FACE_FIT.arrays.items() if spec.dims[:1] == ("frame",)]
    refit = {name: value[test] if name in per_frame else value for name, value in fit.items()}
    refit["expression"] = refit["expression"] + np.float32(edits.get("expression_shift", 0))
    write_artifact(paths.fit, FACE_FIT, {**refit, "valid": valid}, BY_TEST)
    return paths


def _avatar(train: np.ndarray, size: np.ndarray) -> dict[str, object]:
    steps = np.arange(0, 100, 10)
    return {
        "model_name": np.array("toy"),
        "model_config": np.array("steps: 100\n"),
        "image_size": size,
        "train_frame": np.asarray(train, np.int32),
        "loss_step": steps.astype(np.int32),
        "loss_name": np.array(["colour", "elastic"]),
        "loss": np.stack([np.exp(-steps / 30), 0.1 + 0 * steps], 1).astype(np.float32),
        "training_time_s": np.array(12.5),
        "peak_memory_bytes": np.array(512_000_000, np.int64),
        "device_name": np.array("cpu"),
    }
