"""A generator that is small enough for tests, in the published layout."""

from __future__ import annotations

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
