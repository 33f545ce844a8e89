"""The static background of a clip, one explicit layer of its own."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avatar_models.dataset import SubjectData
from avatar_models.driving_signals import Driving
from avatar_models.fill import dilate, fill_smoothly, masked_median
from head_geometry.images import resize_area

# Frames that the median is taken over, evenly spaced.
N_FRAMES = 48
# Less of the person than this counts as background.
CLEAR_ALPHA = 0.04


class BackgroundLayer(nn.Module):
    """An opaque image that stays where it is.

    Attributes:
        image: sRGB, 0..1, (height, width, 3) at the training size; filled in smoothly where never seen.
        known: True where the background was seen in some training frame.
    """

    image: Tensor
    known: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.register_buffer("image", torch.ones(height, width, 3))
        self.register_buffer("known", torch.zeros(height, width, dtype=torch.bool))

    @classmethod
    def estimate(cls, data: SubjectData) -> BackgroundLayer:
        """Per-pixel median of the training frames where the person is not; white if that is nowhere."""
        images, clear = [], []
        radius_px = max(1, round(0.015 * data.image_size[0]))
        for frame in data.spread_train_frames(N_FRAMES):
            images.append(data.image_bytes(frame))
            clear.append(dilate(data.alpha(frame), radius_px) < CLEAR_ALPHA)
        median, known = masked_median(torch.stack(images), torch.stack(clear))
        layer = cls(data.image_size[1], data.image_size[0]).to(data.device)
        layer.known.copy_(known)
        if known.any():
            layer.image.copy_(fill_smoothly(median / 255, known))
        return layer

    @classmethod
    def restore(cls, state: dict[str, Tensor], prefix: str) -> BackgroundLayer:
        """A layer of the shape stored under ``prefix`` (for ``load_state_dict``)."""
        height, width = state[f"{prefix}.image"].shape[:2]
        return cls(height, width)

    def forward(self, driving: Driving) -> Float[Tensor, "height width 3"]:
        """The background at the size of ``driving``."""
        return resize_area(self.image, driving.image_size)
