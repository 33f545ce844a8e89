"""The driving signals of one frame."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Driving:
    """The driving signals of one frame: everything a model may read about a frame it renders.

    All come from the ``face_fit`` artifact; none is a pixel. ``torso_from_reference`` is tracked from
    pixels, like the head's pose, and is a driving signal like it.
    """

    frame: int
    """Index in the driving clip."""
    vertices: Float[Tensor, "vertex 3"]
    """Posed head vertices; head axes, metres."""
    displacement: Float[Tensor, "vertex 3"]
    """Posed minus neutral vertices; head axes, metres."""
    code: Float[Tensor, " code"]
    """Expression coefficients, then the axis-angle of every joint (radians)."""
    camera_from_head: Float[Tensor, "4 4"]
    """Rigid motion from head axes to OpenCV camera axes, metres."""
    intrinsics: Float[Tensor, "3 3"]
    """Pinhole matrix in pixels of ``image_size``."""
    image_size: tuple[int, int]
    """Width, height of the image to make, pixels."""
    landmarks: Float[Tensor, "landmark 2"]
    """Projected landmarks of the fit, pixels of ``image_size``."""
    torso_from_reference: Float[Tensor, "3 3"]
    """Similarity from torso pixels of the reference frame to this frame, pixels of ``image_size``."""
