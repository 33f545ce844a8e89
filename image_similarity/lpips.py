"""LPIPS with the AlexNet, VGG-16 or SqueezeNet backbone, from weight files that the user has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from artifacts.errors import InputError
from head_geometry.weight_files import read_state_dict

Backbone = Literal["alex", "vgg", "squeeze"]
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
SMALLEST_SIDE_PX = 32


@dataclass(frozen=True)
class _Convolution:
    """A convolution with ReLU; ``name`` as in torchvision's ``features``."""

    name: str
    n_in: int
    n_out: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True)
class _Fire:
    """SqueezeNet's block: a 1x1 convolution, then 1x1 and 3x3 beside each other."""

    name: str
    n_in: int
    squeezed: int
    n_out: int

    @property
    def parts(self) -> tuple[_Convolution, _Convolution, _Convolution]:
        """Squeeze, expand 1x1, expand 3x3."""
        half = self.n_out // 2
        return (
            _Convolution(f"{self.name}.squeeze", self.n_in, self.squeezed, kernel=1, padding=0),
            _Convolution(f"{self.name}.expand1x1", self.squeezed, half, kernel=1, padding=0),
            _Convolution(f"{self.name}.expand3x3", self.squeezed, half),
        )


@dataclass(frozen=True)
class _Pool:
    """Maximum over windows, moved by 2."""

    kernel: int
    ceil: bool = False


_Layer = _Convolution | _Fire | _Pool


def _vgg() -> tuple[tuple[_Layer, ...], ...]:
    stages: list[tuple[_Layer, ...]] = []
    index, n_in = 0, 3
    for n_out, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers: list[_Layer] = []
        if stages:
            layers.append(_Pool(2))
            index += 1
        for _ in range(depth):
            layers.append(_Convolution(str(index), n_in, n_out))
            # torchvision counts the ReLU too.
            index, n_in = index + 2, n_out
        stages.append(tuple(layers))
    return tuple(stages)


# The layers up to each place where features are compared.
_STAGES: dict[str, tuple[tuple[_Layer, ...], ...]] = {
    "alex": (
        (_Convolution("0", 3, 64, 11, 4, 2),),
        (_Pool(3), _Convolution("3", 64, 192, 5, 1, 2)),
        (_Pool(3), _Convolution("6", 192, 384)),
        (_Convolution("8", 384, 256),),
        (_Convolution("10", 256, 256),),
    ),
    "vgg": _vgg(),
    "squeeze": (
        (_Convolution("0", 3, 64, stride=2, padding=0),),
        (_Pool(3, ceil=True), _Fire("3", 64, 16, 128), _Fire("4", 128, 16, 128)),
        (_Pool(3, ceil=True), _Fire("6", 128, 32, 256), _Fire("7", 256, 32, 256)),
        (_Pool(3, ceil=True), _Fire("9", 256, 48, 384)),
        (_Fire("10", 384, 48, 384),),
        (_Fire("11", 384, 64, 512),),
        (_Fire("12", 512, 64, 512),),
    ),
}


def _convolutions(layers: Sequence[_Layer]) -> Iterator[_Convolution]:
    for layer in layers:
        if isinstance(layer, _Fire):
            yield from layer.parts
        elif isinstance(layer, _Convolution):
            yield layer


