"""Expressions and jaw of one head model that move its face as another's moves."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.correspondence import Correspondence
from head_geometry.head_model import HeadModel
from head_geometry.identity_transfer import EVIDENCE, SIGMA_M, Shape

EXPRESSION_STD = 0.5
"""Expected size of a coefficient, in its largest sensible one."""
JAW_STD_RAD = 0.5
JAW_STEP_RAD = 0.2
"""Largest change of the jaw's angles in one round."""
ROUNDS, SWEEPS = 6, 40
DIFFERENCE_RAD = 1e-3
BATCH = 64


class Transfer:
    """Compares displacements from the neutral face, frame by frame; neck and eyes are left out of both."""

    def __init__(
        self,
        source: HeadModel,
        target: HeadModel,
        correspondence: Correspondence,
        source_identity: Float[Tensor, " identity"],
        shape: Shape,
    ) -> None:
        """Prepare the target's normal equations.

        Args:
            source: The fitted subject's head, double precision.
            target: The other model, double precision.
            correspondence: Target to source.
            source_identity: The subject in the source's coefficients.
            shape: The subject in the target's coefficients, and how the two heads lie.
        """
        self._source, self._target = source, target
        self._correspondence = correspondence
        self._source_identity = source_identity
        self._identity = torch.from_numpy(shape.identity)
        self._similarity = shape.similarity
        self._used = np.flatnonzero(correspondence.weight > 0)
        weight = correspondence.weight[self._used]
        self._share = torch.from_numpy(weight / weight.sum() * EVIDENCE / SIGMA_M**2)
        self._jaw = target.joint_name.index("jaw") if "jaw" in target.joint_name else None
        reach = torch.maximum(target.expression_upper.abs(), target.expression_lower.abs())
        self._prior = 1 / (EXPRESSION_STD * reach.clamp_min(1e-6)) ** 2
        self._basis = target.expression_basis[:, self._used].flatten(1)
        weighted = self._basis * self._share.repeat_interleave(3)
        self._matrix = weighted @ self._basis.T + torch.diag(self._prior)
        self._weighted = weighted

    def solve(
        self,
        expression: Float[np.ndarray, "frame source_expression"],
        joint_rotation: Float[np.ndarray, "frame joint 3"],
    ) -> tuple[Float[np.ndarray, "frame expression"], Float[np.ndarray, "frame 3"]]:
        """The target's expression coefficients, within their bounds, and its jaw's rotation (zero without a jaw)."""
        coefficients, jaws = [], []
        for start in range(0, len(expression), BATCH):
            rows = slice(start, start + BATCH)
            wanted = self._displacements(expression[rows], joint_rotation[rows])
            value, jaw = self._solve(wanted)
            coefficients.append(value.numpy())
            jaws.append(jaw.numpy())
        return np.concatenate(coefficients), np.concatenate(jaws)

    def residual_m(
        self,
        expression: Float[np.ndarray, "frame source_expression"],
        joint_rotation: Float[np.ndarray, "frame joint 3"],
        target_expression: Float[np.ndarray, "frame expression"],
        jaw: Float[np.ndarray, "frame 3"],
    ) -> Float[np.ndarray, "frame vertex"]:
        """Distance between the two faces at the target's vertices, in the source's metres."""
        rest = self._posed(torch.from_numpy(target_expression), torch.from_numpy(jaw))
        ours = self._similarity(rest.numpy())
        theirs = self._source_faces(expression, joint_rotation)
        return np.linalg.norm(ours - theirs, axis=-1)

    def _source_faces(
        self,
        expression: Float[np.ndarray, "frame source_expression"],
        joint_rotation: Float[np.ndarray, "frame joint 3"],
    ) -> Float[np.ndarray, "frame vertex 3"]:
        """The source's faces at the target's vertices, with eyes and neck at rest."""
        rotation = np.zeros_like(joint_rotation)
        if "jaw" in self._source.joint_name:
            jaw = self._source.joint_name.index("jaw")
            rotation[:, jaw] = joint_rotation[:, jaw]
        posed = self._source.vertices(
            self._source_identity, torch.from_numpy(expression), torch.from_numpy(rotation)
        ).numpy()
        triangle = self._source.triangle.numpy()
        return np.stack([self._correspondence.carry(frame, triangle) for frame in posed])

    def _displacements(
        self,
        expression: Float[np.ndarray, "frame source_expression"],
        joint_rotation: Float[np.ndarray, "frame joint 3"],
    ) -> Float[Tensor, "frame used 3"]:
        """How the source's face moves away from neutral, in the target's head axes and size."""
        neutral = self._source_faces(
            np.zeros_like(expression[:1]), np.zeros_like(joint_rotation[:1])
        )
        moved = self._source_faces(expression, joint_rotation) - neutral
        moved = moved @ self._similarity.rotation / self._similarity.scale
        return torch.from_numpy(moved[:, self._used])

    def _posed(
        self, expression: Float[Tensor, "frame expression"], jaw: Float[Tensor, "frame 3"]
    ) -> Float[Tensor, "frame vertex 3"]:
        rotation = torch.zeros(len(jaw), len(self._target.joint_name), 3, dtype=torch.float64)
        if self._jaw is not None:
            rotation[:, self._jaw] = jaw
        return self._target.vertices(self._identity, expression, rotation)

    def _solve(
        self, wanted: Float[Tensor, "frame used 3"]
    ) -> tuple[Float[Tensor, "frame expression"], Float[Tensor, "frame 3"]]:
        """Expressions and jaw in turns; the jaw's motion is not linear in its angles."""
        value = torch.zeros(len(wanted), len(self._basis), dtype=torch.float64)
        jaw = torch.zeros(len(wanted), 3, dtype=torch.float64)
        if self._jaw is None:
            return self._bounded(wanted, value), jaw
        neutral = self._posed(value[:1], jaw[:1])[:, self._used]
        for _ in range(ROUNDS):
            moved = self._posed(value, jaw)[:, self._used] - neutral
            columns = []
            for axis in range(3):
                nudge = torch.zeros(3, dtype=torch.float64)
                nudge[axis] = DIFFERENCE_RAD
                other = self._posed(value, jaw + nudge)[:, self._used] - neutral
                columns.append((other - moved) / DIFFERENCE_RAD)
            slope = torch.stack(columns, 1)
            weighted = slope * self._share[:, None]
            matrix = torch.einsum("fiua,fjua->fij", weighted, slope)
            matrix = matrix + torch.eye(3) / JAW_STD_RAD**2
            force = torch.einsum("fiua,fua->fi", weighted, wanted - moved) - jaw / JAW_STD_RAD**2
            step = torch.linalg.solve(matrix, force)
            size = torch.linalg.vector_norm(step, dim=1, keepdim=True).clamp_min(1e-12)
            jaw = jaw + step * (JAW_STEP_RAD / size).clamp_max(1)
            by_jaw = self._posed(torch.zeros_like(value), jaw)[:, self._used] - neutral
            value = self._bounded(wanted - by_jaw, value)
        return value, jaw

    def _bounded(
        self, wanted: Float[Tensor, "frame used 3"], start: Float[Tensor, "frame expression"]
    ) -> Float[Tensor, "frame expression"]:
        """Least squares with a prior, each coefficient within its bounds.

        Source: coordinate descent on a convex quadratic with box constraints.
        """
        force = wanted.flatten(1) @ self._weighted.T
        value = start.clone()
        lower, upper = self._target.expression_lower, self._target.expression_upper
        for _ in range(SWEEPS):
            for i in range(value.shape[1]):
                rest = force[:, i] - value @ self._matrix[:, i] + value[:, i] * self._matrix[i, i]
                value[:, i] = (rest / self._matrix[i, i]).clamp(float(lower[i]), float(upper[i]))
        return value
