"""Options and presets of the three MonoAvatar variants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from avatar_models.registry import register

Predictor = Literal["displacement", "code", "static"]

# Published iterations, to turn the paper's step marks into shares of a training.
PAPER_STEPS = 400_000


@dataclass(frozen=True)
class MonoAvatarConfig:
    """Sizes, schedule and losses. Defaults are the published ones; "own" marks what the paper leaves open."""

    steps: int = PAPER_STEPS
    """Optimiser steps of the whole training."""
    max_minutes: float = 0.0
    """Training stops after this many minutes even if steps are left; 0: no limit."""
    rays: int = 1024
    """Rays of one step."""
    frames_per_step: int = 1
    """Training frames that the rays of one minibatch come from. Own."""
    parts: int = 1
    """Minibatches of one step, each of ``rays / parts`` rays; a CPU computes them on different cores. Own."""
    lr: float = 1e-3
    """Learning rate at the start."""
    lr_end: float = 1e-4
    """Learning rate at the end; exponential in between."""
    warp_lr: float = 1e-4
    """Learning rate of the error-correction warp at the start."""
    warp_lr_end: float = 1e-5
    """Learning rate of the error-correction warp at the end."""

    feature_size: int = 64
    """Length of each vertex's feature."""
    width: int = 128
    """Width of MLP0 and MLP1 of the fine network."""
    coarse_width: int = 128
    """Width of MLP0 and MLP1 of the coarse network."""
    colour_width: int = 64
    """Width of MLP2."""
    neighbours: int = 4
    """Nearest vertices of each query."""
    position_bands: int = 10
    """Octaves of the encoding of (vertex - query)."""
    view_bands: int = 4
    """Octaves of the encoding of the view direction."""
    position_unit_m: float = 0.05
    """Length that is 1 in the encoding of (vertex - query), metres. Own."""
    coarse_samples: int = 32
    """Samples per ray of the coarse network. Own."""
    fine_samples: int = 32
    """Samples per ray of the fine network. Own."""
    uv_size: int = 256
    """Side of the displacement map and of the feature map, pixels."""
    channels: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    """Channels of each level of the predictor, finest first."""
    vertex_feature: bool = False
    """Add a learned constant to each vertex's predicted feature. Own."""
    start_from_mesh: bool = False
    """Density and colour start as the fitted mesh with the colours that training frames show on it. Own."""
    colour_lr: float = 1e-2
    """Learning rate at the start of the mesh's colours, where the training starts from the mesh. Own."""
    torso_lr: float = 3e-3
    """Learning rate at the start of the torso's texture. Own."""

    warp: bool = True
    """Use the error-correction warp in training."""
    warp_code_size: int = 64
    """Length of each frame's code. Own."""
    warp_unit_m: float = 0.1
    """Length that is 1 inside the warp and its losses, metres. Own."""
    warp_start: float = 5_000 / PAPER_STEPS
    """Share of the training after which the warp is on."""
    warp_bands_end: float = 80_000 / PAPER_STEPS
    """Share of the training after which all six bands of the warp are open."""
    elastic_weight: float = 1e-4
    """Weight of the elastic loss at first."""
    elastic_weight_late: float = 1e-5
    """Weight of the elastic loss later."""
    elastic_late: float = 155_000 / PAPER_STEPS
    """Share of the training after which the elastic loss counts less."""
    elastic_points: int = 256
    """Points per step that the elastic loss looks at. Own."""
    magnitude_weight: float = 1e-2
    """Weight of the squared length of the warp."""
    opacity_weight: float = 0.5
    """Weight of the squared error of the head's opacity. Own."""

    occupancy_bins: int = 16
    """Bins along each vertex's normal that empty space is skipped by. Own."""
    occupancy_start: float = 0.1
    """Share of the training after which empty space is skipped. Own."""
    mixed_precision: bool = False
    """Evaluate the networks in bfloat16. Own."""

    predictor: ClassVar[Predictor] = "displacement"

    @classmethod
    def preset(cls, name: str) -> MonoAvatarConfig:
        """The options of a preset.

        ``paper``: the published sizes and schedule; ``fast``: one modern GPU, minutes, 512²; ``tiny``: two CPU
        cores, at most six minutes, 128².
        """
        return replace(cls(), **PRESETS[name])


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "fast": {
        "steps": 20_000,
        "rays": 8192,
        "frames_per_step": 4,
        "lr": 4e-3,
        "lr_end": 2e-4,
        "coarse_width": 64,
        "coarse_samples": 16,
        "fine_samples": 24,
        "channels": (16, 32, 64, 128, 128, 128),
        "vertex_feature": True,
        "start_from_mesh": True,
        "mixed_precision": True,
    },
    "tiny": {
        "steps": 9_000,
        "max_minutes": 5.75,
        "rays": 1536,
        "parts": 2,
        "lr": 4e-3,
        "lr_end": 3e-4,
        "feature_size": 32,
        "width": 64,
        "coarse_width": 32,
        "colour_width": 32,
        "position_bands": 6,
        "view_bands": 2,
        "coarse_samples": 4,
        "fine_samples": 4,
        "uv_size": 64,
        "channels": (8, 16, 32, 64),
        "vertex_feature": True,
        "start_from_mesh": True,
        "warp": False,
        "mixed_precision": True,
    },
}


@register("monoavatar_d")
@dataclass(frozen=True)
class MonoAvatarDConfig(MonoAvatarConfig):
    """Ours-D: features from the displacement map through a residual U-Net."""

    predictor: ClassVar[Predictor] = "displacement"


@register("monoavatar_c")
@dataclass(frozen=True)
class MonoAvatarCConfig(MonoAvatarConfig):
    """Ours-C: features from the expression and pose code through a decoder."""

    predictor: ClassVar[Predictor] = "code"


@register("monoavatar_static")
@dataclass(frozen=True)
class MonoAvatarStaticConfig(MonoAvatarConfig):
    """Constant features: the paper's ablation."""

    predictor: ClassVar[Predictor] = "static"
