"""Which part of a frame a generator draws and a step compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatar_models.driving_signals import Driving
from avatar_models.triplane.framing import FramedView, to_canonical
from avatar_models.triplane.windows import Window


@runtime_checkable
class Look(Protocol):
    """A square picture of a frame's head."""

    @property
    def label(self) -> Float[Tensor, " 25"]:
        """Camera label that draws it."""
        ...

    @property
    def side(self) -> int:
        """Of the picture, pixels."""
        ...

    def cut(self, planes: Float[Tensor, "channel height width"]) -> Float[Tensor, "channel s s"]:
        """The same part of the frame itself."""
        ...


@dataclass(frozen=True)
class WindowLook:
    """A window of the frame, for generators that draw what any camera sees."""

    window: Window
    view: FramedView

    @property
    def label(self) -> Float[Tensor, " 25"]:
        """Camera of the window alone."""
        return self.window.label(self.view.label, self.view.picture_side)

    @property
    def side(self) -> int:
        """Of the window, pixels."""
        return self.window.side

    def cut(self, planes: Float[Tensor, "channel height width"]) -> Float[Tensor, "channel s s"]:
        """The window's pixels."""
        return self.window.cut(planes)


@dataclass(frozen=True)
class CanonicalLook:
    """The frame as a published generator frames it."""

    view: FramedView

    @property
    def label(self) -> Float[Tensor, " 25"]:
        """One of the generator's own cameras."""
        return self.view.label

    @property
    def side(self) -> int:
        """Of the picture, pixels."""
        return self.view.picture_side

    def cut(self, planes: Float[Tensor, "channel height width"]) -> Float[Tensor, "channel s s"]:
        """The frame, resampled."""
        return to_canonical(planes.movedim(0, -1), self.view).movedim(-1, 0)


def worth_looking_at(
    driving: Driving, head: Float[Tensor, "height width"], generator: torch.Generator
) -> Int[Tensor, "n 2"]:
    """Rows and columns: the landmarks, most of which lie on eyes and lips, and as many pixels of the head."""
    width, height = driving.image_size
    landmarks = driving.landmarks.flip(-1).round().long()
    inside = (landmarks >= 0) & (landmarks < landmarks.new_tensor([height, width]))
    landmarks = landmarks[inside.all(-1)]
    pixels = head.nonzero()
    if len(landmarks) == 0 or len(pixels) == 0:
        return torch.cat([landmarks, pixels])
    draw = {"generator": generator, "device": generator.device}
    return torch.cat([landmarks, pixels[torch.randint(len(pixels), (len(landmarks),), **draw)]])
