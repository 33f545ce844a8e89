"""Where an artifact came from: step, options, digests of inputs, code digest, seed, library versions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from artifacts.code_digest import code_digest
from artifacts.splits import versioned_split

# The libraries whose version can change a result.
LIBRARIES = (
    "numpy",
    "scipy",
    "h5py",
    "torch",
    "ai-edge-litert",
    "imageio-ffmpeg",
    "warp-lang",
    "anny",
    "face-alignment",
    "espeakng-loader",
)


def file_digest(path: Path) -> str:
    """SHA-256 (first 16 hex digits) of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return value.name  # folders differ between machines; the digest identifies the file
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def files_in(options: object) -> dict[str, Path]:
    """The files that an options dataclass names, but for ``out``: field name to path, of several files with their number."""
    found: dict[str, Path] = {}
    for name, value in vars(options).items():
        if isinstance(value, Path) and name != "out":
            found[name] = value
        elif isinstance(value, tuple):
            paths = (path for path in value if isinstance(path, Path))
            found |= {f"{name}{number}": path for number, path in enumerate(paths)}
    return found


def make_provenance(
    step: str, options: object, inputs: Mapping[str, Path], seed: int | None = None
) -> dict[str, Any]:
    """Provenance of one run of a step.

    Args:
        step: Module of the step, e.g. ``"preprocessing.landmarks"``.
        options: The step's options dataclass (paths are recorded by name only). Of an option ``split`` the version is
            recorded beside it.
        inputs: Input name to file; each is recorded by digest.
        seed: Random seed, where the step draws random numbers.
    """
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    made = {
        "step": step,
        "options": _plain(options),
        "inputs": {name: file_digest(path) for name, path in sorted(inputs.items())},
        "code": code_digest(step),
        "seed": seed,
        "versions": versions,
    }
    split = getattr(options, "split", None)
    return made if split is None else {**made, "split": versioned_split(split)}


def encode_provenance(provenance: Mapping[str, object]) -> str:
    """JSON text with sorted keys, so that equal provenance gives equal bytes."""
    return json.dumps(provenance, sort_keys=True)


def decode_provenance(text: str) -> dict[str, Any]:
    """The inverse of :func:`encode_provenance`."""
    return json.loads(text)
