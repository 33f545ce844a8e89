"""Generators that are small enough for tests: in the published layout, and like the project's own priors."""

from __future__ import annotations

from dataclasses import replace

from avatar_models.triplane.layout import Layout

TINY = Layout(
    z_dim=8,
    w_dim=8,
    plane_side=16,
    plane_channels=4,
    channel_base=64,
    channel_max=6,
    decoder_hidden=5,
    feature_channels=4,
    superresolution="none",
    image_side=6,
    neural_side=6,
    coarse_samples=6,
    fine_samples=5,
)

OWN = replace(
    TINY,
    feature_channels=3,
    image_side=32,
    neural_side=32,
    ray_bounds="box",
    plane_axes="orthogonal",
    units_per_metre=2.5,
)
