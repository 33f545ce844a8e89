"""Exact k nearest vertices through a tree of boxes; one kernel for CPU and CUDA."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from head_geometry.kernels import launch, vectors

# Largest k that the kernel can hold.
MAX_NEIGHBOURS = 8
# Vertices of a leaf, about.
LEAF_SIZE = 8


@dataclass(frozen=True)
class VertexTree:
    """Spatial index of one frame's vertices: a full binary tree whose every node knows the box around its vertices.

    Node 1 is the root, nodes 2i and 2i + 1 are the children of node i, row 0 is nobody's. Node i of a level
    of m nodes, counted from 0, holds the sorted positions from (i n) // m to ((i + 1) n) // m.

    Attributes:
        position: Sorted positions, metres.
        vertex: Index of each sorted position among the original vertices.
        low: Lower corner of each node's box, metres.
        high: Upper corner, metres.
        n_levels: Levels below the root.
    """

    position: Float[Tensor, "vertex 3"]
    vertex: Int32[Tensor, " vertex"]
    low: Float[Tensor, "node 3"]
    high: Float[Tensor, "node 3"]
    n_levels: int

    @property
    def n_vertices(self) -> int:
        """How many vertices it holds."""
        return len(self.vertex)

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.position.nbytes + self.vertex.nbytes + self.low.nbytes + self.high.nbytes


def tree_order(vertices: Float[Tensor, "vertex 3"]) -> Int[Tensor, " vertex"]:
    """The order that gives a good tree: halves, quarters, ... each split along the longest side of its box.

    It serves every pose of a mesh: moved vertices make larger boxes, which cost time and not exactness.

    Args:
        vertices: Metres, any axes.

    Source: k-d tree (Bentley 1975), split by number of vertices.
    """
    n = len(vertices)
    order = torch.arange(n, device=vertices.device)
    for level in range(_n_levels(n)):
        node = _node_of_place(n, level, vertices.device)
        placed = vertices[order]
        side = _extreme(placed, node, 2**level, "amax") - _extreme(placed, node, 2**level, "amin")
        along = placed.gather(1, side.argmax(1)[node][:, None])[:, 0]
        by_place = torch.argsort(along, stable=True)
        order = order[by_place[torch.argsort(node[by_place], stable=True)]]
    return order


def build_tree(
    vertices: Float[Tensor, "vertex 3"], order: Int[Tensor, " vertex"] | None = None
) -> VertexTree:
    """Index vertices (metres); a fraction of a millisecond for 5000 of them where their order is given.

    Args:
        vertices: Metres, any axes.
        order: From :func:`tree_order`, of these vertices or of the same mesh in another pose; made anew when absent.

    Source: own (boxes of the leaves, then of pairs up to the root).
    """
    vertices = vertices.detach().float()
    if order is None:
        order = tree_order(vertices)
    n, n_levels = len(vertices), _n_levels(len(vertices))
    position = vertices[order].contiguous()
    leaf = _node_of_place(n, n_levels, vertices.device)
    lows = [_extreme(position, leaf, 2**n_levels, "amin")]
    highs = [_extreme(position, leaf, 2**n_levels, "amax")]
    while len(lows[-1]) > 1:
        lows.append(lows[-1].view(-1, 2, 3).amin(1))
        highs.append(highs[-1].view(-1, 2, 3).amax(1))
    nobody = torch.zeros(1, 3, device=vertices.device)
    low, high = torch.cat([nobody, *reversed(lows)]), torch.cat([nobody, *reversed(highs)])
    return VertexTree(position, order.int(), low, high, n_levels)


def nearest_vertices(
    tree: VertexTree, queries: Float[Tensor, "query 3"], k: int
) -> Int32[Tensor, "query {k}"]:
    """Indices of the ``k`` vertices nearest to each query, nearest first; exact for queries anywhere.

    Args:
        tree: From :func:`build_tree`.
        queries: Metres, in the axes of the tree's vertices.
        k: 1 to 8, at most the number of vertices.

    Raises:
        ValueError: ``k`` is out of range.

    Source: own (depth first, nearer child first, children beyond the k-th distance left out).
    """
    if not 1 <= k <= min(MAX_NEIGHBOURS, tree.n_vertices):
        raise ValueError(f"k = {k} nearest of {tree.n_vertices} vertices: k must be 1..8")
    queries = queries.detach().float().contiguous()
    found = torch.empty((len(queries), k), dtype=torch.int32, device=queries.device)
    if len(queries) == 0:
        return found
    from avatar_models.monoavatar.neighbour_kernel import search_tree

    launch(
        search_tree,
        dim=len(queries),
        inputs=[
            vectors(queries),
            vectors(tree.position),
            tree.vertex,
            vectors(tree.low),
            vectors(tree.high),
            tree.n_levels,
            k,
        ],
        outputs=[found],
    )
    return found


def _n_levels(n_vertices: int) -> int:
    return max(0, (n_vertices // LEAF_SIZE).bit_length() - 1)


def _node_of_place(n_vertices: int, level: int, device: torch.device) -> Int[Tensor, " vertex"]:
    """The node, counted from 0, that holds each sorted position on a level."""
    last = torch.arange(1, 2**level + 1, device=device) * n_vertices // 2**level
    return torch.searchsorted(last, torch.arange(n_vertices, device=device), right=True)


def _extreme(
    rows: Float[Tensor, "row 3"], group: Int[Tensor, " row"], n_groups: int, which: str
) -> Float[Tensor, "group 3"]:
    """Smallest (``amin``) or largest (``amax``) of each group's rows; no group is empty."""
    start = rows.new_zeros(n_groups, 3)
    return start.scatter_reduce(0, group[:, None].expand(-1, 3), rows, which, include_self=False)
