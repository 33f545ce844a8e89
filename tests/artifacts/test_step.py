"""A step ends with one sentence for what a user can mend, and with a traceback for a bug."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifacts.errors import InputError
from artifacts.step import disk_error_sentence, run_step


@dataclass(frozen=True)
class Options:
    """A toy step."""

    out: Path
    """File to write."""


def run(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> list[Options]:
    seen: list[Options] = []

    def main(options: Options) -> None:
        seen.append(options)
        if error:
            raise error

    monkeypatch.setattr(sys, "argv", ["step", "--out", "a b/ü.h5"])
    run_step(Options, main)
    return seen


def test_options_come_from_the_command_line(monkeypatch: pytest.MonkeyPatch):
    assert run(monkeypatch, None) == [Options(Path("a b/ü.h5"))]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("clip.mp4: no face was found"), ["clip.mp4: no face was found"]),
        (OSError(errno.ENOSPC, "No space left on device", "a.h5"), ["disk is full", "free some"]),
        (
            OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
            ["disk is full"],
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a.h5"), ["a.h5", "Permission denied"]),
    ],
)
def test_what_a_user_can_mend_ends_in_one_sentence(monkeypatch, error: Exception, words: list[str]):
    with pytest.raises(SystemExit) as raised:
        run(monkeypatch, error)
    text = str(raised.value.code)
    assert text.startswith("error: ")
    assert "\n" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EIO, "i/o error")])
def test_a_bug_keeps_its_traceback(monkeypatch, error: Exception):
    with pytest.raises(type(error)):
        run(monkeypatch, error)


def test_tracebacks_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("LIKENESS_TRACEBACK", "1")
    with pytest.raises(InputError):
        run(monkeypatch, InputError("clip.mp4: no face was found"))


def test_other_system_errors_have_no_sentence():
    assert disk_error_sentence(OSError(errno.EIO, "i/o error")) is None
