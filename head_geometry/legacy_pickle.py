"""Read arrays out of a pickle without running anything that the file names.

The published FLAME files are pickles of NumPy arrays, ``chumpy`` arrays and one SciPy matrix, most of them written
by Python 2; published generators are pickles of networks (:mod:`avatar_models.triplane.published`). No class or function that a pickle asks for is ever imported: a fixed list of names is stood in for by
classes of this module, which only keep what they are given, and every other name is refused. The arrays are built
afterwards, from plain bytes whose length is checked.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

PICKLE_ERRORS = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError),
    *(AttributeError, OverflowError, MemoryError, RecursionError, ImportError, struct.error),
)
"""What a pickle that is truncated, hostile or of another kind can raise here; all of it means: not usable."""
_CODE = re.compile(r"[<>|=]?([biuf])([1248])")
_MAX_ELEMENTS = 1 << 31
_MAX_DEPTH = 30


class Keeper:
    """Stands in for an object of the file: keeps its state, does nothing."""

    __slots__ = ("state",)

    def __init__(self, *_arguments: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Array(Keeper):
    __slots__ = ()


class _Chumpy(Keeper):
    __slots__ = ()


class _Csc(Keeper):
    __slots__ = ()


class _Csr(Keeper):
    __slots__ = ()


class _Object(Keeper):
    __slots__ = ()


class _Dtype(Keeper):
    """A NumPy dtype: its code, and its byte order in the state."""

    __slots__ = ("code",)

    def __init__(self, code: object = "", *_flags: object) -> None:
        super().__init__()
        self.code = _text(code)

    def numpy(self) -> np.dtype[Any]:
        """The dtype; only plain numbers are known."""
        match = _CODE.fullmatch(self.code)
        if match is None:
            raise pickle.UnpicklingError(f"arrays of dtype {self.code!r} are not read")
        order = (
            _text(self.state[1]) if isinstance(self.state, tuple) and len(self.state) > 1 else ""
        )
        if order in ("<", ">"):
            return np.dtype(order + match[1] + match[2])
        return np.dtype(self.code)


class Function:
    """Stands in for a function of the file's; a state given to it is refused, so nothing can change it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call

    def __call__(self, *arguments: object) -> object:
        """What the stand-in makes of the file's arguments."""
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a function is given a state")


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _make(cls: object = None, *arguments: object) -> Keeper:
    if not (isinstance(cls, type) and issubclass(cls, Keeper)):
        raise pickle.UnpicklingError("an object of an unknown class is made")
    return cls(*arguments)


def _rebuilt_object(cls: object = None, _base: object = None, _state: object = None) -> Keeper:
    return _make(cls)


def _rebuilt_array(_type: object = None, _shape: object = None, _code: object = None) -> _Array:
    return _Array()


def _encoded(text: object = "", encoding: object = "") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("text is encoded in an unknown way")
    return text.encode("latin1")


def _from_buffer(data: object, dtype: object, shape: object, order: object = "C") -> _Array:
    array = _Array()
    array.state = (1, shape, dtype, order == "F", data)
    return array


def _scalar(dtype: object = None, data: object = b"") -> object:
    return _numbers((), dtype, False, data)[()]


_NUMPY_CORE = ("numpy.core.", "numpy._core.")
KNOWN_NAMES: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("copy_reg", "_reconstructor"): _rebuilt_object,
    ("copyreg", "_reconstructor"): _rebuilt_object,
    ("copyreg", "__newobj__"): _make,
    ("copy_reg", "__newobj__"): _make,
    ("__builtin__", "object"): _Object,
    ("builtins", "object"): _Object,
    ("_codecs", "encode"): _encoded,
    **{(f"{core}multiarray", "_reconstruct"): _rebuilt_array for core in _NUMPY_CORE},
    **{(f"{core}multiarray", "scalar"): _scalar for core in _NUMPY_CORE},
    **{(f"{core}numeric", "_frombuffer"): _from_buffer for core in _NUMPY_CORE},
    **{(f"scipy.sparse.{place}", "csc_matrix"): _Csc for place in ("csc", "_csc")},
    **{(f"scipy.sparse.{place}", "csr_matrix"): _Csr for place in ("csr", "_csr")},
    ("scipy.sparse", "csc_matrix"): _Csc,
    ("scipy.sparse", "csr_matrix"): _Csr,
    **{("chumpy.ch", name): _Chumpy for name in ("Ch", "ChHandle")},
    ("chumpy", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _Chumpy,
}


class RestrictedUnpickler(pickle.Unpickler):
    """Gives stand-ins for the few names that model files use, and refuses all others.

    Other kinds of files extend :meth:`stand_in`.
    """

    def stand_in(self, module: str, name: str) -> object:
        """The class or :class:`Function` that stands in for a name; None to refuse it."""
        known = KNOWN_NAMES.get((module, name))
        return known if known is None or isinstance(known, type) else Function(known)  # type: ignore[arg-type]

    def find_class(self, module: str, name: str) -> object:
        """The stand-in; called for every name in the file."""
        known = self.stand_in(module, name)
        if known is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known

    def persistent_load(self, pid: object) -> object:
        """Refuses."""
        raise pickle.UnpicklingError("it refers to objects outside of itself")


