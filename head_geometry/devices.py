"""Which device computes."""

from __future__ import annotations

import torch

from artifacts.errors import InputError


def find_device(name: str) -> torch.device:
    """``auto`` takes CUDA where there is one.

    Raises:
        InputError: another name, or CUDA was asked for and is not there.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"unknown device {name!r}; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device cuda was asked for, but PyTorch finds no CUDA GPU; choose auto or cpu"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
