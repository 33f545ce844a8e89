"""From raw masks to a matte: keep one person, damp flicker without lag, follow the image's edges.

All steps but the last work on the small images that the segmentation network sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy.ndimage import binary_dilation, label, uniform_filter

# Opacity from which a pixel is surely a person's, and from which it may be.
SURE, POSSIBLE = 0.5, 0.05
# Pixels by which another person's sure pixels are widened before they are removed.
OTHER_MARGIN = 6
# Patches (side in pixels) that differ by more than this (RMS, 1 is white) show something else.
PATCH, PATCH_DIFFERENCE = 5, 0.015
# Guided filter: window radius in pixels, and the colour variance below which it does not look for edges.
RADIUS, VARIANCE_FLOOR = 2, 3e-4
# Where a mask differs less than this from its surroundings there is no edge (one grey level of the result).
LEAST_CHANGE = 1 / 255


def keep_person(
    mask: Float32[np.ndarray, "row column"], face: Float[np.ndarray, "4"]
) -> Float32[np.ndarray, "row column"]:
    """The mask without blobs that hang together neither with the face nor with what lies below it.

    Args:
        mask: Opacity of all people in 0..1.
        face: Box (x0, y0, x1, y1) of the tracked face in pixels of the mask.
    """
    rows, columns = mask.shape
    x0, x1 = np.clip([face[0], face[2] + 1], 0, columns).astype(int)
    y0 = int(np.clip(face[1], 0, rows))
    # Down to the bottom: a collar or a microphone may cut the head from the chest.
    seed = np.zeros(mask.shape, bool)
    seed[y0:, x0:x1] = True
    sure = _parts_touching(mask > SURE, seed)
    if not sure.any():
        return mask
    possible = _parts_touching(mask > POSSIBLE, sure)
    others = (mask > SURE) & ~sure
    if (others & possible).any():
        away = np.logical_not(binary_dilation(others, iterations=OTHER_MARGIN))
        rim = np.logical_and(binary_dilation(sure, iterations=OTHER_MARGIN // 2), ~others)
        possible &= away | rim
    return mask * possible


def _parts_touching(
    area: Bool[np.ndarray, "row column"], seed: Bool[np.ndarray, "row column"]
) -> Bool[np.ndarray, "row column"]:
    """The connected parts of ``area`` (diagonals connect) that share a pixel with ``seed``."""
    parts = np.zeros(area.shape, np.int32)
    count = int(label(area, structure=np.ones((3, 3)), output=parts))  # pyright: ignore[reportArgumentType]
    if count <= 1:
        return area & (area & seed).any()
    wanted = np.zeros(count + 1, bool)
    wanted[np.unique(parts[seed])] = True
    wanted[0] = False
    return wanted[parts]


def damp_flicker(
    masks: Sequence[Float32[np.ndarray, "row column"]],
    images: Sequence[UInt8[np.ndarray, "row column 3"]],
    center: int,
) -> Float32[np.ndarray, "row column"]:
    """Weighted mean over neighbouring frames of the masks of pixels that show the same thing in all of them.

    A frame counts the less the more its patch around the pixel differs from that of the central frame, so
    whatever moves keeps its own mask; before and after count alike, so there is no lag.

    Args:
        masks: Opacity in 0..1 of neighbouring frames, in the order of time.
        images: Their images, sRGB.
        center: Index of the frame whose mask is wanted.

    Source: own; a bilateral filter along time (Tomasi and Manduchi 1998) with patch distances (Buades et al. 2005).
    """
    own = images[center].astype(np.float32) / 255
    total = masks[center].astype(np.float32)
    weights = np.ones_like(total)
    reach = max(center, len(masks) - 1 - center) + 1
    for index, (mask, image) in enumerate(zip(masks, images, strict=True)):
        if index == center:
            continue
        difference = image.astype(np.float32) / 255 - own
        squared = np.einsum("rcx,rcx->rc", difference, difference) / 3
        distance = uniform_filter(squared, PATCH, mode="nearest")
        weight = np.exp(distance / (-2 * PATCH_DIFFERENCE**2))
        weight *= 1 - abs(index - center) / reach
        total += weight * mask
        weights += weight
    return total / weights


def refine_edges(
    mask: Float32[np.ndarray, "row column"],
    small: UInt8[np.ndarray, "row column 3"],
    image: UInt8[np.ndarray, "height width 3"],
) -> UInt8[np.ndarray, "height width"]:
    """The matte at the image's resolution, its soft edge drawn to the image's edges.

    Args:
        mask: Opacity in 0..1 on the pixels of ``small``.
        small: The image shrunk to the mask's size, sRGB.
        image: The image, sRGB.

    Returns:
        Opacity, 0..255.

    Source: He, Sun and Tang, Guided Image Filtering, 2010, with a colour guide; coefficients found at
        low resolution as in He and Sun, Fast Guided Filter, 2015, and only where the mask varies (elsewhere
        they are known: slope 0, offset the mask's own value).
    """
    window = 2 * RADIUS + 1
    coefficients = np.zeros((4, *mask.shape), np.float32)
    coefficients[3] = mask
    varies = np.abs(uniform_filter(mask, window, mode="nearest") - mask) > LEAST_CHANGE
    varies = binary_dilation(varies, iterations=RADIUS)
    row, column = np.nonzero(varies)
    if len(row):
        coefficients[:, row, column] = _edge_coefficients(mask, small, row, column)
        near = binary_dilation(varies, iterations=RADIUS)
        for index in range(4):
            layer = coefficients[index]
            np.copyto(layer, uniform_filter(layer, window, mode="nearest"), where=near)
    size = image.shape[:2]
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(coefficients)[None],
        size,
        mode="bilinear",
        align_corners=False,
    )[0]
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    matte = torch.addcmul(enlarged[3], enlarged[0], pixels[0], value=1 / 255)
    for channel in range(1, 3):
        matte.addcmul_(enlarged[channel], pixels[channel], value=1 / 255)
    return matte.clamp_(0, 1).mul_(255).round_().to(torch.uint8).numpy()


def _edge_coefficients(
    mask: Float32[np.ndarray, "row column"],
    small: UInt8[np.ndarray, "row column 3"],
    row: Int[np.ndarray, " pixel"],
    column: Int[np.ndarray, " pixel"],
) -> Float32[np.ndarray, "4 pixel"]:
    """Slope over each colour and offset of the mask around given pixels: least squares in the window around each."""
    rows, columns = mask.shape
    steps = np.arange(-RADIUS, RADIUS + 1)
    near_row = np.clip(row + steps[:, None], 0, rows - 1)[:, None, :]
    near_column = np.clip(column + steps[:, None], 0, columns - 1)[None, :, :]
    index = (near_row * columns + near_column).reshape(-1, len(row))
    # Layers: the three colours and the opacity, each (window, pixel).
    stacked = np.concatenate([small / np.float32(255), mask[..., None]], axis=2).reshape(-1, 4)
    layers = stacked[index].transpose(2, 0, 1)
    means = layers.mean(axis=1)
    layers = layers - means[:, None]
    moment = {
        (i, j): np.einsum("wp,wp->p", layers[i], layers[j]) / len(index)
        for i in range(3)
        for j in range(i, 4)
    }
    for i in range(3):
        moment[i, i] = moment[i, i] + VARIANCE_FLOOR
    slope = _solve_symmetric(moment)
    return np.concatenate([slope, means[3:] - (slope * means[:3]).sum(axis=0)])


def _solve_symmetric(
    moment: Mapping[tuple[int, int], Float[np.ndarray, " pixel"]],
) -> Float[np.ndarray, "3 pixel"]:
    """Solve a symmetric 3x3 system per pixel by cofactors; entry (i, 3) is the right-hand side."""
    xx, xy, xz = moment[0, 0], moment[0, 1], moment[0, 2]
    yy, yz, zz = moment[1, 1], moment[1, 2], moment[2, 2]
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    e, f, i = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    right = moment[0, 3], moment[1, 3], moment[2, 3]
    rows = [(a, b, c), (b, e, f), (c, f, i)]
    determinant = xx * a + xy * b + xz * c
    return np.stack([sum(m * r for m, r in zip(row, right, strict=True)) for row in rows]) / (
        determinant
    )
