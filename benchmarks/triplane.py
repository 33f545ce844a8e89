"""Time of one picture of a generator of the published size, part by part, against the same network computed plainly.

    python -m benchmarks.triplane

``plain`` computes each layer of the whole picture at once, every operation on all cores, and all rays together: how a
network is usually written down. Both draw the same picture; the largest difference is printed. Weights are random, of the layout of
``ffhq512-128`` (512², volume rendering at 128², 48 + 48 samples): nothing is empty, so nothing can be skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
from tabulate import tabulate
from torch import Tensor

from artifacts.step import run_step
from avatar_models.device import (
    choose_device,
    describe_device,
    peak_memory_bytes,
    synchronise,
)
from avatar_models.parallel import all_cores
from avatar_models.triplane.generator import TriPlaneGenerator
from avatar_models.triplane.layout import Layout

# A camera straight in front of the head, as the published ones: world_from_camera, then intrinsics.
_LABEL = (
    *(1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 2.7, 0.0, 0.0, 0.0, 1.0),
    *(4.2647, 0.0, 0.5, 0.0, 4.2647, 0.5, 0.0, 0.0, 1.0),
)


@dataclass(frozen=True)
class Options:
    """Time the tri-plane generator."""

    repeats: int = 5
    """Pictures each way; the fastest counts."""
    device: str = "auto"
    """auto, cpu or cuda."""


@contextmanager
def computed_plainly(device: torch.device) -> Iterator[None]:
    """Layers as a whole, operations on all cores."""
    one_by_one: Callable[..., list[object]] = lambda function, parts, device: [  # noqa: E731
        function(part) for part in parts
    ]
    with (
        all_cores(device),
        patch("avatar_models.triplane.layers.can_be_cut", lambda *_: False),
        patch("avatar_models.triplane.volume.map_parts", one_by_one),
        patch("avatar_models.triplane.volume._RAYS_AT_ONCE", 128 * 128),
    ):
        yield


def time_parts(
    generator: TriPlaneGenerator, latents: Tensor, label: Tensor
) -> tuple[dict[str, float], Tensor]:
    """Seconds of each part of one picture, and the picture."""
    device = label.device
    marks: list[float] = []

    def mark() -> None:
        synchronise(device)
        marks.append(time.perf_counter())

    mark()
    planes = generator.planes(latents)
    mark()
    side = generator.layout.neural_side
    rendered = generator.renderer().render(planes, label, side)
    mark()
    assert generator.superresolution is not None  # noqa: S101
    image = generator.superresolution(rendered.features, latents)
    mark()
    names = ("planes", "volume rendering", "super-resolution")
    seconds = {name: marks[i + 1] - marks[i] for i, name in enumerate(names)}
    return seconds | {"picture": marks[-1] - marks[0]}, image


@torch.inference_mode()
def main(options: Options) -> None:
    """Alternate between both ways, so that both see the same machine."""
    device = choose_device(options.device)
    torch.manual_seed(0)
    layout = Layout()
    generator = TriPlaneGenerator(layout).requires_grad_(False).to(device)
    latents = torch.randn(1, layout.n_latents, layout.w_dim, device=device)
    label = torch.tensor([_LABEL], device=device)
    found: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    pictures: dict[str, Tensor] = {}
    for _ in range(options.repeats + 1):
        with computed_plainly(device):
            seconds, pictures["plain"] = time_parts(generator, latents, label)
            found["plain"].append(seconds)
        seconds, pictures["ours"] = time_parts(generator, latents, label)
        found["ours"].append(seconds)
    rows = []
    for part in found["ours"][0]:
        plain, ours = (min(run[part] for run in found[way][1:]) for way in ("plain", "ours"))
        rows.append([part, plain, ours, plain / ours])
    print(tabulate(rows, ["part", "plain s", "ours s", "ratio"], floatfmt=".3f"))
    difference = (pictures["plain"] - pictures["ours"]).abs().max()
    size = pictures["plain"].abs().max()
    print(f"largest difference of the pictures: {float(difference):.1e} of {float(size):.1f}")
    print(f"peak memory {peak_memory_bytes(device) / 1e6:.0f} MB, {describe_device(device)}")


if __name__ == "__main__":
    run_step(Options, main)
