"""A subject's own outline: the mesh displaced so that its silhouette meets the matte in every keyframe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix, csc_matrix, diags, kron
from scipy.sparse import identity as sparse_identity
from scipy.sparse.linalg import splu
from torch import Tensor

from head_geometry.cameras import project
from head_geometry.head_model import HeadModel
from head_geometry.head_region import chin_height_m, vertices_above_cut
from head_geometry.normals import vertex_normals
from head_geometry.rasteriser import depth_ranges
from preprocessing.fitting.bending import bending_energy
from preprocessing.fitting.posed_head import PosedHead

# Rim vertices further than this from the drawn silhouette are hidden in front of the head, pixels.
_ON_RIM_PX = 1.5
# The matte's edge is looked for this far inside and outside the mesh's outline, metres.
_INSIDE_M, _OUTSIDE_M = 0.035, 0.085
_SEARCH_STEPS = 96
# Standard deviation of a matte's edge, metres.
_EDGE_STD_M = 0.0015
# The jaw's angles lie about this far above the tip of the chin, metres.
_JAW_HEIGHT_M = 0.02
# Expected displacement of each part, metres: bone is known from its landmarks, hair is not.
_PART_STD_M = {"scalp": 0.05, "ear": 0.012, "neck": 0.006}
# Collars, shoulders and long hair beside the neck are no neck: edges further out there are left alone, metres.
_NECK_REACH_M = 0.008
_OTHER_STD_M = 0.004
_FACE_CORE_STD_M = 0.0008
# Expected deviation of a vertex' displacement from the mean of its neighbours', metres.
_BEND_STD_M = 0.0015


@dataclass(frozen=True)
class RimRows:
    """What one frame's outline asks of the mesh: ``direction . displacement = distance_m`` for some vertices."""

    vertex: Int[np.ndarray, " row"]
    direction: Float[np.ndarray, "row 3"]
    distance_m: Float[np.ndarray, " row"]


class OutlineSolver:
    """Solves for the smooth displacement of a mesh that many outlines ask for.

    Source: own (linear least squares over rim vertices, bending energy of a displacement field).
    """

    def __init__(self, head: HeadModel, skin: Bool[Tensor, " face"]) -> None:
        """Prepare.

        Args:
            head: The head model of the fit.
            skin: True for the triangles of the outer skin.
        """
        self.count = len(head.template)
        self.triangle = head.triangle[skin]
        self.movable = vertices_above_cut(head).numpy()
        self.smooth = bending_energy(head.triangle.numpy(), self.count)
        self.std_m = displacement_std(head)
        reach = torch.full((self.count,), torch.inf)
        reach[head.template[:, 1] < chin_height_m(head) + _JAW_HEIGHT_M] = _NECK_REACH_M
        self.reach_m = reach

    def solve(self, rows: list[RimRows]) -> Float[Tensor, "vertex 3"]:
        """Displacement of every vertex, metres, neutral head axes."""
        weight = 1 / _EDGE_STD_M**2 / max(len(rows), 1)
        matrix = kron(
            self.smooth / _BEND_STD_M**2 + diags(1 / self.std_m**2), sparse_identity(3), "csc"
        )
        force = np.zeros((self.count, 3))
        blocks = np.zeros((self.count, 3, 3))
        for frame in rows:
            outer = frame.direction[:, :, None] * frame.direction[:, None]
            np.add.at(blocks, frame.vertex, weight * outer)
            np.add.at(force, frame.vertex, weight * frame.distance_m[:, None] * frame.direction)
        row = (3 * np.arange(self.count)[:, None, None] + np.arange(3)[:, None]) + np.zeros(3, int)
        column = np.swapaxes(row, 1, 2)
        data = coo_matrix((blocks.ravel(), (row.ravel(), column.ravel())), matrix.shape).tocsc()
        solved = splu(csc_matrix(matrix + data)).solve(force.ravel())
        return torch.from_numpy(solved.reshape(-1, 3)).float()

    def rim_rows(
        self,
        posed: PosedHead,
        alpha: Float[Tensor, "side side"],
        displacement: Float[Tensor, "vertex 3"],
    ) -> RimRows:
        """Rows of one frame.

        Args:
            posed: The head there, displaced already.
            alpha: The person's matte, 0..1.
            displacement: In neutral head axes, metres.
        """
        vertices = posed.vertices
        size = (alpha.shape[1], alpha.shape[0])
        drawn = depth_ranges(vertices, self.triangle, posed.intrinsics, size)
        mask = torch.isfinite(torch.minimum(drawn.front, drawn.back)).numpy()
        rim = self._rim(vertices, mask, posed.intrinsics)
        across = vertex_normals(vertices, self.triangle)[rim, :2]
        across = torch.nn.functional.normalize(across, dim=-1)
        pixel = project(vertices[rim], posed.intrinsics)
        px_per_m = posed.intrinsics[0, 0] / vertices[rim, 2]
        out_m = _edge_distance(alpha, pixel, across, px_per_m)
        found = out_m < self.reach_m[rim]
        direction = across @ posed.camera_from_head[:2, :3]
        # The row is about the whole displacement, not about what is missing of it.
        total = out_m + (direction * displacement[rim]).sum(-1)
        return RimRows(
            rim[found].numpy(),
            direction[found].double().numpy(),
            total[found].double().numpy(),
        )

    def _rim(self, vertices: Tensor, mask: np.ndarray, intrinsics: Tensor) -> Tensor:
        """Vertices where the surface turns away from the camera, on the outer silhouette."""
        corners = vertices[self.triangle]
        cross = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        towards = (cross * corners[:, 0]).sum(-1) < 0
        front = torch.zeros(self.count, dtype=torch.bool)
        back = torch.zeros_like(front)
        front[self.triangle[towards]] = True
        back[self.triangle[~towards]] = True
        rim = (front & back & torch.from_numpy(self.movable)).nonzero()[:, 0]
        pixel = project(vertices[rim], intrinsics)
        inside = np.asarray(distance_transform_edt(mask))
        x = pixel[:, 0].round().long().clamp(0, mask.shape[1] - 1).numpy()
        y = pixel[:, 1].round().long().clamp(0, mask.shape[0] - 1).numpy()
        size = torch.tensor([mask.shape[1], mask.shape[0]])
        visible = ((pixel > 1) & (pixel < size - 2)).all(1).numpy()
        return rim[torch.from_numpy((inside[y, x] <= _ON_RIM_PX + 1) & visible)]


