"""Places by what the fit says of a frame: its lips, which a sound can tell, and what it shows beside them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from avatar_models.dataset import DrivingClip
from avatar_models.driving_signals import Driving
from avatar_models.hfa_gp.drivers import mean_and_deviation
from avatar_models.triplane.layers import EqualisedLinear

# Principal shapes of the lips: eight hold 99.5 % of the variance of the fitted lips on obama_20s, 99.6 % on may_5s.
LIP_SHAPES = 8
# Of a pose: the rows of a rigid motion.
POSE_NUMBERS = 12
# Share of a number's variance that a fit from few frames takes for noise.
_RIDGE = 0.01
# Frames whose meshes are held at a time.
_CHUNK = 64
# A number that moves less in the training frames (radians, metres) is not blown up when it moves more.
_SMALLEST_STD = 2e-3
# Shapes that move the lips less (metres, root of the sum over all entries) are noise of the computation.
_SMALLEST_SHAPE_M = 1e-5
# Poses beyond those of the training, such as a turn to the side, are taken for ones so many standard deviations out.
_FURTHEST = 2.0
# As are lips beyond them.
_FURTHEST_LIPS = 3.0


class LipPlaces(nn.Module):
    """A linear map from what the fit says of a frame to its place in the subspace.

    A sound says something of the lips and nothing of lids, brows, neck and gaze, but eighteen seconds of it are unique
    enough to know each frame by: a driver that is taught by pixels learns all of these by heart, and moves the whole head
    by another sound. So training frames are drawn by their fit, and the driver by sound is taught the lips alone. When
    rendering, the lips are the sound's; head pose, neck and gaze are given; lids and brows are at the mean of the training
    frames. (The pose: what is wrong with a fit changes with it.)

    Args:
        n_codes: Length of the driving code.
        n_directions: Of the subspace.

    Attributes:
        code_mean: Mean of the training frames' driving code (coefficients, radians) and pose (rows of the rigid motion from
            head to OpenCV camera axes, metres), (number,).
        code_std: Deviation of the same.
        is_given: True for those of these numbers that are read when rendering.
        lip_share: Share of each principal shape in the lips' variance, times the number of shapes.

    Source: own; that a sound is first turned into a face model's numbers, as in audio-driven 3DMM systems.
    """

    code_mean: Tensor
    code_std: Tensor
    is_given: Tensor
    lip_share: Tensor

    def __init__(self, n_codes: int, n_directions: int) -> None:
        super().__init__()
        n_beside = n_codes + POSE_NUMBERS
        self.linear = EqualisedLinear(LIP_SHAPES + n_beside, n_directions)
        self.linear.weight.data.zero_()
        self.register_buffer("code_mean", torch.zeros(n_beside))
        self.register_buffer("code_std", torch.ones(n_beside))
        self.register_buffer("is_given", torch.zeros(n_beside, dtype=torch.bool))
        self.register_buffer("lip_share", torch.ones(LIP_SHAPES))

    def forward(self, numbers: Float[Tensor, "n number"]) -> Float[Tensor, "n direction"]:
        """Places of training frames.

        Args:
            numbers: Of the frames, from :meth:`measure`.
        """
        return self.linear(numbers)

    def lip_error(
        self, told: Float[Tensor, "n shape"], numbers: Float[Tensor, "n number"]
    ) -> Float[Tensor, ""]:
        """How far lips are from those of training frames: mean squared distance, as a share of how far these move.

        Each shape counts as much as it moves the lips: the small ones, of which a sound says little, are else learnt by
        heart as eagerly as the opening. (Four blocks of the training frames of obama_20s left out in turn: error of the
        lips .80 of their movement instead of .96; ``benchmarks/sound_lips.py``.)

        Args:
            told: What a driver takes for the lips.
            numbers: Of the frames, from :meth:`measure`.
        """
        return (self.lip_share * (told - lips_of(numbers)).square()).mean()

    def of_moment(
        self, lips: Float[Tensor, " shape"], driving: Driving
    ) -> Float[Tensor, " direction"]:
        """Place of a moment that is rendered.

        Args:
            lips: Their principal shapes, in standard deviations of the training frames.
            driving: Of its driving code, only joints but the jaw are read.
        """
        code = _with_pose(driving.code[None], driving.camera_from_head[None])[0]
        given = ((code - self.code_mean) / self.code_std).clamp(-_FURTHEST, _FURTHEST)
        beside = torch.where(self.is_given, given, 0)
        lips = lips.clamp(-_FURTHEST_LIPS, _FURTHEST_LIPS)
        return self.linear(torch.cat([lips, beside]))

    @torch.no_grad()
    def measure(
        self, clip: DrivingClip, frames: Int[Tensor, " frame"]
    ) -> Float[Tensor, "frame number"]:
        """Take the statistics of training frames.

        Args:
            clip: The fit.
            frames: Which of its frames.

        Returns:
            Of each frame the principal shapes of the lips (:func:`lips_of`), then driving code and pose, all in standard
            deviations; expressions without what goes along with the shape of the lips in these frames.

        Source: own; residual of a linear regression on the lips' principal shapes.
        """
        code = _with_pose(clip.code[frames], clip.camera_from_head[frames])
        mean, deviation = mean_and_deviation(code, _SMALLEST_STD)
        self.code_mean.copy_(mean)
        self.code_std.copy_(deviation)
        self.is_given.copy_(_given(clip))
        codes = (code - mean) / deviation
        lips, share = _principal_shapes(clip, frames)
        self.lip_share.copy_(share)
        along = lips @ (lips.mT @ codes) / len(frames)
        return torch.cat([lips, torch.where(self.is_given, codes, codes - along)], 1)

    def of_expression(self, numbers: Float[Tensor, "n number"]) -> Float[Tensor, "n direction"]:
        """Places of the expressions alone, without what is given.

        Where the places of expressions are known, nothing given explains them: who raises the head when he opens the mouth
        would else be taught to open it by raising the head.
        """
        return self.linear(self._ungiven(numbers))

    @torch.no_grad()
    def start_at(
        self, numbers: Float[Tensor, "frame number"], places: Float[Tensor, "frame direction"]
    ) -> None:
        """Begin with the linear map of expressions that is nearest to known places of some frames.

        Args:
            numbers: Of the frames, from :meth:`measure`.
            places: Theirs.
        """
        size = numbers.shape[1]
        codes = self._ungiven(numbers)
        moments = codes.mT @ codes / len(codes) + _RIDGE * torch.eye(size).to(codes)
        nearest = torch.linalg.solve(moments, codes.mT @ places / len(codes))
        self.linear.weight.copy_(nearest.mT * size**0.5)

    def _ungiven(self, numbers: Float[Tensor, "n number"]) -> Float[Tensor, "n number"]:
        beside = torch.where(self.is_given, 0, numbers[:, LIP_SHAPES:])
        return torch.cat([lips_of(numbers), beside], 1)


def lips_of(numbers: Float[Tensor, "n number"]) -> Float[Tensor, "n shape"]:
    """The lips' principal shapes among the numbers of :meth:`LipPlaces.measure`."""
    return numbers[:, :LIP_SHAPES]


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


