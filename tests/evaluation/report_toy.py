"""A whole results folder of two toy subjects and two toy models, as the report reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from scored_toy import BY_TEST, ToyRender, make_toy_render
from toy import ToySubject, make_toy_subject

from artifacts.kinds import RENDER
from artifacts.store import read_artifact, write_artifact
from evaluation.records import Options as RecordOptions
from evaluation.records import main as record
from evaluation.report import Options
from evaluation.scores import Options as ScoreOptions
from evaluation.scores import main as score
from evaluation.tables import Options as TableOptions
from evaluation.tables import main as tabulate

SUBJECTS, MODELS = ("ann", "bob"), ("near", "far")

# Bob's consent is not on file; nobody made an avatar of Cid.
CONFIG = """image_size: 64
subjects:
  ann: {video: a.mp4, consent: form 17, split: insta-350}
  bob: {video: b.mp4, notes: <i>glasses</i>}
  cid: {video: c.mp4, role: driver, consent: ""}
  una: {synthetic: {seed: 1}, role: driver}
drivers:
  song: {wav: s.wav, consent: form 21}
  wave: {arkit: w.csv}
"""


def record_options(results: Path, **changes) -> RecordOptions:
    """Options of the records of those results."""
    given = {
        "results": results,
        "config": (results / "config.yaml",),
        "split": "tail-20",
        "head_model": "toy",
        "models": MODELS,
        "assets": ("flame.pkl", "carphone_pristine.mp4"),
        "out": results / "records.json",
    }
    return RecordOptions(**(given | changes))


def make_results(results: Path, n_frames: int = 30) -> Options:
    """Fill ``results`` and return the options of the report on it."""
    people = {
        name: make_toy_subject(results / name, n_frames, size=64, seed=seed)
        for seed, name in enumerate(SUBJECTS)
    }
    for name, subject in people.items():
        for number, model in enumerate(MODELS):
            folder = results / name / model
            render = make_toy_render(
                subject, folder, level_shift=-8 * (2 - number), landmark_shift_px=1.0 + number
            )
            _score(subject, render)
            _other_views(render, next(other for other in SUBJECTS if other != name))
    (results / "head_models").mkdir()
    shutil.copy(people["ann"].head_model, results / "head_models/toy.h5")
    tabulate(
        TableOptions(
            scores=str(results / "{subject}/{model}/scores.h5"),
            subjects=SUBJECTS,
            models=MODELS,
            splits=("tail-20",),
            csv=results / "tables/scores.csv",
            markdown=results / "tables/scores.md",
        )
    )
    (results / "licences.md").write_text(
        "# Licences\n\n| file | licence |\n|---|---|\n| toy & co | <none> https://example.org |\n"
    )
    (results / "config.yaml").write_text(CONFIG)
    record(record_options(results))
    return Options(
        results=results,
        subjects=SUBJECTS,
        models=MODELS,
        out=results / "report/index.html",
        config=results / "config.yaml",
    )


def _score(subject: ToySubject, render: ToyRender) -> Path:
    options = ScoreOptions(
        render=render.render,
        avatar=render.avatar,
        frames=subject.frames,
        matte=subject.matte,
        landmarks=subject.landmarks,
        face_fit=subject.face_fit,
        head_model=subject.head_model,
        render_landmarks=render.landmarks,
        render_fit=render.fit,
        filmed_fit=subject.face_fit,
        out=render.folder / "scores.h5",
    )
    score(options)
    return options.out


def _other_views(render: ToyRender, driver: str) -> None:
    arrays = read_artifact(render.render, RENDER)
    write_artifact(render.folder / f"render_cross_{driver}.h5", RENDER, arrays, BY_TEST)
    arrays["driver_frame"] = np.zeros_like(arrays["driver_frame"])
    write_artifact(render.folder / "render_orbit.h5", RENDER, arrays, BY_TEST)
