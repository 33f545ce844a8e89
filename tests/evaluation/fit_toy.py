"""A toy subject with everything that the fit page reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scored_toy import BY_TEST
from toy import ToySubject, make_toy_subject

from artifacts.kinds import FACE_FIT, SYNC
from artifacts.store import read_artifact, write_artifact
from evaluation.fit_report import Options
from evaluation.fit_review import FitFiles, Review, read_review
from head_geometry.head_model import HeadModel

N_FRAMES = 24


def toy_options(folder: Path, **changes) -> Options:
    """Options of the page on a new toy subject whose fit follows landmarks only."""
    subject = make_toy_subject(folder, N_FRAMES, size=64, invalid_frames=(3, 4, 9))
    given = {
        "subject": "ann",
        **{name: getattr(subject, name) for name in ("frames", "landmarks", "matte", "face_fit")},
        "head_model": subject.head_model,
        "out": folder / "report/fit_ann.html",
    }
    return Options(**(given | changes))


def change_fit(path: Path, **arrays) -> None:
    """Replace some arrays of a fit."""
    write_artifact(path, FACE_FIT, read_artifact(path, FACE_FIT) | arrays, BY_TEST)


def add_photometry(path: Path, n_frames: int = N_FRAMES) -> None:
    """Give a fit an even grey skin, an even light and errors that grow over the clip."""
    light = np.zeros((n_frames, 9, 3), np.float32)
    light[:, 0] = 2 * np.sqrt(np.pi)  # irradiance 1 from everywhere
    change_fit(
        path,
        albedo=np.full((16, 16, 3), 186, np.uint8),
        albedo_seen=np.full((16, 16), 200, np.uint8),
        light=light,
        photometric_error=np.linspace(0.01, 0.03, n_frames).astype(np.float32),
        outline_iou=np.full(n_frames, 0.96, np.float32),
    )


def write_sync(path: Path, lag_frames: float, is_found: bool = True, n_frames: int = N_FRAMES):
    """Write a ``sync`` artifact that found ``lag_frames``."""
    lag = np.arange(-3, 4, dtype=np.int32)
    is_out = is_found and abs(lag_frames) > 2
    arrays = {
        "lag": lag,
        "score": (np.exp(-((lag - lag_frames) ** 2)) * is_found).astype(np.float32),
        "chance_score": np.float32(0.2),
        "confidence": np.float32(0.99),
        "is_found": np.bool_(is_found),
        "lag_frames": np.float64(lag_frames),
        "lag_std_frames": np.float64(0),
        "is_out_of_step": np.bool_(is_out),
        "audio_shift_s": np.float64(-lag_frames / 25),
        "verdict": np.str_(
            f"the sound is {lag_frames:g} frames late" if is_found else "cannot tell"
        ),
        "frame_rate_hz": np.float64(25),
        "mouth_opening": np.zeros(n_frames, np.float32),
        "mouth_valid": np.ones(n_frames, bool),
        "mouth_predicted": np.zeros(n_frames, np.float32),
        "predicted_valid": np.zeros(n_frames, bool),
    }
    write_artifact(path, SYNC, arrays, BY_TEST)
    return path


def toy_review(subject: ToySubject | Options, side: int = 64) -> Review:
    """The subject as the page reads it."""
    files = FitFiles(
        subject.frames,
        subject.landmarks,
        subject.matte,
        subject.face_fit,
        getattr(subject, "sync", None),
    )
    return read_review(files, HeadModel.load(subject.head_model), "tail-20", (side, side))
