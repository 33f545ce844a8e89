"""Independent parts of a step or of a frame, each on its own core."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import local
from typing import TypeVar

import torch

from avatar_models.device import available_cores

Part = TypeVar("Part")
Result = TypeVar("Result")

# Set in the threads that compute parts: a part that shares itself out would wait for its own thread.
_thread = local()


def map_parts(
    function: Callable[[Part], Result], parts: Iterable[Part], device: torch.device
) -> list[Result]:
    """``function`` of every part, in order; on a CPU several parts are computed at once.

    PyTorch leaves Python's lock while it computes, so threads serve. Each part keeps the caller's
    inference mode. One part, one core, a part of a part or CUDA: plain calls one after the other.
    """
    parts = list(parts)
    n_threads = 1 if device.type != "cpu" else min(len(parts), available_cores())
    if n_threads <= 1 or getattr(_thread, "is_busy", False):
        return [function(part) for part in parts]
    inference = torch.is_inference_mode_enabled()

    def run(part: Part) -> Result:
        _thread.is_busy = True  # for good: these threads do nothing else
        with torch.inference_mode(inference):
            return function(part)

    return list(_pool(n_threads).map(run, parts))


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="part")
