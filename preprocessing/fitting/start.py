"""Where a face fit starts: head poses by scaled orthography, gaps bridged, keyframes, the focal length expected."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from artifacts.errors import InputError
from head_geometry.rotations import axis_angle_from_matrix
from preprocessing.fitting.model import FRONTAL, FitState, LandmarkModel

# Hand-held phones to long lenses on a news stand: a horizontal angle of view of about 37 degrees.
FOCAL_OVER_LONG_SIDE = 1.5


def start_state(
    model: LandmarkModel,
    points: Float[Tensor, "frame landmark 2"],
    valid: Bool[Tensor, " frame"],
    centre: Float[Tensor, "2"],
    log_focal: Float[Tensor, ""],
) -> FitState:
    """Mean head, neutral expression, and each frame's pose under scaled orthography.

    Raises:
        InputError: no frame is valid.

    Source: affine camera factorised to a rotation (e.g. Hartley and Zisserman, section 6.3).
    """
    if not bool(valid.any()):
        raise InputError("no frame has landmarks: the clip shows no face that can be fitted")
    weight = model.weight[: len(model.index)]
    weight = (weight / weight.sum())[:, None]
    head_centre = (weight * model.mean).sum(0)
    image_centre = (weight * points).sum(1)
    head = model.mean - head_centre
    inverse = torch.linalg.solve(head.T @ (weight * head), (weight * head).T)
    affine = ((points - image_centre[:, None]).mT @ inverse.T).nan_to_num()
    u, size, vh = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ vh
    rotation = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
    depth = torch.exp(log_focal) / size.mean(1).clamp_min(1e-6)
    camera_centre = torch.cat(
        [(image_centre - centre) * (depth / torch.exp(log_focal))[:, None], depth[:, None]], 1
    )
    frame = torch.zeros(len(points), model.unknowns, dtype=torch.float64)
    frame[:, -6:-3] = axis_angle_from_matrix(rotation @ FRONTAL)
    frame[:, -3:] = camera_centre - rotation @ head_centre
    frame = bridge_gaps(frame, valid)
    return FitState(
        identity=torch.zeros(len(model.identity), dtype=torch.float64),
        log_focal=log_focal.clone(),
        offset=torch.zeros(len(model.index), 3, dtype=torch.float64),
        frame=frame,
    )


def bridge_gaps(
    rows: Float[Tensor, "frame unknown"], valid: Bool[Tensor, " frame"]
) -> Float[Tensor, "frame unknown"]:
    """``rows`` with those that are not valid interpolated linearly between the valid ones."""
    index = np.arange(len(rows))
    known = index[valid.numpy()]
    bridged = [np.interp(index, known, column[known]) for column in rows.numpy().T]
    return torch.from_numpy(np.stack(bridged, 1))


def choose_keyframes(valid: Bool[Tensor, " frame"], count: int) -> Int[Tensor, " chosen"]:
    """At most ``count`` valid frames, evenly spread over the clip."""
    frames = valid.nonzero()[:, 0]
    if len(frames) <= count:
        return frames
    places = torch.linspace(0, len(frames) - 1, count, dtype=torch.float64).round().long()
    return frames[places]


def source_camera(
    source_from_crop: Float[np.ndarray, "3 3"],
    source_size: tuple[int, int],
    focal_over_long_side: float = FOCAL_OVER_LONG_SIDE,
) -> tuple[Float[Tensor, "2"], float]:
    """Principal point in crop pixels, and the focal length to expect there.

    The lens looks through the middle of the whole source image, not through the middle of the crop.

    Args:
        source_from_crop: Homogeneous similarity, pixels.
        source_size: Width, height of the source, pixels.
        focal_over_long_side: Focal length over the longer side of the source.
    """
    width, height = source_size
    middle = np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
    crop = np.linalg.solve(source_from_crop, middle)
    scale = float(np.sqrt(abs(np.linalg.det(source_from_crop[:2, :2]))))
    focal = focal_over_long_side * max(width, height) / scale
    return torch.from_numpy(crop[:2] / crop[2]), focal
