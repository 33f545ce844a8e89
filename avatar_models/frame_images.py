"""Pictures of a clip's frames: read one by one from an artifact, and kept in a bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import cast

import h5py
import numpy as np
import torch
from torch import Tensor

from artifacts.errors import InputError
from artifacts.schema import ArtifactSpec
from artifacts.store import open_artifact


class FrameImages:
    """One dataset of an artifact that has a picture or a mask for every frame of a clip.

    Attributes:
        path: The artifact.
        n_frames: Frames in the clip.
        image_size: Width, height of the stored pictures, pixels.
    """

    def __init__(self, path: Path, spec: ArtifactSpec, name: str) -> None:
        """Check the file, without reading a picture.

        Raises:
            InputError: it is missing, damaged or of another kind.
        """
        with open_artifact(path, spec) as reader:
            self.n_frames, height, width = reader.shape(name)[:3]
        self.path, self.image_size = path, (width, height)
        self._name = name
        self._file: h5py.File | None = None

    def read(self, frame: int) -> Tensor:
        """The picture of one frame as it is stored, (height, width, channel) uint8 on the CPU.

        Raises:
            InputError: its bytes cannot be read.
        """
        if self._file is None:
            self._file = h5py.File(self.path, "r")
        try:
            stored = np.asarray(cast(h5py.Dataset, self._file[self._name])[frame])
        except OSError as error:
            raise InputError(
                f"{self.path}/{self._name}: frame {frame} cannot be read ({error}); "
                "delete the file and run again"
            ) from error
        return torch.from_numpy(stored if stored.ndim == 3 else stored[..., None])


class ImageCache:
    """Tensors by key; what was used longest ago is dropped when all take more than a limit. Threads may share it."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._lock = threading.Lock()
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of ``key``, made where it is not at hand."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        value = make()
        with self._lock:
            # Two threads may have made the same.
            if key not in self._entries:
                self._entries[key] = value
                self.used_bytes += value.nbytes
            while self.used_bytes > self._limit_bytes and len(self._entries) > 1:
                self.used_bytes -= self._entries.popitem(last=False)[1].nbytes
        return value
