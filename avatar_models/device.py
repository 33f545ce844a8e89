"""Where tensors live, how many threads compute, and how much memory that took."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from pathlib import Path

import torch

from head_geometry.devices import find_device

# Options of glibc's mallopt (malloc.h), and how much freed memory a process keeps instead of returning it.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 512 * 1024**2


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA where there is one.

    PyTorch is told to compute each operation on one core: the operations of an avatar are small, and sharing
    each out costs more than it gains. All cores work through :mod:`avatar_models.parallel` instead. Freed
    memory is kept for the next operation.

    Raises:
        InputError: another name, or CUDA was asked for and is not there.
    """
    device = find_device(name)
    torch.set_num_threads(1)
    keep_freed_memory()
    return device


def keep_freed_memory() -> None:
    """Let the C library reuse freed memory instead of returning it to the system, where it is glibc.

    Each operation on a CPU makes a tensor of a few megabytes. By default such memory goes back to the system
    when it is freed, and the next operation waits for zeroed pages: about a tenth of a rendered frame's time.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        libc.mallopt(option, KEPT_BYTES)


def available_cores() -> int:
    """Cores that this process may use: ``OMP_NUM_THREADS`` where it is set."""
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_device(device: torch.device) -> str:
    """The GPU's name, or the processor's and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor_name()}, {available_cores()} threads"


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_bytes(device: torch.device) -> int:
    """Largest GPU memory that PyTorch held, or on a CPU the largest resident memory of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished, so that a clock tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
