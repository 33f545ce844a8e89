"""Expression and pose distances between two fits of the same frames. Every variant has its own name.

The field reports an "AED" and an "APD" that differ in four choices (with or without translation, mean or
sum over dimensions, L1 or RMSE, which estimator). The names here state the first three; the estimator is
this project's landmark fit (``preprocessing.face_fit``), so the numbers compare within a table only.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

# Rotation of a head that looks straight into the camera (head axes to OpenCV camera axes).
FRONTAL = np.diag([1.0, -1.0, -1.0])

Coefficients = Float[np.ndarray, "frame coefficient"]
Poses = Float[np.ndarray, "frame 4 4"]


def expression_distances(first: Coefficients, second: Coefficients) -> dict[str, np.ndarray]:
    """Distances of expression coefficients in each frame (1 is the full action).

    Returns:
        ``aed_l1_mean``, ``aed_l1_sum`` and ``aed_rmse``, each (frame,).
    """
    difference = np.abs(first.astype(np.float64) - second)
    return {
        "aed_l1_mean": difference.mean(-1),
        "aed_l1_sum": difference.sum(-1),
        "aed_rmse": np.sqrt((difference**2).mean(-1)),
    }


def pose_distances(first: Poses, second: Poses) -> dict[str, np.ndarray]:
    """Distances of head poses (``camera_from_head``, metres, OpenCV camera axes) in each frame.

    Returns:
        ``apd_rotation_l1_rad``: mean over the three components of the rotation vector from the frontal
        view; ``apd_rotation_l1_sum_rad``: their sum; ``apd_euler_l1_rad``: mean over pitch, yaw and roll;
        ``apd_geodesic_rad``: angle of the rotation between the two; ``apd_translation_l1_m``: mean over x, y, z;
        ``apd_pose6_l1``: mean over the rotation vector (rad) and the translation (m) together. Each (frame,).
    """
    rotations = [Rotation.from_matrix(FRONTAL @ poses[:, :3, :3]) for poses in (first, second)]
    vectors = [rotation.as_rotvec() for rotation in rotations]
    angles = [rotation.as_euler("XYZ") for rotation in rotations]
    turned = np.abs(vectors[0] - vectors[1])
    moved = np.abs(first[:, :3, 3] - second[:, :3, 3])
    return {
        "apd_rotation_l1_rad": turned.mean(-1),
        "apd_rotation_l1_sum_rad": turned.sum(-1),
        "apd_euler_l1_rad": np.abs(angles[0] - angles[1]).mean(-1),
        "apd_geodesic_rad": (rotations[0].inv() * rotations[1]).magnitude(),
        "apd_translation_l1_m": moved.mean(-1),
        "apd_pose6_l1": np.concatenate([turned, moved], -1).mean(-1),
    }
