"""Options of the nearest-frame baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace

from artifacts.errors import InputError
from avatar_models.registry import register


@register("nearest_frame")
@dataclass(frozen=True)
class NearestFrameConfig:
    """The distance between two frames is a weighted sum of squared differences of their driving signals.

    The weights start at one for each group (expression and joints, head rotation) and are learned by leaving
    training frames out: those whose nearest neighbours look like them win.
    """

    steps: int = 300
    """Optimiser steps."""
    max_minutes: float = 0.0
    """Limit of the training time in minutes; 0 for none."""
    learning_rate: float = 0.05
    """Adam's rate at the start, on the logarithms of the weights."""
    learning_rate_end: float = 0.005
    """Adam's rate at the end."""
    max_frames: int = 500
    """Most training frames that the avatar keeps (evenly spread), since each is stored whole."""
    queries: int = 8
    """Training frames left out in each step."""
    candidates: int = 12
    """Frames that compete for each of them."""
    guard_frames: int = 12
    """Frames around the one left out that may not compete: a held-out frame has no such twins."""
    comparison_side_px: int = 48
    """Side of the small images that are compared while learning the weights, pixels."""
    temperature: float = 0.5
    """Softness of the choice while learning, in units of the squared distance."""

    prior: float = 1e-3
    """Pull of the logarithms of the weights towards 0: a short clip teaches little."""

    def __post_init__(self) -> None:
        """Refuse impossible sizes."""
        for key in ("max_frames", "queries", "candidates", "comparison_side_px"):
            if getattr(self, key) < 1:
                raise InputError(f"option {key!r} of model nearest_frame must be at least 1")

    @classmethod
    def preset(cls, name: str) -> NearestFrameConfig:
        """The baseline needs no scaling down; ``paper`` keeps more frames."""
        return replace(cls(), max_frames=1500) if name == "paper" else cls()
