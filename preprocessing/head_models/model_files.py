"""Read the containers that head models are published in, as plain arrays; nothing in them is ever executed."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from artifacts.errors import InputError
from head_geometry.legacy_pickle import (
    PICKLE_ERRORS,
    read_pickle,
    read_pickled_bytes,
)

Content = dict[str, Any]
MAX_BYTES = 4 << 30
"""A model file unpacks to less; more would be a file made to fill the memory."""
_READ_ERRORS = (*PICKLE_ERRORS, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def refuse(path: Path, model: str, reason: str) -> NoReturn:
    """End with one sentence: this file is not usable as that model.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"{path}: is no usable {model} file ({reason}); get it again from where docs/head_models.md says"
    )


def read_model_file(path: Path, model: str) -> Content:
    """All arrays of a ``.pkl``, ``.npz``, ``.mat`` or ``.h5`` file by name (HDF5: by path).

    Args:
        path: The file; its first bytes decide what it is, not its name.
        model: What it should be, for the message.

    Raises:
        InputError: missing, truncated, hostile or of another kind; one sentence.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such {model} file; docs/head_models.md says where to get it"
        )
    try:
        return _read(path)
    except MatReadError as error:
        refuse(path, model, _short(error))
    except _READ_ERRORS as error:
        refuse(path, model, _short(error))


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def _read(path: Path) -> Content:
    with path.open("rb") as file:
        start = file.read(128)
    if not start:
        raise ValueError("it is empty")
    if start.startswith(b"PK\x03\x04"):
        return _read_npz(path)
    if start.startswith(b"\x89HDF"):
        return _read_hdf5(path)
    if start.startswith(b"MATLAB 5.0 MAT-file"):
        content = loadmat(path, struct_as_record=True)
        return {name: array for name, array in content.items() if not name.startswith("__")}
    with path.open("rb") as file:
        content = read_pickle(file)
    if not isinstance(content, dict):
        raise ValueError("it holds no named arrays")
    return content


def _read_npz(path: Path) -> Content:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ValueError("it unpacks to more than 4 GB")
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        return {name.removesuffix(".npy"): _read_npy(archive, name) for name in members}


def _read_npy(archive: zipfile.ZipFile, name: str) -> object:
    """One array; where NumPy would unpickle objects, the restricted reader does it."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        _, _, dtype = header(file)
        if dtype.hasobject:
            return read_pickled_bytes(file.read())
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_hdf5(path: Path) -> Content:
    content: Content = {}
    size_bytes = 0

    def visit(name: str, node: object) -> None:
        nonlocal size_bytes
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "biuf":
            size_bytes += node.nbytes
            if node.external or node.is_virtual or size_bytes > MAX_BYTES:
                raise ValueError("it refers to other files or unpacks to more than 4 GB")
            content[name] = np.asarray(node[()])

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return content


class Fields:
    """Takes named arrays out of a file's content, checked for shape and finite numbers."""

    def __init__(self, content: Mapping[str, Any], path: Path, model: str) -> None:
        """Wrap the content of ``path``, which should be a ``model``."""
        self._content, self.path, self.model = content, path, model

    def __contains__(self, name: str) -> bool:
        """Whether the file has it."""
        return name in self._content

    def refuse(self, reason: str) -> NoReturn:
        """End with one sentence about this file.

        Raises:
            InputError: always.
        """
        refuse(self.path, self.model, reason)

    def take(self, name: str, *shape: int) -> np.ndarray:
        """The array ``name``; −1 in ``shape`` stands for any length, no shape at all for any shape.

        Raises:
            InputError: missing, of another shape, no numbers, or not finite.
        """
        if name not in self._content:
            self.refuse(f"it has no array {name!r}")
        array = np.asarray(self._content[name])
        if array.dtype.kind not in "biuf" or array.size == 0:
            self.refuse(f"{name!r} holds no numbers")
        fits = len(array.shape) == len(shape) and all(
            want in (-1, got) for want, got in zip(shape, array.shape, strict=True)
        )
        if shape and not fits:
            expected = " × ".join("any" if n < 0 else str(n) for n in shape)
            self.refuse(f"{name!r} has the shape {array.shape}, expected {expected}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            self.refuse(f"{name!r} holds numbers that are not finite")
        return array

    def take_indices(self, name: str, limit: int, *shape: int, first: int = 0) -> np.ndarray:
        """Indices into ``limit`` things, from 0 (``first`` is what the file counts from).

        Raises:
            InputError: as :meth:`take`, or an index out of range.
        """
        index = self.take(name, *shape).astype(np.int64) - first
        if index.min() < 0 or index.max() >= limit:
            self.refuse(f"{name!r} points beyond the {limit} vertices")
        return index

    def take_texts(self, name: str, count: int) -> list[str]:
        """Names.

        Raises:
            InputError: missing, or another number of them.
        """
        texts = [str(text) for text in np.asarray(self._content.get(name, [])).ravel()]
        if len(texts) != count:
            self.refuse(f"{name!r} holds {len(texts)} names, expected {count}")
        return texts
