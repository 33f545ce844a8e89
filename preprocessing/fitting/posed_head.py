"""The whole mesh in the frames of a fit, in camera axes and in pictures of a working size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from head_geometry.head_model import HeadModel
from head_geometry.head_region import head_region
from head_geometry.rasteriser import depth_ranges
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing.fitting.model import FRONTAL, FitState, LandmarkModel, turn_axis_angle


@dataclass(frozen=True)
class PosedHead:
    """A head in one frame.

    Attributes:
        vertices: Posed, camera axes, metres.
        camera_from_head: Rigid motion, metres.
        intrinsics: Pixels of the picture.
        state: The frame's unknowns (one row), float32, focal length in pixels of the picture.
    """

    vertices: Float[Tensor, "vertex 3"]
    camera_from_head: Float[Tensor, "4 4"]
    intrinsics: Float[Tensor, "3 3"]
    state: FitState


@dataclass(frozen=True)
class Poser:
    """Poses a subject's head as a fit says.

    Attributes:
        head: The subject's own head model, float32, on the device to work on.
        model: Its landmarks; says what the unknowns of a frame mean.
        centre: Principal point in stored pixels.
        zoom: Working pixels per stored pixel.
    """

    head: HeadModel
    model: LandmarkModel
    centre: Float[Tensor, "2"]
    zoom: float

    def pose(self, state: FitState, frame: int) -> PosedHead:
        """The head in one frame of a state."""
        device = self.head.template.device
        one = state.select(slice(frame, frame + 1)).to(device, torch.float32)
        one.log_focal = one.log_focal + math.log(self.zoom)
        n = self.model.expressions
        angles = one.frame[:, n : n + self.model.turn_unknowns]
        joints = one.frame.new_zeros(1, len(self.head.joint_name), 3)
        for turn in self.model.turns:
            joints[:, turn.joint] = turn_axis_angle(turn, angles)
        vertices = self.head.vertices(one.identity, one.frame[:, :n], joints)[0]
        matrix = torch.eye(4, device=device)
        matrix[:3, :3] = matrix_from_axis_angle(one.frame[0, -6:-3]) @ FRONTAL.to(one.frame)
        matrix[:3, 3] = one.frame[0, -3:]
        intrinsics = torch.eye(3, device=device)
        intrinsics[0, 0] = intrinsics[1, 1] = torch.exp(one.log_focal)
        # Pixel centres are integers: the half pixel moves with the size.
        intrinsics[:2, 2] = (self.centre.to(one.frame) + 0.5) * self.zoom - 0.5
        return PosedHead(vertices @ matrix[:3, :3].mT + matrix[:3, 3], matrix, intrinsics, one)


def outline_iou(head: HeadModel, posed: PosedHead, alpha: Float[Tensor, "side side"]) -> float:
    """Intersection over union of the posed mesh and the person's matte, on the head's side of the neck cut.

    Args:
        head: The subject's own head model.
        posed: It in the frame.
        alpha: The person's matte, 0..1.

    Source: own.
    """
    size = (alpha.shape[1], alpha.shape[0])
    drawn = depth_ranges(posed.vertices, head.triangle, posed.intrinsics, size)
    mesh = torch.isfinite(torch.minimum(drawn.front, drawn.back))
    in_head = (posed.vertices - posed.camera_from_head[:3, 3]) @ posed.camera_from_head[:3, :3]
    region = head_region(head, in_head, posed.camera_from_head, posed.intrinsics, size) > 0.5
    mesh, person = mesh & region, (alpha > 0.5) & region
    return float((mesh & person).sum() / (mesh | person).sum().clamp_min(1))
