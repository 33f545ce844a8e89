"""A head's motion as other tools record it, brought to an even frame rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation, Slerp

from artifacts.errors import InputError

# Between recorded frames further apart than this, the motion is guessed and marked as such (second).
LONGEST_GAP_S = 0.25
# Recordings reach this few frames at least.
FEWEST_FRAMES = 2


@dataclass(frozen=True)
class Motion:
    """Recorded frames, in order of time.

    Attributes:
        time_s: From the first frame on, increasing.
        valid: False where the face was not tracked (the other arrays are then without meaning).
        expression_name: Names of the coefficients.
        expression: Coefficients, 1 is the full action.
        rotation: Rotation from head axes to OpenCV camera axes.
        translation_m: The head's place in camera axes, metres.
        joint_rotation: Rotation of joints against the head, by name.
    """

    time_s: Float[np.ndarray, " frame"]
    valid: Bool[np.ndarray, " frame"]
    expression_name: tuple[str, ...]
    expression: Float[np.ndarray, "frame expression"]
    rotation: Float[np.ndarray, "frame 3 3"]
    translation_m: Float[np.ndarray, "frame 3"]
    joint_rotation: dict[str, Float[np.ndarray, "frame 3 3"]]


def resample(motion: Motion, rate_hz: float) -> Motion:
    """The motion at an even rate: linear between frames, rotations along the shortest turn.

    Frames whose neighbours among the tracked ones lie more than a quarter of a second apart are marked as not valid.

    Args:
        motion: At least two tracked frames.
        rate_hz: Frames per second wanted.

    Raises:
        InputError: fewer than two tracked frames, or times that do not increase.
    """
    known = np.flatnonzero(motion.valid)
    if len(known) < FEWEST_FRAMES:
        raise InputError(
            f"only {len(known)} frames of the recording show a tracked face; record at least two"
        )
    times = motion.time_s[known]
    if not (np.diff(times) > 0).all():
        raise InputError("the recording's times do not increase; export it again")
    count = int(np.floor((times[-1] - times[0]) * rate_hz + 1e-6)) + 1
    wanted = np.minimum(times[0] + np.arange(count) / rate_hz, times[-1])
    after = np.searchsorted(times, wanted).clip(1, len(times) - 1)
    between = times[after] - times[after - 1] <= LONGEST_GAP_S
    exact = np.isclose(wanted, times[after]) | np.isclose(wanted, times[after - 1])

    def blend(rows: Float[np.ndarray, "frame column"]) -> Float[np.ndarray, "even column"]:
        columns = [np.interp(wanted, times, column) for column in rows[known].T]
        return np.stack(columns, axis=1) if columns else np.zeros((count, 0))

    def turn(matrices: Float[np.ndarray, "frame 3 3"]) -> Float[np.ndarray, "even 3 3"]:
        return Slerp(times, Rotation.from_matrix(matrices[known]))(wanted).as_matrix()

    return Motion(
        time_s=np.arange(count) / rate_hz,
        valid=between | exact,
        expression_name=motion.expression_name,
        expression=blend(motion.expression),
        rotation=turn(motion.rotation),
        translation_m=blend(motion.translation_m),
        joint_rotation={name: turn(rows) for name, rows in motion.joint_rotation.items()},
    )