def _edge_distance(
    alpha: Tensor, pixel: Tensor, across: Tensor, px_per_m: Tensor
) -> Float[Tensor, " rim"]:
    """How far outwards the matte's edge lies from each rim pixel, metres; infinite where there is none in reach."""
    along_m = torch.linspace(-_INSIDE_M, _OUTSIDE_M, _SEARCH_STEPS)
    places = pixel[:, None] + across[:, None] * (along_m[:, None] * px_per_m[:, None, None])
    size = places.new_tensor([alpha.shape[1], alpha.shape[0]])
    grid = (places + 0.5) * (2 / size) - 1
    value = torch.nn.functional.grid_sample(
        alpha[None, None], grid[None], align_corners=False, padding_mode="border"
    )[0, 0]
    inside_image = ((places > 0) & (places < size - 1)).all(-1)
    falls = (value[:, :-1] >= 0.5) & (value[:, 1:] < 0.5) & inside_image[:, 1:]
    step = along_m[1] - along_m[0]
    share = (value[:, :-1] - 0.5) / (value[:, :-1] - value[:, 1:]).clamp_min(1e-6)
    crossing = along_m[:-1] + share * step
    # The first edge that is met from the mesh's own outline, to either side.
    distance = torch.where(falls, crossing.abs(), torch.inf)
    best = distance.argmin(1, keepdim=True)
    found = torch.isfinite(distance.gather(1, best)[:, 0])
    return torch.where(found, crossing.gather(1, best)[:, 0], torch.inf)


def displacement_std(head: HeadModel) -> Float[np.ndarray, " vertex"]:
    """Expected size of each vertex' displacement, metres."""
    std = np.full(len(head.template), _OTHER_STD_M)
    for part, value in _PART_STD_M.items():
        if part in head.part_name:
            std[head.part_vertices(part).numpy()] = value
    inner = ["lips", "eye_left", "eye_right", "teeth", "tongue", "mouth_cavity"]
    held = head.part_vertices(*[part for part in inner if part in head.part_name])
    std[held.numpy()] = _FACE_CORE_STD_M
    return std
