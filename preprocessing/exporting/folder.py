"""The folder that an export writes: whole or not at all, pictures on several threads."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Integer
from PIL import Image

from artifacts.errors import InputError

# The fastest setting of the PNG encoder: files grow by a tenth, writing takes a quarter of the time.
PNG_LEVEL = 1
# Pictures that wait for a thread: enough to keep it busy, few enough to forget.
PENDING_PER_THREAD = 4


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which appears under its name when it is whole.

    Raises:
        InputError: there is something at ``path`` already.
        OSError: the disk is full or the folder is not writable.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(f"{path}: is not an empty folder; give a new one, or delete what is there")
    partial = path.with_name(path.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


class PictureWriter:
    """Encodes PNG files on several threads; leaving the ``with`` block waits for all of them."""

    def __init__(self, threads: int) -> None:
        """Start the threads.

        Args:
            threads: Pictures encoded at a time.
        """
        self._pool = ThreadPoolExecutor(threads)
        self._pending: deque[Future[None]] = deque()
        self._most = PENDING_PER_THREAD * threads

    def __enter__(self) -> PictureWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            for done in self._pending:
                done.result()

    def write(self, path: Path, picture: Integer[np.ndarray, "height width *channel"]) -> None:
        """Write 8-bit grey, RGB or RGBA, or 16-bit grey, according to dtype and shape.

        Raises:
            OSError: this or an earlier picture could not be written.
        """
        while len(self._pending) >= self._most:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(_encode, path, picture))


def _encode(path: Path, picture: Integer[np.ndarray, "height width *channel"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, format="PNG", compress_level=PNG_LEVEL)
