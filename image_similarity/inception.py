"""The Inception network whose features FID compares, from the weight file that the field uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from artifacts.errors import InputError
from head_geometry.weight_files import read_state_dict

WEIGHT_FILE = "pt_inception-2015-12-05-6726825d.pth"
SIDE_PX = 299
BATCH_NORM_EPSILON = 1e-3
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


class InceptionFeatures(nn.Module):
    """Inception v3 as TensorFlow's graph of 2015-12-05 has it, up to its last average.

    It differs from the network that torchvision trains: averages over 3 x 3 windows leave out what lies beyond the edge,
    and the last block takes a maximum instead.

    Source: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna 2016; Heusel et al. 2017 (FID); names of the tensors and the
    differences as in the package pytorch-fid 0.3.0, which this agrees with.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """Take the tensors of the published file; the number of channels is theirs.

        Raises:
            ValueError: one is missing.
        """
        super().__init__()
        names = [
            name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")
        ]
        for name in names:
            parts = (f"{name}.bn.{part}" for part in _BATCH_NORM)
            for tensor in (f"{name}.conv.weight", *parts):
                if tensor not in state:
                    raise ValueError(f"lacks the tensor {tensor}")
                self._keep(tensor, state[tensor])
        self.eval()

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name.replace(".", "_"), value.detach().float(), persistent=False)

    def _tensor(self, name: str) -> Tensor:
        try:
            return self.get_buffer(name.replace(".", "_"))
        except AttributeError as error:
            raise ValueError(f"lacks the tensor {name}") from error

    def _convolve(self, x: Tensor, name: str, stride: int = 1, *, padded: bool = True) -> Tensor:
        """Convolution, batch norm, ReLU; padded so that the size stays, or not at all."""
        weight = self._tensor(f"{name}.conv.weight")
        sides = (weight.shape[2] // 2, weight.shape[3] // 2) if padded else (0, 0)
        x = functional.conv2d(x, weight, None, stride, sides)
        scale, shift, mean, variance = (self._tensor(f"{name}.bn.{part}") for part in _BATCH_NORM)
        return functional.batch_norm(x, mean, variance, scale, shift, eps=BATCH_NORM_EPSILON).relu()

    def _chain(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self._convolve(x, name)
        return x

    def _block(
        self,
        x: Tensor,
        block: str,
        branches: tuple[tuple[str, ...], ...],
        pool: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Branches beside each other, the last one behind a pooling."""
        found = [self._chain(x, *(f"{block}.{name}" for name in names)) for names in branches]
        return torch.cat([*found, self._convolve(pool(x), f"{block}.branch_pool")], 1)

    def _last_kind(self, x: Tensor, block: str, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """Mixed_7b and 7c: two branches end in two convolutions each."""
        single = self._convolve(x, f"{block}.branch3x3_1")
        double = self._chain(x, f"{block}.branch3x3dbl_1", f"{block}.branch3x3dbl_2")
        return torch.cat(
            [
                self._convolve(x, f"{block}.branch1x1"),
                self._convolve(single, f"{block}.branch3x3_2a"),
                self._convolve(single, f"{block}.branch3x3_2b"),
                self._convolve(double, f"{block}.branch3x3dbl_3a"),
                self._convolve(double, f"{block}.branch3x3dbl_3b"),
                self._convolve(pool(x), f"{block}.branch_pool"),
            ],
            1,
        )

    def _stem(self, x: Tensor) -> Tensor:
        x = self._convolve(x, "Conv2d_1a_3x3", stride=2, padded=False)
        x = self._convolve(x, "Conv2d_2a_3x3", padded=False)
        x = functional.max_pool2d(self._convolve(x, "Conv2d_2b_3x3"), 3, 2)
        x = self._convolve(x, "Conv2d_3b_1x1")
        return functional.max_pool2d(self._convolve(x, "Conv2d_4a_3x3", padded=False), 3, 2)

    def _first_reduction(self, x: Tensor) -> Tensor:
        double = self._chain(x, "Mixed_6a.branch3x3dbl_1", "Mixed_6a.branch3x3dbl_2")
        return torch.cat(
            [
                self._convolve(x, "Mixed_6a.branch3x3", stride=2, padded=False),
                self._convolve(double, "Mixed_6a.branch3x3dbl_3", stride=2, padded=False),
                functional.max_pool2d(x, 3, 2),
            ],
            1,
        )

    def _second_reduction(self, x: Tensor) -> Tensor:
        single = self._convolve(x, "Mixed_7a.branch3x3_1")
        long = self._chain(x, *(f"Mixed_7a.branch7x7x3_{part}" for part in (1, 2, 3)))
        return torch.cat(
            [
                self._convolve(single, "Mixed_7a.branch3x3_2", stride=2, padded=False),
                self._convolve(long, "Mixed_7a.branch7x7x3_4", stride=2, padded=False),
                functional.max_pool2d(x, 3, 2),
            ],
            1,
        )

    def forward(
        self, images: Float[Tensor, "frame height width 3"]
    ) -> Float[Tensor, "frame feature"]:
        """Features of sRGB pictures in 0..1, resized to 299 x 299 (bilinear, no smoothing before); 2048 of each."""
        x = images.movedim(-1, 1)
        x = functional.interpolate(x, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
        x = self._stem(x * 2 - 1)
        for name in ("5b", "5c", "5d"):
            x = self._block(x, f"Mixed_{name}", _SMALL_BRANCHES, _average)
        x = self._first_reduction(x)
        for name in ("6b", "6c", "6d", "6e"):
            x = self._block(x, f"Mixed_{name}", _LONG_BRANCHES, _average)
        x = self._second_reduction(x)
        x = self._last_kind(x, "Mixed_7b", _average)
        x = self._last_kind(x, "Mixed_7c", _maximum)
        return x.mean((2, 3))


_SMALL_BRANCHES = (
    ("branch1x1",),
    ("branch5x5_1", "branch5x5_2"),
    ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
)
_LONG_BRANCHES = (
    ("branch1x1",),
    ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
    tuple(f"branch7x7dbl_{part}" for part in (1, 2, 3, 4, 5)),
)


def _average(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, 1, 1)


def load_inception(path: Path) -> InceptionFeatures:
    """Read the network from its weight file (tensors only, nothing is unpickled).

    Raises:
        InputError: the file is missing, damaged, or of another network.
    """
    try:
        network = InceptionFeatures(read_state_dict(path))
        with torch.inference_mode():
            network(torch.zeros(1, 8, 8, 3))
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"{path}: not the Inception weights of FID ({error}); fetch {WEIGHT_FILE}"
        ) from error
    return network
