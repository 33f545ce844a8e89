"""Generators in files: the project's own (safetensors with their sizes) and published pickles."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from artifacts.errors import InputError
from artifacts.text_files import write_whole
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.layout import Layout
from avatar_models.triplane.published import read_published

_LAYOUT = "layout"
# In the record of an own prior: what the numbers of its z mean (avatar_models.prior.known.Known).
KNOWN = "known"
# The published files store the 1-3-3-1 filter with every layer.
_FILTER = "resample_filter"


def load_generator(path: Path) -> TriPlaneGenerator:
    """A generator from ``.safetensors`` (with its sizes) or from a published pickle (``.pkl``), on the CPU.

    Raises:
        InputError: the file is missing, damaged, hostile, or its tensors do not fit its sizes.
    """
    if path.suffix == ".safetensors":
        layout, state = _read_safetensors(path)
    elif path.suffix == ".pkl":
        layout, state = read_published(path)
    else:
        raise InputError(f"{path}: a generator is a .safetensors or a published .pkl file")
    return build_generator(layout, state, str(path))


def build_generator(layout: Layout, state: dict[str, Tensor], source: str) -> TriPlaneGenerator:
    """A generator of these sizes and weights.

    Args:
        layout: Sizes.
        state: Tensors under the published names.
        source: Where they come from, for messages.

    Raises:
        InputError: a tensor is missing, superfluous or of another shape.
    """
    filters = {name: value for name, value in state.items() if name.endswith(_FILTER)}
    for name, value in filters.items():
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        if not torch.allclose(value.float(), line[:, None] * line / 64, atol=1e-4):
            raise InputError(
                f"{source}: {name} is not the 1-3-3-1 filter, which is the only one known"
            )
    with torch.device("meta"):
        generator = TriPlaneGenerator(layout)
    expected = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items() if name not in filters}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise InputError(
                f"{source}: tensor {name} has shape {found.get(name, 'none')}, its sizes ask for "
                f"{expected.get(name, 'none')}; the file is of another generator"
            )
    kept = {name: value.float() for name, value in state.items() if name not in filters}
    generator.load_state_dict(kept, assign=True)
    return generator.requires_grad_(False)


def save_generator(
    path: Path,
    generator: TriPlaneGenerator,
    record: dict[str, str],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a generator and its sizes.

    Args:
        path: File to write, ``.safetensors``.
        generator: What to write.
        record: What else to keep: how it was made.
        dtype: Of the numbers in the file; float16 halves it.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    state = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in generator.state_dict().items()
    }
    write_whole(path, save(state, {**record, _LAYOUT: generator.layout.to_json()}))


def read_record(path: Path) -> dict[str, str]:
    """What was recorded with a generator of the project's own.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: cannot be read as a generator ({error}); fetch it again"
        ) from error


def _read_safetensors(path: Path) -> tuple[Layout, dict[str, Tensor]]:
    record = read_record(path)
    if _LAYOUT not in record:
        raise InputError(f"{path}: holds no sizes of a generator; give a generator's file")
    with safe_open(path, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    return Layout.from_json(record[_LAYOUT]), state
