"""Alignment of random heads and the principal directions of their shape."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def align_heads(
    heads: Float[np.ndarray, "sample vertex 3"],
    face_vertex: Int[np.ndarray, " face_vertex"],
    iterations: int = 3,
) -> Float[np.ndarray, "sample vertex 3"]:
    """Move, turn and scale every head so that the faces coincide; the mean keeps its place and mean size.

    Size is taken out here because it cannot be told from the distance to the camera: a model with a
    free size lets the head wander in depth when its shape changes.

    Args:
        heads: Metres.
        face_vertex: The vertices that decide.
        iterations: Rounds of generalised Procrustes analysis.

    Source: Gower, Generalized Procrustes Analysis (1975), with scaling.
    """
    mean = heads.mean(0)
    centre = mean[face_vertex].mean(0)
    size = np.sqrt(
        ((heads[:, face_vertex] - heads[:, face_vertex].mean(1, keepdims=True)) ** 2).sum((1, 2))
    )
    wanted_size = size.mean()
    aligned = heads
    for _ in range(iterations):
        reference = mean[face_vertex] - mean[face_vertex].mean(0)
        reference *= wanted_size / np.linalg.norm(reference)
        aligned = _align_to(heads, face_vertex, reference) + centre
        mean = aligned.mean(0)
    return aligned


def _align_to(
    heads: Float[np.ndarray, "sample vertex 3"],
    face_vertex: Int[np.ndarray, " face_vertex"],
    reference: Float[np.ndarray, "face_vertex 3"],
) -> Float[np.ndarray, "sample vertex 3"]:
    """Least-squares similarities of whole heads onto ``reference`` (centred)."""
    middle = heads[:, face_vertex].mean(1, keepdims=True)
    faces = heads[:, face_vertex] - middle
    u, singular, vt = np.linalg.svd(faces.transpose(0, 2, 1) @ reference)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (singular * sign).sum(1) / (faces**2).sum((1, 2))
    return scale[:, None, None] * ((heads - middle) @ rotation)


def mirrored(
    vectors: Float[np.ndarray, "*batch vertex 3"], mirror_vertex: Int[np.ndarray, " vertex"]
) -> Float[np.ndarray, "*batch vertex 3"]:
    """The mirror image (left and right exchanged) of heads or of displacements, in head axes."""
    return vectors[..., mirror_vertex, :] * np.array([-1.0, 1.0, 1.0])


def symmetric_principal_directions(
    heads: Float[np.ndarray, "sample vertex 3"],
    mirror_vertex: Int[np.ndarray, " vertex"],
    count: int,
) -> tuple[
    Float[np.ndarray, "vertex 3"],
    Float[np.ndarray, "component vertex 3"],
    Float[np.ndarray, " component"],
    float,
]:
    """Mean, orthonormal directions, standard deviations (metres), and the share of variance they hold.

    Every head counts together with its mirror image, so the mean is symmetric and each direction is
    either symmetric or antisymmetric; the covariance splits into these two halves, which are solved one
    by one.

    Source: principal component analysis through the Gram matrix of the samples.
    """
    samples = heads.shape[0]
    mean = (heads + mirrored(heads, mirror_vertex)).mean(0) / 2
    centred = heads - mean
    image = mirrored(centred, mirror_vertex)
    directions, variances, total = [], [], 0.0
    for half in ((centred + image) / 2, (centred - image) / 2):
        flat = half.reshape(samples, -1)
        values, vectors = np.linalg.eigh(flat @ flat.T)
        total += values.sum() / samples
        values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
        basis = vectors.T @ flat
        directions.append(basis / np.linalg.norm(basis, axis=1, keepdims=True))
        variances.append(values / samples)
    variance = np.concatenate(variances)
    order = np.argsort(-variance, kind="stable")[:count]
    basis = np.concatenate(directions)[order]
    # An eigenvector's sign is arbitrary: make its largest entry positive.
    largest = np.take_along_axis(basis, np.abs(basis).argmax(1)[:, None], axis=1)
    basis *= np.sign(largest)
    explained = float(variance[order].sum() / total)
    return mean, basis.reshape(count, -1, 3), np.sqrt(variance[order]), explained


def fit_joint_regressor(
    heads: Float[np.ndarray, "sample vertex 3"],
    joints: Float[np.ndarray, "sample 3"],
    candidates: Int[np.ndarray, " candidate"],
) -> Float[np.ndarray, " vertex"]:
    """Weights over ``candidates``, summing to 1, whose mean of the vertices is the joint.

    Ridge regression towards equal weights, so that no vertex gets a large one.
    """
    points = heads[:, candidates].transpose(0, 2, 1).reshape(-1, len(candidates))
    uniform = np.full(len(candidates), 1 / len(candidates))
    # The last row makes the weights sum to 1 (weighted far above the others).
    rows = np.concatenate([points, np.full((1, len(candidates)), 1e3)])
    misfit = np.concatenate([joints.reshape(-1) - points @ uniform, [0.0]])
    gram = rows @ rows.T
    gram[np.diag_indices_from(gram)] += 1e-3
    weights = np.zeros(heads.shape[1])
    weights[candidates] = uniform + rows.T @ np.linalg.solve(gram, misfit)
    return weights / weights.sum()


def sphere_centres(
    points: Float[np.ndarray, "sample point 3"],
) -> Float[np.ndarray, "sample 3"]:
    """Centre of the least-squares sphere through each sample's points.

    Source: algebraic sphere fit (|p|² = 2 p·c + k).
    """
    middle = points.mean(1, keepdims=True)
    local = points - middle
    design = np.concatenate([2 * local, np.ones_like(local[..., :1])], -1)
    squares = (local**2).sum(-1, keepdims=True)
    solved = np.linalg.solve(
        design.transpose(0, 2, 1) @ design, design.transpose(0, 2, 1) @ squares
    )
    return middle[:, 0] + solved[:, :3, 0]
