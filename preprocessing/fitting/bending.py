"""How much a field on a mesh bends: the smoothness of every displacement that a fit solves for."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_matrix, csc_matrix, diags
from scipy.sparse import identity as sparse_identity


def bending_energy(triangle: Int[np.ndarray, "face 3"], count: int) -> csc_matrix:
    """Squared deviation of each vertex' value from the mean of its neighbours', as a matrix.

    Args:
        triangle: Vertex indices.
        count: Vertices.

    Source: squared uniform Laplacian (Botsch and Sorkine, On linear variational surface deformation methods, 2008).
    """
    a = triangle[:, [0, 1, 2, 1, 2, 0]].ravel()
    b = triangle[:, [1, 2, 0, 0, 1, 2]].ravel()
    adjacency = coo_matrix((np.ones(len(a)), (a, b)), (count, count)).tocsr()
    adjacency.data[:] = 1
    degree = np.asarray(adjacency.sum(1)).ravel()
    laplacian = sparse_identity(count) - diags(1 / np.maximum(degree, 1)) @ adjacency
    return csc_matrix(laplacian.T @ laplacian)
