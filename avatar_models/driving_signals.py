"""The driving signals of one frame."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

PICTURE_SIDE = 256
"""Width and height of a driver's picture, pixels."""
WINDOWS = 8
"""Audio feature windows of a moment: those of four frames before it, its own and three after it."""


@dataclass(frozen=True)
class Driving:
    """The driving signals of one frame: everything a model may read about a frame it renders.

    All but the last four come from the ``face_fit`` artifact; none of these is a pixel. ``torso_from_reference``
    is tracked from pixels, like the head's pose, and is a driving signal like it.

    ``picture`` and ``sound`` are there only for models whose config says that they are driven by them
    (:func:`avatar_models.registry.driven_by`). For a model that is driven by pictures the driver's own frame *is*
    the signal: in mode self it sees the very frame that it renders. In training it is given for training frames alone.
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
    picture: Float[Tensor, "side side 3"] | None = None
    """The driver's own frame, 0..1: the person over white by the matte, :data:`PICTURE_SIDE` pixels square, of
    the clip's head crop."""
    driver_pictures: Float[Tensor, "n side side 3"] | None = None
    """Where ``picture`` shows another person than the avatar's: pictures like it, spread over that person's clip. A model
    takes his change relative to them, as his expression and pose are taken relative to his rest."""
    sound: Float[Tensor, "window 16 channel"] | None = None
    """Windows of audio features (``audio_features`` artifact) of the frames t - 4 … t + 3, repeated at the ends of
    the clip: :data:`WINDOWS` of them, entry 4 is the frame's own. Training and driver must have one kind of features."""
    navigation: Float[Tensor, " direction"] | None = None
    """Instead of all signals of the face: a place in the subspace of a model that has one, in standard deviations of
    its training along each of their principal axes, the longest first; 0 is the training's middle."""
