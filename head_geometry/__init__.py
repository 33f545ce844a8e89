"""Cameras, rotations, the head model and its rasteriser (torch)."""
