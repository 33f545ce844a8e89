"""LPIPS with the AlexNet backbone, from weight files that the user has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from artifacts.errors import InputError
from head_geometry.weight_files import read_state_dict

# Index in torchvision's `features`, input and output channels, kernel, stride, padding, pooling before it.
_LAYERS = (
    (0, 3, 64, 11, 4, 2, False),
    (3, 64, 192, 5, 1, 2, True),
    (6, 192, 384, 3, 1, 1, True),
    (8, 384, 256, 3, 1, 1, False),
    (10, 256, 256, 3, 1, 1, False),
)
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
SMALLEST_SIDE_PX = 32


def state_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of every tensor needed, as in ``alexnet-owt-*.pth`` (torchvision) and ``alex.pth`` (LPIPS 0.1)."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (index, n_in, n_out, kernel, *_) in enumerate(_LAYERS):
        shapes[f"features.{index}.weight"] = (n_out, n_in, kernel, kernel)
        shapes[f"features.{index}.bias"] = (n_out,)
        shapes[f"lin{number}.model.1.weight"] = (1, n_out, 1, 1)
    return shapes


class LpipsAlex(nn.Module):
    """Learned perceptual image patch similarity, version 0.1, AlexNet backbone with linear heads.

    Source: Zhang, Isola, Efros, Shechtman and Wang 2018, eq. 1.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """Take the tensors of :func:`state_shapes` from ``state``.

        Raises:
            ValueError: one is missing or has another shape.
        """
        super().__init__()
        for name, shape in state_shapes().items():
            if name not in state or tuple(state[name].shape) != shape:
                found = tuple(state[name].shape) if name in state else "nothing"
                raise ValueError(f"tensor {name}: found {found}, expected shape {shape}")
            self._keep(name.replace(".", "_"), state[name].detach().float())
        self._keep("shift", torch.tensor(_SHIFT)[:, None, None])
        self._keep("scale", torch.tensor(_SCALE)[:, None, None])

    def _keep(self, name: str, value: Tensor) -> None:
        # A network that is trained by this one does not carry it into its own file.
        self.register_buffer(name, value, persistent=False)

    def _features(self, images: Float[Tensor, "frame height width 3"]) -> list[Tensor]:
        planes = (images.movedim(-1, 1) * 2 - 1 - self.get_buffer("shift")) / self.get_buffer(
            "scale"
        )
        features = []
        for index, _, _, _, stride, padding, pools in _LAYERS:
            if pools:
                planes = functional.max_pool2d(planes, 3, 2)
            weight = self.get_buffer(f"features_{index}_weight")
            bias = self.get_buffer(f"features_{index}_bias")
            planes = functional.conv2d(planes, weight, bias, stride, padding).relu()
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


def load_lpips(paths: Sequence[Path]) -> LpipsAlex:
    """Read the backbone and the heads from one or several weight files (tensors only, nothing is unpickled).

    Raises:
        InputError: a file is missing, holds more than tensors, or the files lack a tensor.
    """
    state: dict[str, Tensor] = {}
    for path in paths:
        state |= read_state_dict(path)
    try:
        return LpipsAlex(state)
    except ValueError as error:
        names = ", ".join(str(path) for path in paths)
        raise InputError(
            f"{names}: not the LPIPS weights ({error}); give torchvision's AlexNet and LPIPS 0.1's alex.pth"
        ) from error
