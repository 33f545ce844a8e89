"""The still background of a clip, for tools that want it as a picture."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from scipy.ndimage import distance_transform_edt

from preprocessing.exporting.clip import FittedClip

# Frames that the mean is taken over, evenly spaced.
N_FRAMES = 48
# Less of the person than this (of 255) counts as background, at this distance from any pixel with more of it.
CLEAR_ALPHA, CLEAR_SHARE_OF_WIDTH = 10, 0.015


def mean_background(clip: FittedClip) -> UInt8[np.ndarray, "height width 3"]:
    """Mean of the training frames where the person is not; the nearest seen colour elsewhere, white if there is none.

    Source: own.
    """
    width, height = clip.size
    total = np.zeros((height, width, 3))
    seen = np.zeros((height, width))
    places = np.linspace(0, len(clip.train) - 1, min(N_FRAMES, len(clip.train)))
    for picture in clip.pictures(clip.train[places.round().astype(int)]):
        distance_px = np.asarray(distance_transform_edt(picture.alpha < CLEAR_ALPHA))
        clear = distance_px > CLEAR_SHARE_OF_WIDTH * width
        total[clear] += picture.image[clear]
        seen += clear
    if not seen.any():
        return np.full((height, width, 3), 255, np.uint8)
    nearest = distance_transform_edt(seen == 0, return_distances=False, return_indices=True)
    rows, columns = np.asarray(nearest)
    mean = total / np.maximum(seen, 1)[..., None]
    return mean[rows, columns].round().astype(np.uint8)
