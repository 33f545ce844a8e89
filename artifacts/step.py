"""How a step runs from the command line: options in, one sentence out when something is wrong."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from artifacts.errors import InputError

Options = TypeVar("Options")


def run_step(options_class: type[Options], main: Callable[[Options], None]) -> None:
    """Parse ``options_class`` from ``sys.argv`` (tyro) and call ``main``.

    An :class:`InputError`, a full disk or an unwritable folder ends the process with exit status 1 and
    one sentence on stderr; any other exception is a bug and keeps its traceback.
    ``LIKENESS_TRACEBACK=1`` keeps every traceback.
    """
    import tyro

    options = tyro.cli(options_class)
    if os.environ.get("LIKENESS_TRACEBACK") == "1":
        main(options)
        return
    try:
        main(options)
    except InputError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        # Whoever reads the output (head, less) has seen enough; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sentence = disk_error_sentence(error)
        if sentence is None:
            raise
        sys.exit(f"error: {sentence}")


def disk_error_sentence(error: OSError) -> str | None:
    """One sentence for an operating-system error that the user can mend; None for any other."""
    # HDF5 reports the errno of its own write inside the message and leaves ``errno`` unset.
    full = error.errno == errno.ENOSPC or "No space left on device" in str(error)
    if full:
        return f"the disk is full ({error}); free some space and run again, finished files are kept"
    if error.errno in (errno.EACCES, errno.EROFS):
        return f"cannot write {error.filename}: {error.strerror}; choose a folder you may write to"
    return None
