"""Options and presets of HFA-GP's three drivers (no torch here)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from avatar_models.prior.own import prior_file
from avatar_models.registry import register

DrivenBy = Literal["expression", "picture", "sound"]

# Published iterations, to turn the paper's step marks into shares of a training.
PAPER_STEPS = 800_000


@dataclass(frozen=True)
class HfaGpConfig:
    """Sizes, schedule and losses. Defaults are the published ones; "own" marks what is not published."""

    steps: int = PAPER_STEPS
    """Optimiser steps of the whole training."""
    max_minutes: float = 0.0
    """Training stops after this many minutes even if steps are left; 0: no limit."""
    prior: str = "tiny"
    """Generative prior: tiny (the project's own) or the path of weights, .safetensors or a published EG3D .pkl."""
    parts: int = 1
    """Minibatches of one step, each of one frame; a CPU computes them on different cores. Own."""
    lr: float = 3e-4
    """Learning rate of driver and subspace at the start."""
    lr_end: float = 3e-4
    """The same at the end; exponential in between."""
    generator_start: float = 50_000 / PAPER_STEPS
    """Share of the training after which the generator is tuned too."""
    generator_lr: float = 3e-4
    """Learning rate of the generator at the start."""
    generator_lr_end: float = 3e-4
    """The same at the end."""
    detail_lr: float = 0.0
    """Learning rate at the start of a person's own detail, added to the generator's planes in every frame, in units of how
    far these differ from head to head; 0: none. Own."""
    detail_moving: int = 0
    """Directions of the subspace, at most ``directions``, along which that detail changes too; it is the same in every
    frame where this is 0. Own."""
    torso_lr: float = 3e-3
    """Learning rate at the start of the torso's texture. Own."""

    directions: int = 50
    """Directions of the personal subspace."""
    starts_at_prior: bool = False
    """The subspace starts at the prior's mean latent, along the directions in which its latents vary most (its heads'
    expression, where it tells it from the person), instead of at random. Own."""
    driver_width: int = 512
    """Width of the driver's linear layers."""
    expression_layers: int = 6
    """Linear layers before the last one of the drivers by expression and by sound."""
    picture_side: int = 256
    """Side of the pictures that the encoder sees, pixels."""
    picture_layers: int = 4
    """Linear layers before the last one of the driver by pictures."""
    encoder_base: int = 16_384
    """An encoder block of side r has min(encoder_base / r, driver_width) channels."""
    attention_start: float = 300_000 / PAPER_STEPS
    """Share of the training after which sound is averaged over neighbouring windows by attention."""

    lips_alone: bool = False
    """Driven by sound: training frames are drawn by their fit, and the sound is taught the shape of the fit's lips and nothing
    else; rendering is given pose, neck and gaze, and takes the mean of lids and brows. Own."""
    picture_noise: float = 0.0
    """Driven by pictures: how far colour, size and place of training pictures are changed at random, as a share, at most
    0.5; 0: not at all. Own."""
    sound_noise: float = 0.0
    """Driven by sound: white noise on the features of training frames, in standard deviations of each channel, by which
    features are standardised then; 0: neither. Own."""

    taught_share: float = 0.0
    """Share of the training over which the driver is also taught where the prior itself has the fitted expressions of
    training frames, with a weight that falls to nothing (own priors of the subject's head model); 0: not at all. Own."""
    taught_alone: float = 0.0
    """Share of the training, at its start, in which the driver is taught and nothing is drawn yet. Own."""
    taught_frames: int = 8
    """Frames that one step teaches. Own."""

    patch: int = 0
    """Side of the parts of a picture that one step compares, pixels; 0: the whole picture. Own."""
    patches: int = 4
    """Parts of one frame's picture; the first is the whole picture, made small. Own."""
    perceptual: str = "auto"
    """Perceptual loss: lpips, substitute (structure and gradients), or auto: LPIPS where its weights are given."""
    perceptual_weight: float = 1.0
    """Weight of the perceptual loss against the squared error of colours in -1..1."""
    opacity_weight: float = 2.0
    """Weight of the squared error of the head's opacity. Own."""
    mixed_precision: bool = False
    """Make planes in bfloat16 while training. Own."""

    driven_by: ClassVar[DrivenBy] = "expression"

    @classmethod
    def preset(cls, name: str) -> HfaGpConfig:
        """The options of a preset.

        ``paper``: the published sizes and schedule, for published weights; ``fast``: one modern GPU; ``tiny``: two
        CPU cores, at most ten minutes, 128², the project's own prior.
        """
        return replace(cls(), **PRESETS[name])

    def input_files(self) -> dict[str, Path]:
        """Files that the training reads besides the subject's."""
        return {"prior": prior_file(self.prior)}


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "fast": {
        "steps": 20_000,
        "lr": 2e-3,
        "lr_end": 2e-4,
        "generator_lr": 1e-3,
        "detail_lr": 3e-3,
        "detail_moving": 20,
        "generator_lr_end": 1e-4,
        "generator_start": 0.05,
        "attention_start": 0.4,
        "starts_at_prior": True,
        "picture_noise": 0.1,
        "taught_share": 0.3,
        "taught_alone": 0.02,
        "mixed_precision": True,
    },
    "tiny": {
        "steps": 100_000,
        "max_minutes": 9.75,
        "parts": 2,
        "lr": 2e-3,
        "lr_end": 3e-4,
        "generator_lr": 2e-3,
        "detail_lr": 1e-2,
        "detail_moving": 20,
        "generator_lr_end": 2e-4,
        "generator_start": 0.1,
        "attention_start": 0.4,
        "starts_at_prior": True,
        "picture_noise": 0.1,
        "taught_share": 1.0,
        "taught_alone": 0.03,
        "driver_width": 128,
        "picture_side": 64,
        "encoder_base": 2048,
        "patch": 32,
        "mixed_precision": True,
    },
}


@register("hfa_gp_3dmm")
@dataclass(frozen=True)
class HfaGp3dmmConfig(HfaGpConfig):
    """Driven by expression coefficients and joints."""

    driven_by: ClassVar[DrivenBy] = "expression"


@register("hfa_gp_rgb")
@dataclass(frozen=True)
class HfaGpRgbConfig(HfaGpConfig):
    """Driven by pictures of a face."""

    driven_by: ClassVar[DrivenBy] = "picture"

    @classmethod
    def preset(cls, name: str) -> HfaGpConfig:
        """The options of a preset."""
        found = super().preset(name)
        # Eight a step took .24 of .55 s on two cores, in the encoder.
        return replace(found, taught_frames=1) if name == "tiny" else found


@register("hfa_gp_audio")
@dataclass(frozen=True)
class HfaGpAudioConfig(HfaGpConfig):
    """Driven by sound."""

    driven_by: ClassVar[DrivenBy] = "sound"

    @classmethod
    def preset(cls, name: str) -> HfaGpConfig:
        """The options of a preset."""
        found = super().preset(name)
        # A sound that is taught by pixels knows each frame by heart after eighteen seconds, see LipPlaces.
        return found if name == "paper" else replace(found, lips_alone=True, sound_noise=0.5)
