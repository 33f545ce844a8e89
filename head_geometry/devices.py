"""Which device computes."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import torch

from artifacts.errors import InputError

LOGGER = logging.getLogger(__name__)
# Locks of this process: they are released when it ends, whatever ends it.
_held: list[BinaryIO] = []


def find_device(name: str) -> torch.device:
    """``auto`` takes CUDA where there is one; of several GPUs, one that no other step uses.

    Raises:
        InputError: another name, or CUDA was asked for and is not there.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"unknown device {name!r}; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device cuda was asked for, but PyTorch finds no CUDA GPU; choose auto or cpu"
        )
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    gpus = range(torch.cuda.device_count())
    if len(gpus) == 1:
        return torch.device("cuda")
    # By what they are, not by number: that changes with CUDA_VISIBLE_DEVICES.
    index = claim_gpu(tuple(str(torch.cuda.get_device_properties(gpu).uuid) for gpu in gpus))
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


@cache
def claim_gpu(names: tuple[str, ...]) -> int:
    """A GPU that no other process of this user has claimed, until this process ends; the first one where all are claimed.

    Steps that run side by side on one machine are counted by Snakemake (``--resources gpu=4``), which does not tell them
    which GPU to take. On a cluster each job sees its own GPU alone, and nothing is claimed.

    Args:
        names: A name of each GPU, letters, digits and ``-``.

    Returns:
        Its place among the names.

    Raises:
        InputError: the folder of the claims is none, or belongs to somebody else.

    Source: own.
    """
    folder = Path(tempfile.gettempdir()) / f"likeness-gpus-{os.getuid()}"
    with suppress(FileExistsError):  # a file or a link to nowhere, refused below
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
        raise InputError(
            f"{folder} is no folder or belongs to another user; set TMPDIR to a folder of your own"
        )
    for index, name in enumerate(names):
        file = (folder / name).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _held.append(file)
        return index
    LOGGER.warning("all %d GPUs are in use by other steps: this one shares the first", len(names))
    return 0
