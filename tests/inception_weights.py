"""Random weights in the layout of FID's Inception file, and what the package pytorch-fid computes with them.

tests/data/inception_fid.npz holds names and shapes of the published file's convolutions, and every eighth feature that the
network of pytorch-fid 0.3.0 finds in :func:`pictures` with :func:`random_state`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# Channels that enter each block where every convolution gives two: the number of its branches, and what is pooled, count.
_INPUTS = {
    "Mixed_5c": 8,
    "Mixed_5d": 8,
    "Mixed_6a": 8,
    "Mixed_6b": 12,
    "Mixed_6c": 8,
    "Mixed_6d": 8,
    "Mixed_6e": 8,
}
_INPUTS |= {"Mixed_7a": 8, "Mixed_7b": 12, "Mixed_7c": 12}
_FILE = Path(__file__).parent / "data" / "inception_fid.npz"


def published_shapes() -> dict[str, list[int]]:
    """Name to shape of every convolution of the published file."""
    with np.load(_FILE) as stored:
        return dict(zip(stored["name"].tolist(), stored["shape"].tolist(), strict=True))


def reference_features() -> np.ndarray:
    """Every eighth feature of :func:`pictures`, as pytorch-fid finds them."""
    with np.load(_FILE) as stored:
        return stored["features"]


def small_shapes() -> dict[str, list[int]]:
    """The same network with two channels in each layer."""
    shapes = {}
    for name, (_, _, *kernel) in published_shapes().items():
        block, layer = name.split(".")[:2]
        first = layer.endswith(("_1", "1x1", "_pool")) or f"{block}.{layer}" == "Mixed_6a.branch3x3"
        n_in = _INPUTS.get(block, 2) if first else 2
        shapes[name] = [2, 3 if block == "Conv2d_1a_3x3" else n_in, *kernel]
    return shapes


def random_state(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Every tensor of a network of such shapes, of a size that keeps features in range."""
    generator = np.random.default_rng(3)
    state = {}
    for name, shape in shapes.items():
        fan_in = shape[1] * shape[2] * shape[3]
        drawn = generator.standard_normal(tuple(shape)) * (2 / fan_in) ** 0.5
        bn = name.replace("conv.weight", "bn.")
        state |= {
            name: torch.from_numpy(drawn).float(),
            f"{bn}weight": torch.from_numpy(generator.uniform(0.5, 1.5, shape[0])).float(),
            f"{bn}bias": torch.from_numpy(generator.normal(0, 0.1, shape[0])).float(),
            f"{bn}running_mean": torch.from_numpy(generator.normal(0, 0.1, shape[0])).float(),
            f"{bn}running_var": torch.from_numpy(generator.uniform(0.5, 1.5, shape[0])).float(),
        }
    return state


def pictures() -> Tensor:
    """Two pictures (2, 67, 83, 3), sRGB in 0..1."""
    return torch.from_numpy(np.random.default_rng(4).random((2, 67, 83, 3))).float()
