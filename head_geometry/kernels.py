"""The one place where Warp is started and its kernels are launched on torch tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch


def launch(
    kernel: object, dim: int, inputs: Sequence[object], outputs: Sequence[torch.Tensor]
) -> None:
    """Run a Warp kernel on the device of its outputs, in torch's current stream.

    Args:
        kernel: Compiled at its first launch (a second or two), then cached. Import its module where it is
            launched, not above: Warp itself is then imported at first use.
        dim: Threads.
        inputs: Numbers, Warp values and tensors (contiguous, one Warp scalar per element); a tensor of vectors
            goes through :func:`vectors`.
        outputs: Tensors that the kernel writes to.
    """
    warp = start_warp()
    device = outputs[0].device
    on_cuda = device.type == "cuda"
    warp.launch(
        kernel,
        dim=dim,
        inputs=[
            warp.from_torch(value) if isinstance(value, torch.Tensor) else value for value in inputs
        ],
        outputs=[warp.from_torch(output) for output in outputs],
        device=warp.device_from_torch(device),
        stream=warp.stream_from_torch(torch.cuda.current_stream(device)) if on_cuda else None,
    )


def vectors(rows: torch.Tensor) -> Any:  # noqa: ANN401 - Warp's arrays have no usable type
    """Rows of three numbers as Warp vectors, sharing the tensor's memory: the caller keeps hold of the tensor."""
    warp = start_warp()
    kind = warp.vec3 if rows.is_floating_point() else warp.vec3i
    return warp.from_torch(rows, dtype=kind)


@cache
def start_warp() -> Any:  # noqa: ANN401 - a module
    """Warp, imported at first use."""
    import warp

    warp.config.log_level = warp.LOG_ERROR  # silent: no banner, no word about a missing GPU
    with _silenced_stderr() if not torch.cuda.is_available() else nullcontext():
        warp.init()
    return warp


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Drop what native code writes to stderr: Warp complains there that it finds no GPU driver."""
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
