"""MonoAvatar (CVPR 2023): a radiance field anchored to the vertices of a head model."""
