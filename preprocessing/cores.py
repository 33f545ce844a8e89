"""Cores for work that is spread over frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def claim_cores() -> Iterator[int]:
    """Number of cores for the caller's own threads; torch leaves them alone meanwhile.

    Work that is spread over frames gains nothing from torch spreading each small operation too: on a busy machine
    its threads waiting for each other make it ten times slower.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield cores
    finally:
        torch.set_num_threads(cores)
