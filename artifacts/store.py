"""Read and write artifacts: HDF5 files whose content is checked against an ArtifactSpec.

A file appears under its name only when it is whole: it is written as ``<name>.partial``, synced to
the disk and renamed. Equal arrays give equal bytes (no timestamps, fixed creation order).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from artifacts.errors import ArtifactError
from artifacts.provenance import decode_provenance, encode_provenance
from artifacts.schema import ArraySpec, ArtifactSpec

# Free names inside a tensor group use dots, never slashes: one flat group, no path tricks.
Arrays = Mapping[str, np.ndarray]
# What HDF5 still has to write when a disk is full: a cache of 1 MiB per dataset, and its tables.
RESERVE_BYTES = 4 << 20
# Compressed datasets are gzip's fastest. Not lzf, which h5py starts with whatever the memory holds, so that equal
# data gives one of several files. Nor is lzf better. Measured on one shared core, lzf, gzip 1 and gzip 4: mattes of 512²
# 33, 32, 30 kB and 1.2, 1.3, 2.1 ms a frame; renders of 128² 111, 99, 98 kB and 2.3, 2.7, 3.1 ms.
GZIP_LEVEL = 1


def _stored_dtype(spec: ArraySpec, array: np.ndarray) -> np.dtype[Any]:
    return array.dtype if spec.dtype == "str" else np.dtype(spec.dtype)


def _as_stored(where: str, spec: ArraySpec, value: object) -> np.ndarray:
    """``value`` as the array that goes into the file; text becomes fixed-length UTF-8 bytes."""
    array = np.asarray(value)
    if spec.dtype == "str":
        if array.dtype.kind not in "US":
            raise ArtifactError(f"{where}: dtype {array.dtype}, expected text")
        return np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
    if array.dtype != np.dtype(spec.dtype):
        raise ArtifactError(f"{where}: dtype {array.dtype}, expected {spec.dtype}")
    return array


def _check_dims(where: str, spec: ArraySpec, shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    if len(shape) != len(spec.dims):
        raise ArtifactError(f"{where}: shape {shape}, expected dims {spec.dims}")
    for size, dim in zip(shape, spec.dims, strict=True):
        want = dim if isinstance(dim, int) else sizes.setdefault(dim, size)
        if size != want:
            raise ArtifactError(f"{where}: dimension {dim!r} is {size}, expected {want}")


def _expected(spec: ArtifactSpec, minor: int) -> dict[str, ArraySpec]:
    """The datasets that a file of this minor version has."""
    return {name: array for name, array in spec.arrays.items() if array.since_minor <= minor}


def _check_names(where: str, spec: ArtifactSpec, minor: int, names: set[str]) -> None:
    expected = _expected(spec, minor).keys()
    missing, extra = expected - names, names - expected
    if missing or extra:
        raise ArtifactError(
            f"{where}: missing datasets {sorted(missing)}, unexpected datasets {sorted(extra)}"
        )


class ArtifactWriter:
    """An artifact being written; use through :func:`open_writer`."""

    def __init__(self, file: h5py.File, spec: ArtifactSpec, path: Path) -> None:
        self._file, self._spec, self._path = file, spec, path
        if spec.tensor_group:
            file.create_group(spec.tensor_group)

    def put(self, name: str, value: object, compressed: bool = False) -> None:
        """Write the whole dataset ``name``.

        Raises:
            ArtifactError: unknown name, or another dtype or number of dimensions than declared.
        """
        spec = self._array_spec(name)
        array = _as_stored(f"{self._path}/{name}", spec, value)
        compression = GZIP_LEVEL if compressed and array.ndim and array.size else None
        self._describe(
            self._file.create_dataset(name, data=array, track_times=False, compression=compression),
            spec,
        )

    def append(self, name: str, rows: np.ndarray, compressed: bool = False) -> None:
        """Append ``rows`` along the first dimension of ``name``; a chunk is one row, so that one row is read fast.

        Raises:
            ArtifactError: unknown name, or another dtype or shape than declared.
        """
        spec = self._array_spec(name)
        rows = _as_stored(f"{self._path}/{name}", spec, rows)
        if name not in self._file:
            dataset = self._file.create_dataset(
                name,
                shape=(0, *rows.shape[1:]),
                maxshape=(None, *rows.shape[1:]),
                chunks=(1, *rows.shape[1:]),
                dtype=rows.dtype,
                compression=GZIP_LEVEL if compressed else None,
                track_times=False,
            )
            self._describe(dataset, spec)
        dataset = _dataset(self._file, name, self._path)
        start = dataset.shape[0]
        dataset.resize(start + rows.shape[0], axis=0)
        dataset[start:] = rows
        # Written now, while the handle is open: an error while h5py forgets the handle would be lost.
        dataset.flush()

    def put_tensors(self, tensors: Arrays) -> None:
        """Write the freely named arrays of the kind's tensor group.

        Raises:
            ArtifactError: the kind has no tensor group, or a name holds a slash.
        """
        if not self._spec.tensor_group:
            raise ArtifactError(f"{self._path}: kind {self._spec.kind!r} holds no state tensors")
        group = _group(self._file, self._spec.tensor_group, self._path)
        for name in sorted(tensors):
            if "/" in name:
                raise ArtifactError(f"{self._path}: tensor name {name!r} holds a slash")
            group.create_dataset(name, data=tensors[name], track_times=False)

    def _array_spec(self, name: str) -> ArraySpec:
        if name not in self._spec.arrays:
            raise ArtifactError(f"{self._path}: kind {self._spec.kind!r} has no dataset {name!r}")
        return self._spec.arrays[name]

    @staticmethod
    def _describe(dataset: h5py.Dataset, spec: ArraySpec) -> None:
        dataset.attrs["dims"] = [str(dim) for dim in spec.dims]
        dataset.attrs["unit"] = spec.unit
        dataset.attrs["doc"] = spec.doc


@contextmanager
def open_writer(
    path: Path, spec: ArtifactSpec, provenance: Mapping[str, object]
) -> Iterator[ArtifactWriter]:
    """Write an artifact in pieces; ``path`` exists only once the block has ended without an error.

    Raises:
        ArtifactError: what was written does not fit ``spec``.
        OSError: the disk is full or the folder is not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    reserve = path.with_name(path.name + ".reserve.partial")
    partial.unlink(missing_ok=True)
    try:
        reserve.write_bytes(b"\1" * RESERVE_BYTES)
        with h5py.File(partial, "w", track_order=False) as file:
            file.attrs["artifact_kind"] = spec.kind
            file.attrs["artifact_version"] = "{}.{}".format(*spec.version)
            file.attrs["provenance_json"] = encode_provenance(provenance)
            try:
                yield ArtifactWriter(file, spec, path)
                _check_file(file, spec, spec.version[1], path)
                file.flush()
            except BaseException as error:
                _give_back_space(partial, reserve)
                full = isinstance(error, OSError | RuntimeError)
                if full and os.strerror(errno.ENOSPC) in str(error):
                    # h5py's own message has several lines, and no errno for a failed flush.
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
                raise
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        reserve.unlink(missing_ok=True)


