"""Where the report finds its inputs below the results folder, and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from artifacts.errors import InputError
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


def files_of_subject(results: Path, subject: str, models: Iterable[str]) -> list[Path]:
    """Every artifact of a subject and of its avatars that is there: of the clip, of each model, the truth of a made-up one."""
    places = [f"{subject}/*.h5", f"synthetic/{subject}.h5"]
    for model in models:
        places += [f"{subject}/{model}/*.h5", f"{subject}/{model}/cross/*/*.h5"]
    return [path for place in places for path in sorted(results.glob(place))]


def files_of_all(results: Path, drivers: Iterable[str]) -> list[Path]:
    """The artifacts that belong to no single subject and are there: head models, and the recordings named."""
    places = ["head_models/*.h5", *(f"drivers/{name}/*.h5" for name in drivers)]
    return [path for place in places for path in sorted(results.glob(place))]


@dataclass(frozen=True)
class Origin:
    """Where one artifact came from.

    Attributes:
        file: Its path below the results folder.
        sha256: Digest of its bytes, 64 hex digits.
        kind: Kind of artifact.
        version: Version of that kind, major.minor.
        step: Module that made it.
        code: Digest of that module and all it imports.
        seed: None for a step that draws no random numbers.
        options: The step's options; paths by name only.
        inputs: What it was made from, name to the first 16 hex digits of the SHA-256.
        versions: Library to version.
    """

    file: str
    sha256: str
    kind: str
    version: str
    step: str
    code: str
    seed: int | None
    options: dict[str, Any]
    inputs: dict[str, str]
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """The digest by which other files name this one."""
        return self.sha256[:16]


def origin_of(path: Path, results: Path) -> Origin:
    """Provenance of an artifact, and what it is.

    Raises:
        ArtifactError: the file is missing or damaged or holds no provenance.
    """
    provenance = read_provenance(path)
    with h5py.File(path, "r") as file:
        kind, version = (str(file.attrs[f"artifact_{name}"]) for name in ("kind", "version"))
    return Origin(
        file=path.relative_to(results).as_posix() if path.is_relative_to(results) else path.name,
        sha256=sha256_of(path),
        kind=kind,
        version=version,
        step=str(provenance.get("step", "")),
        code=str(provenance.get("code", "")),
        seed=provenance.get("seed"),
        options=dict(provenance.get("options") or {}),
        inputs=dict(provenance.get("inputs") or {}),
        versions=dict(provenance.get("versions") or {}),
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, all 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