def state_shapes(backbone: Backbone = "alex") -> dict[str, tuple[int, ...]]:
    """Names and shapes of every tensor needed, as in torchvision's file of the backbone and the heads of LPIPS 0.1."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, stage in enumerate(_STAGES[backbone]):
        for layer in _convolutions(stage):
            shapes[f"features.{layer.name}.weight"] = (
                *(layer.n_out, layer.n_in),
                *(layer.kernel, layer.kernel),
            )
            shapes[f"features.{layer.name}.bias"] = (layer.n_out,)
        last = stage[-1]
        assert not isinstance(last, _Pool)  # noqa: S101  (features are compared behind a convolution)
        shapes[f"lin{number}.model.1.weight"] = (1, last.n_out, 1, 1)
    return shapes


class Lpips(nn.Module):
    """Learned perceptual image patch similarity, version 0.1, with linear heads.

    Source: Zhang, Isola, Efros, Shechtman and Wang 2018, eq. 1.
    """

    def __init__(self, state: Mapping[str, Tensor], backbone: Backbone = "alex") -> None:
        """Take the tensors of :func:`state_shapes` from ``state``.

        Raises:
            ValueError: one is missing or has another shape.
        """
        super().__init__()
        self.backbone = backbone
        for name, shape in state_shapes(backbone).items():
            if name not in state or tuple(state[name].shape) != shape:
                found = tuple(state[name].shape) if name in state else "nothing"
                raise ValueError(f"tensor {name}: found {found}, expected shape {shape}")
            self._keep(name.replace(".", "_"), state[name].detach().float())
        self._keep("shift", torch.tensor(_SHIFT)[:, None, None])
        self._keep("scale", torch.tensor(_SCALE)[:, None, None])

    def _keep(self, name: str, value: Tensor) -> None:
        # A network that is trained by this one does not carry it into its own file.
        self.register_buffer(name, value, persistent=False)

    def _convolve(self, planes: Tensor, layer: _Convolution) -> Tensor:
        name = f"features_{layer.name}".replace(".", "_")
        weight, bias = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
        return functional.conv2d(planes, weight, bias, layer.stride, layer.padding).relu()

    def _apply_layer(self, planes: Tensor, layer: _Layer) -> Tensor:
        if isinstance(layer, _Pool):
            return functional.max_pool2d(planes, layer.kernel, 2, ceil_mode=layer.ceil)
        if isinstance(layer, _Convolution):
            return self._convolve(planes, layer)
        squeeze, one, three = layer.parts
        planes = self._convolve(planes, squeeze)
        return torch.cat([self._convolve(planes, one), self._convolve(planes, three)], 1)

    def _features(self, images: Float[Tensor, "frame height width 3"]) -> list[Tensor]:
        planes = images.movedim(-1, 1) * 2 - 1
        planes = (planes - self.get_buffer("shift")) / self.get_buffer("scale")
        features = []
        for stage in _STAGES[self.backbone]:
            for layer in stage:
                planes = self._apply_layer(planes, layer)
            features.append(planes)
        return features

    def forward(
        self,
        first: Float[Tensor, "frame height width 3"],
        second: Float[Tensor, "frame height width 3"],
    ) -> Float[Tensor, " frame"]:
        """Distance of each frame; sRGB in 0..1 (mapped to -1..1 inside), at least 32 px a side.

        Raises:
            ValueError: the images are too small for the backbone.
        """
        if min(first.shape[1:3]) < SMALLEST_SIDE_PX:
            raise ValueError(f"LPIPS needs images of at least {SMALLEST_SIDE_PX} px a side")
        total = torch.zeros(len(first), device=first.device)
        pairs = zip(self._features(first), self._features(second), strict=True)
        for number, (a, b) in enumerate(pairs):
            difference = (_unit(a) - _unit(b)) ** 2
            head = self.get_buffer(f"lin{number}_model_1_weight")
            total = total + functional.conv2d(difference, head).mean((1, 2, 3))
        return total


def _unit(features: Float[Tensor, "frame channel h w"]) -> Float[Tensor, "frame channel h w"]:
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)


def load_lpips(paths: Sequence[Path], backbone: Backbone = "alex") -> Lpips:
    """Read the backbone and the heads from one or several weight files (tensors only, nothing is unpickled).

    Raises:
        InputError: a file is missing, holds more than tensors, or the files lack a tensor.
    """
    state: dict[str, Tensor] = {}
    for path in paths:
        state |= read_state_dict(path)
    try:
        return Lpips(state, backbone)
    except ValueError as error:
        names = ", ".join(str(path) for path in paths)
        raise InputError(
            f"{names}: not the weights of LPIPS with backbone {backbone} ({error}); give the "
            f"two files that assets/registry.yaml names under lpips_{backbone}"
        ) from error
