"""Audio features that were made elsewhere: ``aud.npy`` of AD-NeRF, or wav2vec 2.0, HuBERT and others as .npy or HDF5."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32, Float64

from artifacts.errors import InputError
from preprocessing.audio_feature_kinds import WINDOW_FRAMES, FeatureTrack
from preprocessing.sound.windows import FeatureWindows, linear_windows

LOGGER = logging.getLogger(__name__)

# A file that is longer or shorter than the clip by no more than this is cut or filled up; by more, it belongs to another clip.
MAX_DIFFERENCE_S = 0.2
DATASET = "feature"
LAYOUTS = f"(frame, {WINDOW_FRAMES}, channel), or (step, channel) with a rate"


@contextmanager
def open_array(path: Path) -> Iterator[Any]:
    """An array on the disk that is read by slices: a ``.npy`` file, or the dataset ``feature`` (or the only one) of an HDF5 file.

    Raises:
        InputError: the file is missing, damaged, neither of the two, or holds no array of numbers.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; give the path of ready audio features (.npy or HDF5)"
        )
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            yield _numeric(path, _dataset(path, file))
        return
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as audio features ({error}); give a .npy file of plain numbers or an HDF5 file"
        ) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(
            f"{path}: is an archive of several arrays; save the features alone as .npy"
        )
    yield _numeric(path, array)


def _dataset(path: Path, file: h5py.File) -> h5py.Dataset:
    datasets = {name: node for name, node in file.items() if isinstance(node, h5py.Dataset)}
    chosen = datasets.get(DATASET)
    if chosen is None and len(datasets) == 1:
        chosen = next(iter(datasets.values()))
    if chosen is None:
        names = ", ".join(datasets) or "none"
        raise InputError(
            f"{path}: has no dataset {DATASET!r} (its datasets: {names}); name the features so"
        )
    return chosen


def _numeric(path: Path, array: Any) -> Any:  # noqa: ANN401  (NumPy's or h5py's array)
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: holds values of type {array.dtype}, expected numbers; save the features as float32"
        )
    return array


def _checked(path: Path, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(
            f"{path}: holds values that are not finite; make the features again and look at the sound"
        )
    return values


def _check_length(path: Path, found: int, wanted: int, rate_hz: float, what: str) -> None:
    """Say small differences, refuse large ones."""
    difference_s = abs(found - wanted) / rate_hz
    if difference_s > MAX_DIFFERENCE_S:
        raise InputError(
            f"{path}: has {found} {what}, but the clip has {wanted} ({difference_s:.2f} s of difference); "
            "make the features from the sound of this clip, at its frame rate"
        )
    if found != wanted:
        LOGGER.warning(
            "%s: has %d %s, the clip %d: %s",
            *(path, found, what, wanted),
            "the rest is left out" if found > wanted else "what is missing is filled up",
        )


@contextmanager
def open_windows(
    path: Path,
    time_s: Float64[np.ndarray, " frame"],
    frame_rate_hz: float,
    file_rate_hz: float = 0.0,
    window_rate_hz: float = 0.0,
) -> Iterator[FeatureWindows]:
    """Windows of every frame of a clip from a ready file.

    Args:
        path: Features (frame, 16, channel), taken as they are; or (step, channel), from which windows are cut.
        time_s: Times of the clip's frames.
        frame_rate_hz: Frames per second of the clip.
        file_rate_hz: Steps per second of a (step, channel) file; step i belongs to second i / rate.
        window_rate_hz: Vectors per second inside a window cut here; 0 is the video's rate.

    Raises:
        InputError: another layout, or a length that is not the clip's.
    """
    with open_array(path) as array:
        if array.ndim == 3 and array.shape[1] == WINDOW_FRAMES and array.shape[2] > 0:
            _check_length(path, len(array), len(time_s), frame_rate_hz, "frames")
            yield _ready_windows(path, array, len(time_s))
        elif array.ndim == 2 and file_rate_hz > 0 and array.shape[1] > 0:
            end_s = len(time_s) / frame_rate_hz
            _check_length(path, len(array), round(end_s * file_rate_hz), file_rate_hz, "steps")
            track = FeatureTrack(_checked(path, array[:]), file_rate_hz, 0.0)
            yield linear_windows(track, time_s, window_rate_hz or frame_rate_hz, end_s)
        elif array.ndim == 2:
            raise InputError(
                f"{path}: holds {array.shape[0]} steps of {array.shape[1]} values; say how many steps a second it has "
                "(file_rate_hz; 50 for wav2vec 2.0 and HuBERT)"
            )
        else:
            raise InputError(
                f"{path}: has the shape {tuple(array.shape)}, expected {LAYOUTS}; save the features so"
            )


def _ready_windows(path: Path, array: Any, n_frames: int) -> FeatureWindows:  # noqa: ANN401
    channels = int(array.shape[2])
    valid = np.arange(n_frames) < len(array)

    def read(first: int, last: int) -> Float32[np.ndarray, "frame 16 channel"]:
        piece = _checked(path, array[first : min(last, len(array))])
        return np.pad(piece, ((0, last - first - len(piece)), (0, 0), (0, 0)))

    return FeatureWindows(channels, valid, read)