def read_pickle(file: io.BufferedIOBase) -> object:
    """The content of a pickle, with NumPy arrays for all arrays in it (also those of chumpy and SciPy).

    Raises:
        Exception: one of :data:`PICKLE_ERRORS`: the pickle is truncated, asks for a name that is not on the list,
            or holds something else than numbers, texts, arrays, lists and dictionaries.
    """
    return _Unfolding().plain(RestrictedUnpickler(file, encoding="latin1").load(), 0)


def read_pickled_bytes(data: bytes) -> object:
    """The same of a pickle in memory."""
    return read_pickle(io.BytesIO(data))


class _Unfolding:
    """Replaces every stand-in by the array it stands for; what is referred to many times is made once."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}

    def plain(self, value: object, depth: int) -> Any:  # noqa: ANN401 - whatever the file holds
        """``value`` without stand-ins."""
        if depth > _MAX_DEPTH:
            raise pickle.UnpicklingError("it is nested too deep")
        if value is None or isinstance(value, bool | int | float | str | bytes | np.generic):
            return value
        if id(value) not in self._done:
            # The value itself is kept too, so that its id stays its own.
            self._done[id(value)] = (self._unfold(value, depth + 1), value)
        return self._done[id(value)][0]

    def _unfold(self, value: object, depth: int) -> Any:  # noqa: ANN401
        if isinstance(value, dict):
            return {_text(key): self.plain(entry, depth) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(entry, depth) for entry in value]
        if isinstance(value, _Array):
            return self._array(value, depth)
        if isinstance(value, _Chumpy):
            return self._chumpy(value, depth)
        if isinstance(value, _Csc | _Csr):
            return self._sparse(value, depth)
        raise pickle.UnpicklingError("it holds objects of another kind than arrays")

    def _array(self, value: _Array, depth: int) -> Any:  # noqa: ANN401 - or what an array of one object holds
        if not (isinstance(value.state, tuple) and len(value.state) == 5):
            raise pickle.UnpicklingError("it holds an array without content")
        _, shape, dtype, is_fortran, data = value.state
        if isinstance(dtype, _Dtype) and dtype.code in ("O", "O8", "O4", "|O"):
            if not (isinstance(data, list) and len(data) == 1):
                raise pickle.UnpicklingError("it holds an array of several objects")
            return self.plain(data[0], depth)
        return _numbers(shape, dtype, bool(is_fortran), data)

    def _chumpy(self, value: _Chumpy, depth: int) -> np.ndarray:
        """Chumpy keeps a plain array as ``x``; a selection as its source ``a`` and flat indices ``idxs``."""
        state = value.state
        if isinstance(state, dict) and "x" in state:
            return np.asarray(self.plain(state["x"], depth))
        if isinstance(state, dict) and {"a", "idxs"} <= state.keys():
            source = np.asarray(self.plain(state["a"], depth)).ravel()
            chosen = source[np.asarray(self.plain(state["idxs"], depth), np.int64)]
            shape = state.get("preferred_shape")
            return chosen if shape is None else chosen.reshape(tuple(self.plain(shape, depth)))
        raise pickle.UnpicklingError("it holds a chumpy expression that is no plain array")

    def _sparse(self, value: Keeper, depth: int) -> np.ndarray:
        """The dense array of a compressed sparse matrix, whose indices are checked first."""
        if not isinstance(value.state, dict):
            raise pickle.UnpicklingError("it holds a sparse matrix without content")
        state = {_text(key).lstrip("_"): entry for key, entry in value.state.items()}
        names = ("data", "indices", "indptr")
        parts = tuple(np.asarray(self.plain(state[name], depth)) for name in names)
        rows, columns = (int(n) for n in self.plain(state["shape"], depth))
        if min(rows, columns) < 0 or rows * columns > _MAX_ELEMENTS // 8:
            raise pickle.UnpicklingError("it holds a sparse matrix of an impossible shape")
        kind = csc_matrix if isinstance(value, _Csc) else csr_matrix
        matrix = kind(parts, shape=(rows, columns))
        matrix.check_format(full_check=True)
        return matrix.toarray()


def _numbers(shape: object, dtype: object, is_fortran: bool, data: object) -> np.ndarray:
    if isinstance(data, str):  # bytes of Python 2
        data = data.encode("latin1")
    if not (isinstance(dtype, _Dtype) and isinstance(data, bytes | bytearray)):
        raise pickle.UnpicklingError("it holds an array without numbers")
    if not (isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)):
        raise pickle.UnpicklingError("it holds an array of an impossible shape")
    kind, count, raw = dtype.numpy(), math.prod(shape), bytes(data)
    if count > _MAX_ELEMENTS or count * kind.itemsize != len(raw):
        raise pickle.UnpicklingError("an array's length does not fit its shape")
    flat = np.frombuffer(raw, kind)
    ordered = flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)
    return ordered.astype(kind.newbyteorder("="))
