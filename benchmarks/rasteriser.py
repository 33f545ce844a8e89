"""Time of one picture of a mesh by the project's rasteriser, on one core.

    python -m benchmarks.rasteriser --head-model results/head_models/anny.h5

The mesh is the head model's, its triangles split until there are at least as many as asked for. PyTorch3D is timed
beside them where it is installed.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from tabulate import tabulate
from torch import Tensor

from artifacts.step import run_step
from head_geometry.camera_conventions import pytorch3d_from_camera
from head_geometry.head_model import HeadModel
from head_geometry.rasteriser import depth_ranges, rasterise

REPEATS = 9
# The head fills the picture: this far away with this focal length over the picture's side.
DISTANCE_M, FOCAL_OVER_SIDE = 0.6, 2.0


@dataclass(frozen=True)
class Options:
    """Time the rasterisers."""

    head_model: Path
    """head_model artifact."""
    triangles: int = 20_000
    """Triangles at least."""
    sides: tuple[int, ...] = (128, 256, 512)
    """Sides of the pictures, pixels."""
    threads: int = 1
    """Threads of torch."""


def split_triangles(
    vertices: Float[Tensor, "vertex 3"], triangle: Int[Tensor, "face 3"]
) -> tuple[Float[Tensor, "more_vertices 3"], Int[Tensor, "more_faces 3"]]:
    """Every triangle in four, at the middles of its edges (which neighbours do not share)."""
    a, b, c = vertices[triangle].unbind(1)
    middles = torch.cat([(a + b) / 2, (b + c) / 2, (c + a) / 2])
    count, n = len(vertices), len(triangle)
    ab, bc, ca = (torch.arange(n) + count + k * n for k in range(3))
    i, j, k = triangle.unbind(1)
    parts = [(i, ab, ca), (ab, j, bc), (ca, bc, k), (ab, bc, ca)]
    return torch.cat([vertices, middles]), torch.cat([torch.stack(part, 1) for part in parts])


def median_ms(work: Callable[[], object]) -> float:
    """Median time of a call after two that warm up, milliseconds."""
    work()
    work()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def main(options: Options) -> None:
    """Print the table."""
    torch.set_num_threads(options.threads)
    head = HeadModel.load(options.head_model)
    vertices, triangle = head.template, head.triangle
    while len(triangle) < options.triangles:
        vertices, triangle = split_triangles(vertices, triangle)
    triangle = triangle[: options.triangles]
    # Head axes: y up, z out of the face.
    placed = vertices * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0, 0, DISTANCE_M])
    rows = []
    for side in options.sides:
        focal, middle = FOCAL_OVER_SIDE * side, (side - 1) / 2
        camera = torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]])
        size = (side, side)
        work: dict[str, Callable[[], object]] = {
            "rasterise": lambda c=camera, s=size: rasterise(placed, triangle, c, s),
            "depth_ranges (depth only)": lambda c=camera, s=size: depth_ranges(
                placed, triangle, c, s
            ),
        }
        if importlib.util.find_spec("pytorch3d"):
            work["PyTorch3D"] = pytorch3d_work(placed, triangle, camera, size)
        for name, call in work.items():
            rows.append([side, len(triangle), name, median_ms(call)])
    print(tabulate(rows, headers=["side px", "triangles", "", "ms"], floatfmt=".1f"))


def pytorch3d_work(
    vertices: Tensor, triangle: Tensor, intrinsics: Tensor, size: tuple[int, int]
) -> Callable[[], object]:
    """The same picture by PyTorch3D."""
    from pytorch3d.renderer import (  # pyright: ignore[reportMissingImports]
        MeshRasterizer,
        PerspectiveCameras,
        RasterizationSettings,
    )
    from pytorch3d.structures import Meshes  # pyright: ignore[reportMissingImports]

    rotation, translation, focal, principal = pytorch3d_from_camera(torch.eye(4), intrinsics, size)
    cameras = PerspectiveCameras(
        R=rotation[None],
        T=translation[None],
        focal_length=focal[None],
        principal_point=principal[None],
    )
    rasterizer = MeshRasterizer(cameras, RasterizationSettings(image_size=size[1]))
    mesh = Meshes([vertices], [triangle])
    return lambda: rasterizer(mesh)


if __name__ == "__main__":
    run_step(Options, main)