def _give_back_space(partial: Path, reserve: Path) -> None:
    """Make room on a full disk: HDF5 crashes the process where it cannot write its caches while closing."""
    reserve.unlink(missing_ok=True)
    os.truncate(partial, 0)


def write_artifact(
    path: Path,
    spec: ArtifactSpec,
    arrays: Mapping[str, object],
    provenance: Mapping[str, object],
    tensors: Arrays | None = None,
) -> None:
    """Write a whole artifact at once: a reader sees the whole file or no file.

    Raises:
        ArtifactError: an array does not fit ``spec``.
        OSError: the disk is full or the folder is not writable.
    """
    _check_names(str(path), spec, spec.version[1], set(arrays))
    with open_writer(path, spec, provenance) as writer:
        for name in spec.arrays:
            writer.put(name, arrays[name])
        if tensors is not None:
            writer.put_tensors(tensors)


def _dataset(parent: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    node = parent[name]
    if not isinstance(node, h5py.Dataset):
        raise ArtifactError(f"{path}/{name}: is no dataset; delete the file and run again")
    return node


def _group(file: h5py.File, name: str, path: Path) -> h5py.Group:
    node = file.get(name)
    if not isinstance(node, h5py.Group):
        raise ArtifactError(f"{path}/{name}: there is no such group; delete the file and run again")
    return node


def _check_file(file: h5py.File, spec: ArtifactSpec, minor: int, path: Path) -> dict[str, int]:
    """Check all datasets; the length of every named dimension."""
    names = set(file.keys())
    if spec.tensor_group:
        names -= {spec.tensor_group}
    _check_names(str(path), spec, minor, names)
    sizes: dict[str, int] = {}
    for name, array_spec in _expected(spec, minor).items():
        dataset, where = _dataset(file, name, path), f"{path}/{name}"
        if array_spec.dtype == "str":
            if dataset.dtype.kind != "S":
                raise ArtifactError(f"{where}: dtype {dataset.dtype}, expected text")
        elif dataset.dtype != np.dtype(array_spec.dtype):
            raise ArtifactError(f"{where}: dtype {dataset.dtype}, expected {array_spec.dtype}")
        _check_dims(where, array_spec, dataset.shape, sizes)
    return sizes


def _check_header(file: h5py.File, spec: ArtifactSpec, path: Path) -> int:
    """Check kind and version; the file's minor version."""
    kind = file.attrs.get("artifact_kind")
    if kind != spec.kind:
        raise ArtifactError(f"{path}: holds artifact kind {kind!r}, expected {spec.kind!r}")
    major, minor = map(int, str(file.attrs["artifact_version"]).split("."))
    if major != spec.version[0] or minor > spec.version[1]:
        reads = f"{spec.version[0]}.0 to {spec.version[0]}.{spec.version[1]}"
        raise ArtifactError(
            f"{path}: {kind} version {major}.{minor}, but this code reads {reads}; "
            "update likeness or delete the file so that it is made again"
        )
    return minor


@dataclass(frozen=True)
class ArtifactReader:
    """An open, checked artifact whose arrays are read on demand; use through :func:`open_artifact`.

    Datasets that are newer than the file read as zeros; a dimension that only they have has no length.
    """

    file: h5py.File
    spec: ArtifactSpec
    path: Path
    sizes: Mapping[str, int]

    @property
    def provenance(self) -> dict[str, Any]:
        """What :func:`artifacts.provenance.make_provenance` recorded."""
        return decode_provenance(str(self.file.attrs["provenance_json"]))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the dataset ``name``, without reading it."""
        if self._is_newer(name):
            dims = self.spec.arrays[name].dims
            return tuple(dim if isinstance(dim, int) else self.sizes.get(dim, 0) for dim in dims)
        return tuple(_dataset(self.file, name, self.path).shape)

    def read(self, name: str, rows: Any = ()) -> np.ndarray:  # noqa: ANN401 - h5py's selections have no type
        """The dataset ``name``, or the part that the h5py selection ``rows`` names (a slice, a sorted index list).

        Raises:
            ArtifactError: the bytes cannot be read (a damaged file).
        """
        dtype = self.spec.arrays[name].dtype
        if self._is_newer(name):
            return np.zeros(self.shape(name), "U1" if dtype == "str" else dtype)[rows]
        try:
            value = _dataset(self.file, name, self.path)[rows]
        except OSError as error:
            raise ArtifactError(
                f"{self.path}/{name}: cannot be read ({error}); delete the file and run again"
            ) from error
        if dtype == "str":
            return np.char.decode(np.asarray(value), "utf-8")
        return np.asarray(value)

    def _is_newer(self, name: str) -> bool:
        return name in self.spec.arrays and name not in self.file

    def tensors(self) -> dict[str, np.ndarray]:
        """All arrays of the kind's tensor group, by name.

        Raises:
            ArtifactError: the kind has no tensor group, or the bytes cannot be read (a damaged file).
        """
        if self.spec.tensor_group is None:
            raise ArtifactError(f"{self.path}: kind {self.spec.kind!r} holds no state tensors")
        group = _group(self.file, self.spec.tensor_group, self.path)
        try:
            return {
                name: np.asarray(_dataset(group, name, self.path)[()]) for name in map(str, group)
            }
        except OSError as error:
            raise ArtifactError(
                f"{self.path}: cannot be read ({error}); delete the file and run again"
            ) from error


@contextmanager
def open_artifact(path: Path, *specs: ArtifactSpec) -> Iterator[ArtifactReader]:
    """Open ``path`` for reading after checking kind, version, names, dtypes and dimensions.

    Args:
        path: The file.
        specs: The kinds that are accepted (usually one); the reader's ``spec`` says which it is.

    Raises:
        ArtifactError: missing or damaged file, wrong kind, other major or newer minor version, or
            datasets that do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file; run the step that makes it")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ArtifactError(
            f"{path}: not a readable HDF5 file (truncated or damaged: {error}); delete it and run again"
        ) from error
    with file:
        kind = file.attrs.get("artifact_kind")
        spec = next((s for s in specs if s.kind == kind), specs[0])
        minor = _check_header(file, spec, path)
        sizes = _check_file(file, spec, minor, path)
        yield ArtifactReader(file, spec, path, sizes)


def read_artifact(path: Path, spec: ArtifactSpec) -> dict[str, np.ndarray]:
    """Every dataset of ``path`` in memory (not the tensor group); checks as :func:`open_artifact`."""
    with open_artifact(path, spec) as reader:
        return {name: reader.read(name) for name in spec.arrays}


def read_provenance(path: Path) -> dict[str, Any]:
    """Provenance of an artifact of any kind.

    Raises:
        ArtifactError: the file is missing or damaged or holds no provenance.
    """
    try:
        with h5py.File(path, "r") as file:
            return decode_provenance(str(file.attrs["provenance_json"]))
    except (OSError, KeyError) as error:
        raise ArtifactError(f"{path}: not a readable artifact ({error})") from error
