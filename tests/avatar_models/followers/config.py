"""Options of the followers (copied to avatar_models/followers by the tests)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from avatar_models.registry import register


@dataclass(frozen=True)
class FollowerConfig:
    """How a follower is trained."""

    steps: int = 150
    """Optimiser steps."""
    max_minutes: float = 0.0
    """Limit of the training time in minutes; 0 for none."""

    @classmethod
    def preset(cls, name: str) -> FollowerConfig:
        """One for all."""
        return cls()


@register("picture_follower")
@dataclass(frozen=True)
class PictureFollowerConfig(FollowerConfig):
    """Follows the driver's picture."""

    driven_by: ClassVar[str] = "picture"


@register("sound_follower")
@dataclass(frozen=True)
class SoundFollowerConfig(FollowerConfig):
    """Follows the sound."""

    driven_by: ClassVar[str] = "sound"
