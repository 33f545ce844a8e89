"""Independent parts of a step or of a frame, each on its own core."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import local
from typing import Any, TypeVar

import torch

from avatar_models.device import available_cores

Part = TypeVar("Part")
Result = TypeVar("Result")
First = TypeVar("First")
Second = TypeVar("Second")

# Parts are multiples of this many items.
ROUND_SIZE = 256

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


@contextmanager
def all_cores(device: torch.device) -> Iterator[None]:
    """Each operation on all cores, for what is too small or too entangled to be cut into parts; on a CPU, outside of parts."""
    if device.type != "cpu" or getattr(_thread, "is_busy", False):
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(available_cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_together(
    first: Callable[[], First], second: Callable[[], Second], device: torch.device
) -> tuple[First, Second]:
    """Results of two functions that do not need each other, each on its own core as in :func:`map_parts`."""
    steps: list[Callable[[], Any]] = [first, second]
    one, other = map_parts(lambda step: step(), steps, device)
    return one, other


def part_size(n: int, largest: int, device: torch.device) -> int:
    """Size of equal parts of ``n`` items that keep all cores busy to the end; at most about ``largest``.

    A round number, because libraries make kernels ready for each size anew.
    """
    n_threads = available_cores() if device.type == "cpu" else 1
    n_parts = n_threads * max(1, math.ceil(n / (n_threads * largest)))
    return max(1, math.ceil(n / n_parts / ROUND_SIZE)) * ROUND_SIZE


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="part")
