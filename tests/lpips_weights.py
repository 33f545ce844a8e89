"""Random weights in the layout of LPIPS's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from image_similarity.lpips import Backbone, state_shapes


def random_state(backbone: Backbone = "alex") -> dict[str, Tensor]:
    """Every tensor of backbone and heads, of a size that keeps features in range."""
    generator = torch.Generator().manual_seed(2)
    tensors = {}
    for name, shape in state_shapes(backbone).items():
        tensor = torch.randn(shape, generator=generator)
        fan_in = np.prod(shape[1:]) if len(shape) == 4 else 1
        tensors[name] = tensor.abs() if name.startswith("lin") else tensor / max(fan_in, 1) ** 0.5
    return tensors


def write_weights(folder: Path, backbone: Backbone = "alex") -> tuple[Path, Path]:
    """Backbone and heads in two files, as they are published."""
    state = random_state(backbone)
    files = folder / f"{backbone}net.pth", folder / f"{backbone}_heads.pth"
    for path, start in zip(files, ("features", "lin"), strict=True):
        torch.save({k: v for k, v in state.items() if k.startswith(start)}, path)
    return files
