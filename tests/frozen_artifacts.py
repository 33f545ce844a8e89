"""Make one small artifact of every kind at version 1.0, from a fixed seed.

Runs once when a kind becomes 1.0: ``python tests/frozen_artifacts.py``. The files are committed
and are not made again; later versions of the project must go on reading them.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from artifacts.kinds import KINDS
from artifacts.schema import ArraySpec, ArtifactSpec
from artifacts.store import write_artifact

FOLDER = Path(__file__).parent / "data/frozen_v1_0"
FROZEN_VERSION = (1, 0)
TENSORS = {"layer.0.weight": (3, 2), "layer.0.bias": (3,), "scale": ()}


def _first(spec: ArtifactSpec) -> dict[str, ArraySpec]:
    """The datasets that version 1.0 had."""
    return {name: array for name, array in spec.arrays.items() if not array.since_minor}


def _length(spec: ArtifactSpec, dim: str) -> int:
    """A length of its own for every dimension, so that exchanged dimensions are noticed."""
    dims = sorted({d for array in _first(spec).values() for d in array.dims if isinstance(d, str)})
    return 2 + dims.index(dim)


def _values(array: ArraySpec, shape: tuple[int, ...], seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if array.dtype == "str":
        numbers = generator.integers(0, 1000, shape)
        return np.char.add("ñ", np.asarray(numbers).astype(str))
    if array.dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool).reshape(shape)
    if np.dtype(array.dtype).kind in "iu":
        return np.asarray(generator.integers(0, 100, shape), array.dtype)
    return np.asarray(generator.normal(size=shape), array.dtype)


def frozen_arrays(spec: ArtifactSpec) -> dict[str, np.ndarray]:
    """The arrays of the frozen artifact of one kind."""
    arrays = {}
    for name, array in _first(spec).items():
        shape = tuple(d if isinstance(d, int) else _length(spec, d) for d in array.dims)
        arrays[name] = _values(array, shape, zlib.crc32(f"{spec.kind}/{name}".encode()))
    return arrays


def frozen_tensors(spec: ArtifactSpec) -> dict[str, np.ndarray] | None:
    """The state tensors of the frozen artifact of one kind, where it has any."""
    if spec.tensor_group is None:
        return None
    number = ArraySpec("float32", (), "1", "State.")
    return {
        name: _values(number, shape, zlib.crc32(name.encode())) for name, shape in TENSORS.items()
    }


def main() -> None:
    """Write every kind that has no file yet."""
    for spec in KINDS.values():
        if (FOLDER / f"{spec.kind}.h5").exists():
            continue
        if spec.version != FROZEN_VERSION:
            raise SystemExit(f"{spec.kind} is no longer at version 1.0; keep the committed file")
        write_artifact(
            FOLDER / f"{spec.kind}.h5",
            spec,
            frozen_arrays(spec),
            {"step": "tests.frozen_artifacts"},
            frozen_tensors(spec),
        )


if __name__ == "__main__":
    main()
