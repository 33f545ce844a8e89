"""A convolution layer of one picture, strip by strip: what a strip needs stays in a core's cache, and cores share them.

For rendering on a CPU. With gradients, in batches or on a GPU the layer is computed as a whole
(:mod:`avatar_models.triplane.layers`), with the same result but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from avatar_models.parallel import map_parts
from avatar_models.triplane.winograd import TILE, convolve_tiles, kernel_in_tiles

# Numbers of a strip's result: a few megabytes. Smaller pictures are not cut.
_STRIP_NUMBERS = 1 << 20
SMALLEST_SIDE = 64
# With fewer channels a direct convolution is faster than one by tiles (measured on two cores).
_FEWEST_CHANNELS = 128

# Rows of the input with one more above and below (zeros outside the picture) to rows of the result.
Rows = Callable[[Float[Tensor, "1 n_in padded width"]], Float[Tensor, "1 n_out new_rows new_width"]]


def can_be_cut(image: Float[Tensor, "n n_in height width"], *others: Tensor) -> bool:
    """True for one picture of some size on a CPU that needs no gradients."""
    needs = torch.is_grad_enabled() and any(x.requires_grad for x in (image, *others))
    large = len(image) == 1 and min(image.shape[2:]) >= SMALLEST_SIDE
    return image.device.type == "cpu" and large and not needs


def activated_convolution(
    image: Float[Tensor, "1 n_in height width"],
    weight: Float[Tensor, "n_out n_in 3 3"],
    added: Float[Tensor, "n_out _ _"],
    slope: float,
    doubles: bool,
) -> Float[Tensor, "1 n_out new_height new_width"]:
    """``leaky_relu(convolution + added)``.

    Args:
        image: Input.
        weight: Kernels with all scales in them.
        added: Bias, with noise where there is some; (n_out, 1, 1) or of the result's size.
        slope: Of the leaky ReLU.
        doubles: The result has twice the size: a transposed convolution of stride 2, then the 1-3-3-1 filter.

    Returns:
        The result, channels last in memory.
    """
    height, width = image.shape[2:]
    scale = 2 if doubles else 1
    shape = (1, len(weight), scale * height, scale * width)
    result = torch.empty(shape, dtype=image.dtype, memory_format=torch.channels_last)
    image = image.contiguous(memory_format=torch.channels_last)

    method = _method(weight, doubles, width)

    def compute(rows: slice) -> None:
        found = method(_with_neighbours(image, rows))
        made = slice(scale * rows.start, scale * rows.stop)
        found += added[:, made if added.shape[1] > 1 else slice(None)]
        result[:, :, made] = functional.leaky_relu_(found, slope)

    step = max(1, _STRIP_NUMBERS // (len(weight) * shape[3] * scale * TILE)) * TILE
    strips = [slice(top, min(top + step, height)) for top in range(0, height, step)]
    map_parts(compute, strips, image.device)
    return result


def _with_neighbours(image: Tensor, rows: slice) -> Tensor:
    """Rows with one more above and below, zeros outside the picture."""
    height = image.shape[2]
    above, below = rows.start == 0, rows.stop == height
    chosen = image[:, :, max(rows.start - 1, 0) : rows.stop + 1]
    return functional.pad(chosen, (0, 0, int(above), int(below))) if above or below else chosen


def _method(weight: Tensor, doubles: bool, width: int) -> Rows:
    """How rows of this layer are computed, with what can be prepared once."""
    if doubles:
        return partial(_doubled, weight=weight.transpose(0, 1).contiguous())
    if min(weight.shape[:2]) >= _FEWEST_CHANNELS and width % TILE == 0:
        return partial(_by_tiles, kernel=kernel_in_tiles(weight))
    return partial(_direct, weight=weight.contiguous(memory_format=torch.channels_last))


def _direct(rows: Tensor, weight: Tensor) -> Tensor:
    return functional.conv2d(rows, weight, padding=(0, 1))


def _by_tiles(rows: Tensor, kernel: Tensor) -> Tensor:
    flat = functional.pad(rows[0].movedim(0, -1), (0, 0, 1, 1))
    return convolve_tiles(flat, kernel).movedim(-1, 0)[None]


def _doubled(rows: Tensor, weight: Tensor) -> Tensor:
    spread = functional.conv_transpose2d(rows, weight, stride=2)
    # The first and the last row lack what lies beyond the neighbours.
    return smoothing_filter(spread[:, :, 1:-1], (0, 1), 4.0)


def smoothing_filter(
    image: Float[Tensor, "n channel height width"],
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> Float[Tensor, "n channel new_height new_width"]:
    """[1, 3, 3, 1]/8 along both axes: three pixels less per axis, but for the zeros put around before.

    Args:
        image: Input.
        padding: Rows and columns of zeros on each side.
        gain: Factor.
    """
    line = image.new_tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (line[:, None] * line * (gain / 64)).expand(image.shape[1], 1, 4, 4).contiguous()
    return functional.conv2d(image, kernel, padding=padding, groups=image.shape[1])
