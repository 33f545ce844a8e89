"""The folder where third-party files are kept, and how a file gets into it: checked, whole, once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from artifacts.errors import InputError

PIECE_BYTES = 1 << 20


def cache_folder() -> Path:
    """``LIKENESS_CACHE``, or ``~/.cache/likeness``."""
    given = os.environ.get("LIKENESS_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "likeness"


def has_digest(path: Path, sha256: str) -> bool:
    """Whether the file exists and its bytes have that SHA-256."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def store(pieces: Iterator[bytes], path: Path, sha256: str, size_bytes: int) -> None:
    """Write ``pieces`` to ``path``, which appears only when it is whole and has the digest.

    Raises:
        InputError: more or fewer bytes than announced, or another digest.
        OSError: the disk is full or the folder is not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name per process: two of them may bring the same file.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    digest, length = hashlib.sha256(), 0
    try:
        with partial.open("wb") as file:
            for piece in pieces:
                length += len(piece)
                if length > size_bytes:
                    break
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if length != size_bytes or digest.hexdigest() != sha256:
            more = "more than " if length > size_bytes else ""
            raise InputError(
                f"{path.name}: what arrived ({more}{min(length, size_bytes)} bytes) is not the file that "
                f"assets/registry.yaml pins ({size_bytes} bytes, SHA-256 {sha256[:12]}…); try again, and if "
                "it stays so, do not use it: it was changed at its source"
            )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def pieces_of(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """What ``read`` (the method of an open file) gives, a megabyte at a time."""
    while piece := read(PIECE_BYTES):
        yield piece


def copy_to(source: Path, path: Path, sha256: str, size_bytes: int) -> None:
    """Copy a file with the checks of :func:`store`."""
    with source.open("rb") as file:
        store(pieces_of(file.read), path, sha256, size_bytes)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; another process waits here. The system releases it when a process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file releases the lock
