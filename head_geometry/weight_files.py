"""Read published weight files safely."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from artifacts.errors import InputError

# What torch.load raises for a file that is missing, damaged or not a file of tensors.
_UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, on the CPU.

    Such a file is a pickle. Only its tensors and containers are taken; whatever else it names is refused, so
    that nothing in it is executed. A TorchScript archive, which is a program, is refused for the same reason.

    Raises:
        InputError: the file is missing or damaged, or holds something else.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: cannot be read as a file of weights ({type(error).__name__}); fetch it again"
        ) from error
    if not isinstance(loaded, Mapping):
        raise InputError(f"{path}: holds no state dict; fetch it again")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}
