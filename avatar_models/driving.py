"""What drives a render: the subject's own held-out frames, a camera around it, another subject, or a sound alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avatar_models.dataset import DrivingClip, evenly_spaced
from avatar_models.driver_media import DriverMedia
from avatar_models.driving_signals import Driving
from head_geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle

ORBIT_YAW_RAD = np.radians(30)
ORBIT_PITCH_RAD = np.radians(8)
# Pictures of another person that say how he looks on the whole.
DRIVER_PICTURES = 16


@dataclass(frozen=True)
class RestPose:
    """The neutral of a clip, relative to which another subject's motion is taken.

    Attributes:
        expression: Median coefficients.
        joint_rotation: Median axis-angle of each joint, radians.
        camera_from_head: Mean rotation and median place.
        frame: The valid frame whose head rotation is nearest to the mean.
    """

    expression: Float[Tensor, " expression"]
    joint_rotation: Float[Tensor, "joint 3"]
    camera_from_head: Float[Tensor, "4 4"]
    frame: int


def rest_pose(clip: DrivingClip) -> RestPose:
    """Neutral expression and pose of a clip, from its valid frames (from all where none is)."""
    frames = clip.usable_frames
    chosen = frames.to(clip.device)
    camera = clip.camera_from_head[chosen]
    u, _, vh = torch.linalg.svd(camera[:, :3, :3].sum(0))
    # A proper rotation even where the sum is nearly singular.
    flip = torch.diag(torch.tensor([1.0, 1.0, float(torch.sign(torch.linalg.det(u @ vh)))]))
    mean = u @ flip.to(u) @ vh
    camera_from_head = torch.eye(4, device=clip.device)
    camera_from_head[:3, :3] = mean
    camera_from_head[:3, 3] = camera[:, :3, 3].median(0).values
    angle = torch.linalg.vector_norm(axis_angle_from_matrix(mean.mT @ camera[:, :3, :3]), dim=-1)
    return RestPose(
        clip.expression[chosen].median(0).values,
        clip.joint_rotation[chosen].median(0).values,
        camera_from_head,
        int(frames[int(angle.argmin())]),
    )


def self_driving(clip: DrivingClip, frames: np.ndarray) -> Iterator[Driving]:
    """The clip's own signals in ``frames``."""
    for frame in frames:
        yield clip.driving(int(frame))


def orbit_driving(clip: DrivingClip, n_frames: int) -> Iterator[Driving]:
    """The rest expression, seen by a camera that swings 30° to both sides and 8° up and down.

    The camera moves around the head's middle; the torso's similarity stays that of the rest frame, which
    no longer fits, so the renderer shows the head alone. A picture or sound is that of the rest frame.
    """
    rest = rest_pose(clip)
    middle = clip.neutral.mean(0)
    torso = clip.torso_from_reference[rest.frame]
    for index in range(n_frames):
        phase = 2 * np.pi * index / n_frames
        angles = (ORBIT_PITCH_RAD * np.sin(2 * phase), ORBIT_YAW_RAD * np.sin(phase))
        yaw = matrix_from_axis_angle(torch.tensor([0.0, angles[1], 0.0], device=clip.device))
        pitch = matrix_from_axis_angle(torch.tensor([angles[0], 0.0, 0.0], device=clip.device))
        turn = torch.eye(4, device=clip.device)
        turn[:3, :3] = pitch @ yaw
        turn[:3, 3] = middle - turn[:3, :3] @ middle
        camera = rest.camera_from_head @ turn
        driving = clip.pose(rest.frame, rest.expression, rest.joint_rotation, camera, torso)
        yield clip.media.add_to(driving, rest.frame)


def cross_driving(
    subject: DrivingClip, driver: DrivingClip, frames: np.ndarray
) -> Iterator[Driving]:
    """Another subject's motion, each taken relative to its own rest pose.

    Expression and joints: the subject's rest plus the driver's change, within the head model's limits.
    Head: the driver's turn from its rest (in head axes) and its shift in metres. Torso: the driver's motion
    from its rest frame, in shares of the image, on top of the subject's place at rest. Picture: the driver's, and
    others spread over his clip beside it. Sound: the driver's, as it is.

    Args:
        subject: Whose avatar it is; both clips at the avatar's image size.
        driver: Who moves; fitted with the same head model.
        frames: Frames of the driver.
    """
    own, other = rest_pose(subject), rest_pose(driver)
    limits = subject.head_model.expression_lower, subject.head_model.expression_upper
    torso_at_rest = subject.torso_from_reference[own.frame]
    driver_at_rest = torch.linalg.inv(driver.torso_from_reference[other.frame])
    pictures = None
    if driver.media.pictures is not None:
        spread = evenly_spaced(driver.usable_frames, DRIVER_PICTURES)
        pictures = driver.media.pictures.some(spread)
    for frame in frames.tolist():
        change = driver.expression[frame] - other.expression
        expression = (own.expression + change).clamp(*limits)
        joints = own.joint_rotation + driver.joint_rotation[frame] - other.joint_rotation
        moved = driver.camera_from_head[frame]
        camera = torch.eye(4, device=subject.device)
        camera[:3, :3] = own.camera_from_head[:3, :3] @ (
            other.camera_from_head[:3, :3].mT @ moved[:3, :3]
        )
        camera[:3, 3] = own.camera_from_head[:3, 3] + moved[:3, 3] - other.camera_from_head[:3, 3]
        torso = driver.torso_from_reference[frame] @ driver_at_rest @ torso_at_rest
        driving = subject.pose(own.frame, expression, joints, camera, torso)
        driving = replace(driving, frame=frame, driver_pictures=pictures)
        yield driver.media.add_to(driving, frame)


def navigation_driving(
    clip: DrivingClip, n_directions: int, amounts: Sequence[float]
) -> Iterator[Driving]:
    """The rest frame while a model moves along each axis of its subspace, one after the other.

    Args:
        clip: Whose avatar it is.
        n_directions: Of the model.
        amounts: Places along each axis, standard deviations of the training.
    """
    rest = clip.tracked(rest_pose(clip).frame)
    for direction in range(n_directions):
        for amount in amounts:
            place = torch.zeros(n_directions, device=clip.device)
            place[direction] = amount
            yield replace(rest, navigation=place)


def there_and_back(n_frames: int, count: int) -> np.ndarray:
    """``count`` frames of a clip of ``n_frames``: in order up to its end, back to its beginning, and so on."""
    turn = np.concatenate([np.arange(n_frames), np.arange(n_frames - 2, 0, -1)])
    return turn[np.arange(count) % len(turn)]


def sound_driving(subject: DrivingClip, sound: DriverMedia, count: int) -> Iterator[Driving]:
    """A sound alone moves the face; head and torso move as in the subject's own clip, there and back.

    Expression and jaw of the fit stay at the subject's rest, so that nothing of the face comes from the clip.

    Args:
        subject: Whose avatar it is.
        sound: What is heard.
        count: Frames that it lasts.
    """
    rest = rest_pose(subject)
    # A head model may open its mouth with a joint (FLAME's).
    jaw = subject.head_model.jaw_joints
    for index, frame in enumerate(there_and_back(subject.n_frames, count).tolist()):
        joints = subject.joint_rotation[frame].clone()
        joints[jaw] = rest.joint_rotation[jaw]
        driving = subject.pose(
            index,
            rest.expression,
            joints,
            subject.camera_from_head[frame],
            subject.torso_from_reference[frame],
        )
        yield sound.add_to(driving, index)
