"""The ffmpeg program: where it is, how it is started, and what it says when it fails."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import imageio_ffmpeg

from artifacts.errors import InputError

# Quiet, never reads the terminal; every line of its log starts with [level].
_GLOBAL = ("-hide_banner", "-nostats", "-nostdin", "-loglevel", "level+info")


def ffmpeg_program() -> str:
    """Path of the ffmpeg program: ``IMAGEIO_FFMPEG_EXE``, the one inside imageio-ffmpeg, or the system's.

    Raises:
        InputError: there is none.
    """
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise InputError(
            "no ffmpeg program was found; install the package imageio-ffmpeg or ffmpeg itself, "
            "or set IMAGEIO_FFMPEG_EXE to its path"
        ) from error


def file_url(path: Path) -> str:
    """``path`` as ffmpeg takes it literally, whatever colons or leading dashes its name holds."""
    return f"file:{path}"


def log_errors(log: str) -> list[str]:
    """The error lines of an ffmpeg log, without its prefixes and addresses."""
    errors = []
    for line in log.splitlines():
        for level in ("[error] ", "[fatal] "):
            if level in line:
                errors.append(line.split(level, 1)[1].strip())
    return errors


class FfmpegProcess:
    """A running ffmpeg whose log goes to a temporary file, so that no pipe can block it.

    Args:
        arguments: Everything after the program's name.
        stdin: ``subprocess.PIPE`` to feed it, else nothing is read.
        stdout: ``subprocess.PIPE`` to read from it, else its output is discarded.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        self._log_file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        global_arguments = [a for a in _GLOBAL if a != "-nostdin" or stdin != subprocess.PIPE]
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [ffmpeg_program(), *global_arguments, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=self._log_file,
        )

    @property
    def pid(self) -> int:
        """Process id, for measurements."""
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe that feeds ffmpeg."""
        assert self._process.stdin is not None  # noqa: S101  (a programming error, not a user's)
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe that ffmpeg writes to."""
        assert self._process.stdout is not None  # noqa: S101
        return self._process.stdout

    def log(self) -> str:
        """What ffmpeg has said so far."""
        self._log_file.seek(0)
        return self._log_file.read().decode("utf-8", "replace")

    def wait(self) -> int:
        """Close the pipes, wait for the end, and return the exit status."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # it ended first; the exit status and the log tell why
        return self._process.wait()

    def stop(self) -> None:
        """End the process if it still runs, and forget its log."""
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        self._log_file.close()


def run_ffmpeg(arguments: Sequence[str], given: bytes | None = None) -> tuple[int, bytes, str]:
    """Run ffmpeg to its end; returns exit status, standard output and log."""
    stdin: dict[str, Any] = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
    quiet = [a for a in _GLOBAL if a != "-nostdin" or given is None]
    done = subprocess.run(
        [ffmpeg_program(), *quiet, *arguments], capture_output=True, check=False, **stdin
    )
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


def raise_write_error(path: Path, log: str) -> None:
    """Turn ffmpeg's log of a failed write of ``path`` into an exception.

    Raises:
        OSError: the disk is full.
        InputError: anything else, with ffmpeg's first reason.
    """
    if os.strerror(errno.ENOSPC) in log:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    reasons = log_errors(log)
    raise InputError(
        f"{path}: ffmpeg could not write this video ({reasons[0] if reasons else 'no reason given'}); "
        "check the folder, and that your ffmpeg has the libx264 and aac encoders"
    )