def _principal_shapes(
    clip: DrivingClip, frames: Int[Tensor, " frame"]
) -> tuple[Float[Tensor, "frame shape"], Float[Tensor, " shape"]]:
    """Amounts of the principal shapes of the lips, in standard deviations; 0 for shapes that these frames do not show.

    And how much of the lips' variance each is, 1 on average.
    """
    lips = torch.cat([fitted_lips(clip, some) for some in frames.split(_CHUNK)])
    shapes, deviation, axes = torch.linalg.svd(lips - lips.mean(0), full_matrices=False)
    # Signs are a matter of chance of the computation, and a training may go on from its checkpoint on another machine: the
    # largest entry is taken to be positive.
    shapes = shapes * torch.sign(axes.gather(1, axes.abs().argmax(1, keepdim=True)))[:, 0]
    deviation = deviation / len(frames) ** 0.5
    count = int((deviation[:LIP_SHAPES] > _SMALLEST_SHAPE_M).sum())
    found, share = lips.new_zeros(len(frames), LIP_SHAPES), lips.new_zeros(LIP_SHAPES)
    found[:, :count] = shapes[:, :count] * len(frames) ** 0.5
    variance = deviation[:count].square()
    share[:count] = LIP_SHAPES * variance / variance.sum().clamp_min(torch.finfo().tiny)
    return found, share


def fitted_lips(clip: DrivingClip, frames: Int[Tensor, " frame"]) -> Float[Tensor, "frame entry"]:
    """Coordinates of the lips as expression and jaw shape them, metres: neck and head do not move them within the face."""
    jaw = clip.head_model.jaw_joints
    joints = torch.zeros_like(clip.joint_rotation[frames])
    joints[:, jaw] = clip.joint_rotation[frames][:, jaw]
    vertices = clip.head_model.vertices(clip.identity, clip.expression[frames], joints)
    points = clip.head_model.landmark_points(vertices, clip.landmark_set)
    return points[:, list(clip.landmark_set.lips)].flatten(1)
