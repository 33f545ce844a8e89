"""Exact k nearest vertices through a uniform grid; one kernel for CPU and CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int32
from torch import Tensor

# Largest k that the kernel can hold.
MAX_NEIGHBOURS = 8


# Sides of the cells of each grid, metres: near dense skin a few vertices per cell; far from it few cells.
CELLS_M = (0.008, 0.016, 0.04)


@dataclass(frozen=True)
class CellGrid:
    """Vertices sorted by the cell of a uniform grid that holds them.

    Attributes:
        position: Sorted positions, metres.
        vertex: Index of each sorted position among the original vertices.
        cell_start: First sorted position of each cell; one more entry at the end.
        origin: Corner of the grid, metres.
        cell_m: Side of a cell, metres.
        shape: Cells along x, y, z.
    """

    position: Float[Tensor, "vertex 3"]
    vertex: Int32[Tensor, " vertex"]
    cell_start: Int32[Tensor, " cell"]
    origin: tuple[float, float, float]
    cell_m: float
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class VertexGrid:
    """Spatial index of one frame's vertices.

    Attributes:
        levels: The same vertices in ever larger cells; a query that one grid does not settle goes on to the next.
    """

    levels: tuple[CellGrid, ...]

    @property
    def n_vertices(self) -> int:
        """How many vertices it holds."""
        return len(self.levels[0].vertex)

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return sum(g.position.nbytes + g.vertex.nbytes + g.cell_start.nbytes for g in self.levels)


def build_grid(vertices: Float[Tensor, "vertex 3"]) -> VertexGrid:
    """Index vertices (metres); about a millisecond for 5000 of them."""
    vertices = vertices.detach().float()
    return VertexGrid(tuple(_sort_into(vertices, cell_m) for cell_m in CELLS_M))


def _sort_into(vertices: Float[Tensor, "vertex 3"], cell_m: float) -> CellGrid:
    """Counting sort by cell."""
    low = vertices.amin(0)
    cell = ((vertices - low) / cell_m).long()
    x, y, z = low.tolist()
    nx, ny, nz = (n + 1 for n in cell.amax(0).tolist())
    flat = (cell[:, 2] * ny + cell[:, 1]) * nx + cell[:, 0]
    order = torch.argsort(flat, stable=True)
    start = torch.zeros(nx * ny * nz + 1, dtype=torch.int32, device=vertices.device)
    start[1:] = torch.cumsum(torch.bincount(flat, minlength=nx * ny * nz), 0)
    return CellGrid(
        position=vertices[order].contiguous(),
        vertex=order.int(),
        cell_start=start,
        origin=(x, y, z),
        cell_m=cell_m,
        shape=(nx, ny, nz),
    )


def nearest_vertices(
    grid: VertexGrid, queries: Float[Tensor, "query 3"], k: int
) -> Int32[Tensor, "query {k}"]:
    """Indices of the ``k`` vertices nearest to each query, nearest first; exact for queries anywhere.

    Args:
        grid: From :func:`build_grid`.
        queries: Metres, in the axes of the grid's vertices.
        k: 1 to 8, at most the number of vertices.

    Raises:
        ValueError: ``k`` is out of range.

    Source: own (cells in growing rings until the ring lies beyond the k-th distance).
    """
    if not 1 <= k <= min(MAX_NEIGHBOURS, grid.n_vertices):
        raise ValueError(f"k = {k} nearest of {grid.n_vertices} vertices: k must be 1..8")
    queries = queries.detach().float().contiguous()
    found = torch.full((len(queries), k), -1, dtype=torch.int32, device=queries.device)
    if len(queries) > 0:
        for cells in grid.levels[:-1]:
            _search(cells, queries, found, last_ring=1)
        _search(grid.levels[-1], queries, found, last_ring=max(grid.levels[-1].shape))
    return found


def _search(
    cells: CellGrid,
    queries: Float[Tensor, "query 3"],
    found: Int32[Tensor, "query neighbour"],
    last_ring: int,
) -> None:
    """Fill the rows of ``found`` that are still -1, as far as ``last_ring`` settles them."""
    wp, kernel = _kernel()
    wp.launch(
        kernel.search_rings,
        dim=len(queries),
        inputs=[
            wp.from_torch(queries, dtype=wp.vec3),
            wp.from_torch(cells.position, dtype=wp.vec3),
            wp.from_torch(cells.vertex),
            wp.from_torch(cells.cell_start),
            wp.vec3(*cells.origin),
            cells.cell_m,
            wp.vec3i(*cells.shape),
            last_ring,
            found.shape[1],
        ],
        outputs=[wp.from_torch(found)],
        device=wp.device_from_torch(queries.device),
        stream=wp.stream_from_torch(torch.cuda.current_stream(queries.device))
        if queries.is_cuda
        else None,
    )


@cache
def _kernel() -> tuple[Any, Any]:
    """Warp and the kernel's module, imported and compiled at first use (a second or two)."""
    import warp

    warp.config.log_level = warp.LOG_ERROR  # silent: no banner, no word about a missing GPU
    warp.init()
    from avatar_models.monoavatar import neighbour_kernel

    return warp, neighbour_kernel
