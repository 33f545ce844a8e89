"""What a frame shows beside the lips: a sound says nothing of it, and is not to learn it by heart."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from avatar_models.dataset import DrivingClip
from avatar_models.driving_signals import Driving
from avatar_models.hfa_gp.drivers import mean_and_deviation
from avatar_models.triplane.layers import EqualisedLinear

# Principal shapes of the lips: eight hold 99.5 % of the variance of the fitted lips on obama_20s, 99.6 % on may_5s.
_LIP_SHAPES = 8
# Share of a number's variance that a fit from few frames takes for noise.
_RIDGE = 0.01
# Frames whose meshes are held at a time.
_CHUNK = 64
# Of a pose: the rows of a rigid motion.
POSE_NUMBERS = 12
# A number that moves less in the training frames (radians, metres) is not blown up when it moves more.
_SMALLEST_STD = 2e-3
# Poses beyond those of the training, such as a turn to the side, are taken for ones so many standard deviations out.
_FURTHEST = 2.0


class BesideLips(nn.Module):
    """Part of a frame's place that its sound does not have to explain.

    A clip's lids, brows, neck and gaze differ from frame to frame, and eighteen seconds of sound are unique enough to know
    each frame by. Without this, the driver by sound learns them by heart, and moves the whole head by another sound. In
    training, the fit says what a frame shows beside the lips. When rendering, head pose, neck and gaze are given; lids and
    brows are at the mean of the training frames. (The pose: what is wrong with a fit changes with it.)

    Args:
        n_codes: Length of the driving code.
        n_directions: Of the subspace.

    Attributes:
        code_mean: Mean of the training frames' driving code (coefficients, radians) and pose (rows of the rigid motion from
            head to OpenCV camera axes, metres), (number,).
        code_std: Deviation of the same.
        is_given: True for numbers that are read when rendering.

    Source: own; as the latent codes of frames in NeRF-W (Martin-Brualla et al. 2021), section 4.1, but from the fit.
    """

    code_mean: Tensor
    code_std: Tensor
    is_given: Tensor

    def __init__(self, n_codes: int, n_directions: int) -> None:
        super().__init__()
        n_numbers = n_codes + POSE_NUMBERS
        self.linear = EqualisedLinear(n_numbers, n_directions)
        self.linear.weight.data.zero_()
        self.register_buffer("code_mean", torch.zeros(n_numbers))
        self.register_buffer("code_std", torch.ones(n_numbers))
        self.register_buffer("is_given", torch.zeros(n_numbers, dtype=torch.bool))

    def forward(self, codes: Float[Tensor, "n code"]) -> Float[Tensor, "n direction"]:
        """What to add to the places of training frames.

        Args:
            codes: Of the frames, from :meth:`measure`.
        """
        return self.linear(codes)

    def of_moment(self, driving: Driving) -> Float[Tensor, " direction"]:
        """What to add to a place when rendering; of the driving code, only joints but the jaw are read."""
        code = _with_pose(driving.code[None], driving.camera_from_head[None])[0]
        given = ((code - self.code_mean) / self.code_std).clamp(-_FURTHEST, _FURTHEST)
        return self.linear(torch.where(self.is_given, given, 0))

    @torch.no_grad()
    def measure(
        self, clip: DrivingClip, frames: Int[Tensor, " frame"]
    ) -> Float[Tensor, "frame code"]:
        """Take the statistics of training frames.

        Args:
            clip: The fit.
            frames: Which of its frames.

        Returns:
            Driving codes and poses of the frames in standard deviations; expressions without what goes along with the shape
            of the lips in these frames.

        Source: own; residual of a linear regression on the lips' principal shapes.
        """
        code = _with_pose(clip.code[frames], clip.camera_from_head[frames])
        mean, deviation = mean_and_deviation(code, _SMALLEST_STD)
        self.code_mean.copy_(mean)
        self.code_std.copy_(deviation)
        self.is_given.copy_(_given(clip))
        codes = (code - mean) / deviation
        lips = torch.cat([_lips(clip, some) for some in frames.split(_CHUNK)])
        shapes = torch.linalg.svd(lips - lips.mean(0), full_matrices=False)[0][:, :_LIP_SHAPES]
        return torch.where(self.is_given, codes, codes - shapes @ (shapes.mT @ codes))

    def of_expression(self, codes: Float[Tensor, "n code"]) -> Float[Tensor, "n direction"]:
        """What expressions alone add, without what is given.

        Where the places of expressions are known, nothing given explains them: who raises the head when he opens the mouth
        would else be taught to open it by raising the head.
        """
        return self.linear(torch.where(self.is_given, 0, codes))

    @torch.no_grad()
    def start_at(
        self, codes: Float[Tensor, "frame code"], places: Float[Tensor, "frame direction"]
    ) -> None:
        """Begin with the linear map of expressions that is nearest to known places of some frames.

        Args:
            codes: Of the frames, from :meth:`measure`.
            places: Theirs.
        """
        size = codes.shape[1]
        codes = torch.where(self.is_given, 0, codes)
        moments = codes.mT @ codes / len(codes) + _RIDGE * torch.eye(size).to(codes)
        nearest = torch.linalg.solve(moments, codes.mT @ places / len(codes))
        self.linear.weight.copy_(nearest.mT * size**0.5)


def _with_pose(
    code: Float[Tensor, "n code"], camera_from_head: Float[Tensor, "n 4 4"]
) -> Float[Tensor, "n number"]:
    """The driving codes, and behind them the rows of the rigid motions."""
    return torch.cat([code, camera_from_head[:, :3].flatten(1)], 1)


def _given(clip: DrivingClip) -> Bool[Tensor, " number"]:
    """True for all but expressions and the jaw, which opens the mouth."""
    expressions = torch.zeros(clip.expression.shape[1], dtype=torch.bool)
    joints = torch.ones(len(clip.head_model.joint_name), dtype=torch.bool)
    joints[clip.head_model.jaw_joints] = False
    pose = torch.ones(POSE_NUMBERS, dtype=torch.bool)
    return torch.cat([expressions, joints.repeat_interleave(3), pose])


def _lips(clip: DrivingClip, frames: Int[Tensor, " frame"]) -> Float[Tensor, "frame entry"]:
    """Lips as expression and jaw shape them: neck and head do not move them within the face."""
    jaw = clip.head_model.jaw_joints
    joints = torch.zeros_like(clip.joint_rotation[frames])
    joints[:, jaw] = clip.joint_rotation[frames][:, jaw]
    vertices = clip.head_model.vertices(clip.identity, clip.expression[frames], joints)
    points = clip.head_model.landmark_points(vertices, clip.landmark_set)
    return points[:, list(clip.landmark_set.lips)].flatten(1)
