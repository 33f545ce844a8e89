"""Raw person mask of one image: MediaPipe's selfie segmentation network, run with its custom operator in numpy."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from artifacts.errors import InputError
from preprocessing.detection.tflite_graph import SplitNetwork

# Pixels along each side of the network's input and of its mask.
MASK_SIZE = 256


class Segmenter:
    """Finds people in small images. Not safe for use from two threads at a time."""

    def __init__(self, model_path: Path) -> None:
        """Load the network.

        Args:
            model_path: ``selfie_segmentation.tflite``.

        Raises:
            InputError: the file is missing, damaged or another network.
        """
        self._network = SplitNetwork(
            model_path,
            {"Convolution2DTransposeBias": transposed_convolution},
            options_parser=_read_transposed_options,
        )

    def segment(self, small: UInt8[np.ndarray, "256 256 3"]) -> Float32[np.ndarray, "256 256"]:
        """Soft mask of all people in 0..1, on the pixels of ``small``."""
        outputs = self._network.run({"input_1": small * np.float32(1 / 255)})
        (mask,) = outputs.values()
        return mask.reshape(MASK_SIZE, MASK_SIZE)


def shrink_image(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "256 256 3"]:
    """The image at the network's size, antialiased; pixel edges (not centres) stay aligned."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    small = torch.nn.functional.interpolate(
        pixels, (MASK_SIZE, MASK_SIZE), mode="bilinear", align_corners=False, antialias=True
    )
    return np.ascontiguousarray(small[0].permute(1, 2, 0).numpy())


def _read_transposed_options(options: bytes) -> Mapping[str, Any]:
    # Three 32-bit integers: padding (1 is "same"), stride along x, stride along y.
    padding, stride_x, stride_y = struct.unpack("<3i", options)
    return {"padding": padding, "stride_x": stride_x, "stride_y": stride_y}


def transposed_convolution(
    options: Mapping[str, Any], inputs: Sequence[np.ndarray]
) -> Float32[np.ndarray, "1 row column 1"]:
    """Transposed convolution whose kernel is as large as its stride, so that outputs do not overlap.

    Args:
        options: ``stride_x`` and ``stride_y`` in cells.
        inputs: Features (1, row, column, channel), kernel (1, stride_y, stride_x, channel), bias (1,).

    Raises:
        InputError: the kernel is of another size.
    """
    features, kernel, bias = inputs
    _, rows, columns, channels = features.shape
    stride_y, stride_x = options["stride_y"], options["stride_x"]
    if kernel.shape != (1, stride_y, stride_x, channels):
        raise InputError(
            f"the segmentation network has a kernel of shape {kernel.shape}, which is not supported; use the file named in assets/registry.yaml"
        )
    cells = features.reshape(-1, channels) @ kernel.reshape(-1, channels).T + bias
    blocks = cells.reshape(rows, columns, stride_y, stride_x).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(blocks).reshape(1, rows * stride_y, columns * stride_x, 1)
