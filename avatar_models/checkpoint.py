"""Checkpoints of a training: whole or absent, never unpickled beyond tensors, used only where they belong."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import torch

LOGGER = logging.getLogger(__name__)


class CheckpointFile:
    """The checkpoint beside an avatar file.

    Args:
        path: Where it is kept.
        key: Names everything that the training depends on (options, code, inputs); a checkpoint with another
            key is not used.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = Path(path), key

    def save(self, state: dict[str, Any]) -> None:
        """Write ``state`` (tensors, numbers, text, and lists and dicts of them) in one stroke.

        Raises:
            OSError: the disk is full or the folder is not writable.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            with partial.open("wb") as file:
                _save({"key": self.key, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last state, or None (and a line in the log) where there is none that fits."""
        if not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, map_location=device, weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            first_line = str(error).strip().partition("\n")[0]
            LOGGER.warning("%s: damaged (%s); training starts afresh", self.path, first_line)
            return None
        if not isinstance(state, dict) or state.get("key") != self.key:
            LOGGER.warning(
                "%s: of other options, code or inputs; training starts afresh", self.path
            )
            return None
        return state

    def remove(self) -> None:
        """Delete the checkpoint, if there is one."""
        self.path.unlink(missing_ok=True)


class _Recorder:
    """A file that remembers why a write failed: torch.save turns that into an error about positions."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    recorder = _Recorder(file)
    try:
        torch.save(state, recorder)  # type: ignore[arg-type]
    except RuntimeError as error:
        if recorder.error is not None:
            raise recorder.error from error
        raise
