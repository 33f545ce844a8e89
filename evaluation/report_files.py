"""Where the report finds its inputs below the results folder, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import InputError
from artifacts.provenance import file_digest
from artifacts.store import read_provenance


@dataclass(frozen=True)
class ModelFiles:
    """Files of one avatar."""

    name: str
    avatar: Path
    render_self: Path
    scores: Path
    orbit: Path | None
    cross: dict[str, Path]
    """Driver to render."""
    audio: dict[str, Path]
    """Sound to render."""
    navigation: Path | None
    """Grid of the directions of the model's subspace (.png)."""


@dataclass(frozen=True)
class SubjectFiles:
    """Files of one subject and of its avatars."""

    name: str
    frames: Path
    landmarks: Path
    matte: Path
    face_fit: Path
    models: tuple[ModelFiles, ...]

    def all(self) -> list[Path]:
        """Every file, in the order of the pipeline."""
        paths = [self.frames, self.landmarks, self.matte, self.face_fit]
        for model in self.models:
            paths += [model.avatar, model.render_self, model.scores]
            paths += [model.orbit] if model.orbit else []
            paths += [*model.cross.values(), *model.audio.values()]
        return paths


def find_subject(
    results: Path, subject: str, models: tuple[str, ...], drivers: tuple[str, ...]
) -> SubjectFiles:
    """Paths of one subject's files; orbit, cross and audio renders and the grid of directions are optional.

    Args:
        results: The results folder.
        subject: Name of the subject.
        models: Names of the models to show.
        drivers: Subjects, recordings and sounds that may drive this one.

    Raises:
        InputError: a file that every report needs is missing.
    """
    folder = results / subject
    found = []
    for model in models:
        place = folder / model
        orbit = place / "render_orbit.h5"
        grid = place / "navigation.png"
        others = [name for name in drivers if name != subject]
        cross = {name: place / f"render_cross_{name}.h5" for name in others}
        audio = {name: place / f"render_audio_{name}.h5" for name in others}
        found.append(
            ModelFiles(
                name=model,
                avatar=_existing(place / "avatar.h5"),
                render_self=_existing(place / "render_self.h5"),
                scores=_existing(place / "scores.h5"),
                orbit=orbit if orbit.is_file() else None,
                cross={name: path for name, path in cross.items() if path.is_file()},
                audio={name: path for name, path in audio.items() if path.is_file()},
                navigation=grid if grid.is_file() else None,
            )
        )
    kinds = ("frames", "landmarks", "matte", "face_fit")
    return SubjectFiles(
        subject, *(_existing(folder / f"{kind}.h5") for kind in kinds), models=tuple(found)
    )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the step that makes it before the report")
    return path


def find_head_models(
    results: Path, subjects: tuple[str, ...], given: tuple[Path, ...]
) -> dict[str, Path]:
    """The head model's file of each subject: as given, or the only one below ``results/head_models``.

    Args:
        results: The results folder.
        subjects: Names.
        given: One file for each, one for all, or none.

    Raises:
        InputError: a file is missing, there are neither none, one nor as many as subjects, or none is given and there is not
            exactly one.
    """
    found = given or tuple(sorted((results / "head_models").glob("*.h5")))
    if not given and len(found) != 1:
        raise InputError(
            f"{results / 'head_models'}: {len(found)} head models; name those of the fits with --head-models"
        )
    of_each = found * len(subjects) if len(found) == 1 else found
    if len(of_each) != len(subjects):
        raise InputError(
            f"{len(found)} head models are named for {len(subjects)} subjects; name one for each, or one for all"
        )
    return {name: _existing(path) for name, path in zip(subjects, of_each, strict=True)}


@dataclass(frozen=True)
class Origin:
    """Where one file came from, as shown in the report."""

    file: str
    digest: str
    step: str
    code: str
    seed: str
    inputs: str
    options: str
    versions: dict[str, str]


def origin_of(path: Path, results: Path) -> Origin:
    """Provenance of an artifact, and the digest by which other files name it."""
    provenance = read_provenance(path)
    seed = provenance.get("seed")
    options = provenance.get("options") or {}
    inputs = provenance.get("inputs") or {}
    return Origin(
        file=path.relative_to(results).as_posix() if path.is_relative_to(results) else path.name,
        digest=file_digest(path),
        step=str(provenance.get("step", "")),
        code=str(provenance.get("code", "")),
        seed="" if seed is None else str(seed),
        inputs=", ".join(f"{name} {digest}" for name, digest in inputs.items()),
        options=", ".join(f"{name} = {value}" for name, value in options.items()),
        versions=dict(provenance.get("versions") or {}),
    )
