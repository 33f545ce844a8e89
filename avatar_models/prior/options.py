"""Sizes and schedule of the own prior (no torch here)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from artifacts.errors import InputError
from avatar_models.triplane.layout import Layout

# The planes cover a cube this wide around the middle of the head: hair and the beginning of the neck.
BOX_WIDTH_M = 0.40


@dataclass(frozen=True)
class PriorOptions:
    """What the trainer and the decoder need.

    Attributes:
        layout: Of the generator; ``z_dim`` is set to what is known of a picture.
        steps: Optimiser steps.
        max_minutes: Training stops here even if steps are left (0: no limit).
        learning_rate: Of Adam, at the start.
        learning_rate_end: At the end.
        mapping_speed: Factor of both for the mapping, whose stored weights are a hundred times the used ones.
        moments: People-with-expression in one minibatch.
        parts: Minibatches of one step, one per core.
        patch: Side of the patches that are compared, pixels.
        patches: Patches per moment.
        structure_weight: Weight of :func:`avatar_models.perceptual.structure_loss` against the squared error of colours in
            -1..1.
        alpha_weight: Weight of the squared error of the opacity.
        mixed_precision: Planes are made in bfloat16 while training.
    """

    layout: Layout
    steps: int = 60_000
    max_minutes: float = 0.0
    learning_rate: float = 5e-3
    learning_rate_end: float = 2e-4
    mapping_speed: float = 100.0
    moments: int = 2
    parts: int = 2
    patch: int = 32
    patches: int = 3
    structure_weight: float = 0.2
    alpha_weight: float = 2.0
    mixed_precision: bool = True


_OWN = Layout(
    plane_axes="orthogonal",
    ray_bounds="box",
    label_off=True,
    z_unit_moment=False,
    superresolution="none",
    units_per_metre=1 / BOX_WIDTH_M,
    box_width=1.0,
    image_side=64,
    neural_side=64,
    decoder_hidden=32,
    feature_channels=3,
)
# Two CPU cores, under two hours.
_TINY = replace(
    _OWN,
    w_dim=256,
    plane_side=128,
    plane_channels=16,
    channel_base=4096,
    channel_max=128,
    coarse_samples=16,
    fine_samples=10,
)
# One modern GPU.
_FAST = replace(
    _OWN,
    w_dim=512,
    plane_side=256,
    plane_channels=32,
    channel_base=16384,
    channel_max=512,
    decoder_hidden=64,
    coarse_samples=48,
    fine_samples=24,
    image_side=128,
    neural_side=128,
)


def prior_options(size: str) -> PriorOptions:
    """Options at the scale ``tiny`` or ``fast``.

    Raises:
        InputError: another name.
    """
    if size == "tiny":
        return PriorOptions(_TINY, steps=5000)
    if size == "fast":
        return PriorOptions(_FAST, steps=120_000, moments=4, parts=2, patch=64, patches=4)
    raise InputError(f"unknown size {size!r} of a prior; choose tiny or fast")
