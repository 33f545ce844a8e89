"""Which pixels of a head crop show the clip, and which only repeat its border."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int32


def inside_source(
    source_from_crop: Float64[np.ndarray, "3 3"],
    source_size: Int32[np.ndarray, "2"],
    crop_size: tuple[int, int],
) -> Bool[np.ndarray, "height width"]:
    """True where the centre of a crop pixel lies in the source frame, from the fields of a ``frames`` artifact.

    Args:
        source_from_crop: Homogeneous similarity; (0, 0) is the centre of the top-left pixel.
        source_size: Width, height of the upright source frame.
        crop_size: Width, height of the crop.
    """
    width, height = crop_size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    source = source_from_crop @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    low, high = -0.5, source_size[:, None] - 0.5
    inside = np.all((source[:2] >= low) & (source[:2] < high), axis=0)
    return inside.reshape(height, width)
