"""What every avatar model is: built from a subject, trained on its frames, rendered from driving signals.

All images inside models are float in 0..1, channel last. All cameras follow :mod:`head_geometry.cameras`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avatar_models.dataset import SubjectData
from avatar_models.driving_signals import Driving
from avatar_models.perceptual import PerceptualLoss


@runtime_checkable
class Schedule(Protocol):
    """How long the trainer trains."""

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        ...

    @property
    def max_minutes(self) -> float:
        """Training stops here even if steps are left (0: no limit); schedules follow the elapsed share."""
        ...


@runtime_checkable
class ModelConfig(Schedule, Protocol):
    """What the trainer reads from any model's options: a frozen dataclass, every field with a default.

    Fields are numbers, booleans, text or tuples of numbers, so that they can be set from the command line
    and stored as YAML.
    """

    @classmethod
    def preset(cls, name: str) -> ModelConfig:
        """Options at the scale ``paper``, ``fast`` or ``tiny``."""
        ...


@dataclass(frozen=True)
class Layers:
    """What a model renders: the head, and optionally a torso and a background behind it.

    Colours are premultiplied by their opacity, so compositing is ``head + (1 - head_alpha) * behind``.
    """

    head: Float[Tensor, "height width 3"]
    head_alpha: Float[Tensor, "height width"]
    torso: Float[Tensor, "height width 3"]
    torso_alpha: Float[Tensor, "height width"]
    background: Float[Tensor, "height width 3"]
    """Opaque; the subject's own background where it is known, else white."""

    def person_alpha(self) -> Float[Tensor, "height width"]:
        """Opacity of head and torso together."""
        return self.head_alpha + (1 - self.head_alpha) * self.torso_alpha

    def over(self, background: Float[Tensor, "*#hw 3"]) -> Float[Tensor, "height width 3"]:
        """Head over torso over ``background`` (an image or one colour)."""
        behind = self.torso + (1 - self.torso_alpha)[..., None] * background
        return self.head + (1 - self.head_alpha)[..., None] * behind


class Trainable(nn.Module, ABC):
    """What the trainer needs of a network (:mod:`avatar_models.trainer`)."""

    max_gradient_norm: ClassVar[float] = 0.0
    """Gradients are scaled down to this norm before each step (0: never)."""
    parts: int = 1
    """Minibatches of one step, whose losses are averaged; a CPU computes them on different cores at once."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, object]]:
        """Adam parameter groups, each with ``params``, ``lr`` and ``lr_end`` (exponential decay from one to the other).

        Other options of Adam (``betas``, ``eps``) may be given per group.
        """

    @abstractmethod
    def training_losses(
        self,
        data: Any,  # noqa: ANN401 - what the network learns from
        progress: float,
        generator: torch.Generator,
    ) -> dict[str, Float[Tensor, ""]]:
        """Weighted loss terms of one step; their sum is minimised.

        Args:
            data: What it learns from; the network samples its own minibatch.
            progress: Share of the training done, 0..1 (schedules follow it, not the step count).
            generator: The only source of randomness, so that a resumed run continues the sequence.

        With more than one of ``parts`` it is called from several threads at once: it may change nothing but
        what it guards, and leaves what it learns besides gradients to :meth:`after_step`.
        """

    def after_step(self) -> None:
        """Called once after each optimiser step, when no minibatch is under way."""


class AvatarModel(Trainable):
    """One avatar method. The trainer and the renderer know only this.

    A sub-package registers its options dataclass in ``<model>/config.py`` (no torch there) and defines in
    ``<model>/model.py``

    - ``build_model(config, data: SubjectData) -> AvatarModel``, the untrained model of a subject, on ``data.device``;
    - ``restore_model(config, state: dict[str, Tensor]) -> AvatarModel``, a model whose parameters and buffers have
      the shapes of ``state`` and whose plain attributes are right; its values may be anything, since
      ``load_state_dict(state)`` follows.

    Everything that rendering needs is in ``state_dict()`` and ``config``, so that an avatar file renders
    without the training frames. A model may be asked to train at one ``image_size`` and render at another.

    Attributes:
        perceptual: Set before the training of a model whose options have ``perceptual`` (one of
            ``avatar_models.registry.PERCEPTUAL_LOSSES``); its ``name`` should be that of the loss term. Not in the file.
    """

    perceptual: PerceptualLoss

    @abstractmethod
    def training_losses(
        self, data: SubjectData, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Weighted loss terms of one step (see :class:`Trainable`); frames and pixels come from ``data.train_frames``."""

    @abstractmethod
    def render(self, driving: Driving) -> Layers:
        """The layers of one frame; called under ``torch.inference_mode()``."""
