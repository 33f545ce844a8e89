"""A network of an ONNX file as a differentiable torch module: the few operators that face recognition networks are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError
from jaxtyping import Float
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from artifacts.errors import InputError

Attributes = dict[str, Any]


def _convolution(
    attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    x = functional.pad(x, (left, right, top, bottom))
    return functional.conv2d(
        x,
        weight,
        bias,
        stride=tuple(attributes.get("strides", [1, 1])),
        dilation=tuple(attributes.get("dilations", [1, 1])),
        groups=attributes.get("group", 1),
    )


def _batch_norm(
    attributes: Attributes, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    return functional.batch_norm(
        x, mean, variance, scale, shift, eps=attributes.get("epsilon", 1e-5)
    )


def _matrix_product(
    attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    x = x.mT if attributes.get("transA", 0) else x
    weight = weight.mT if attributes.get("transB", 0) else weight
    out = attributes.get("alpha", 1.0) * (x @ weight)
    return out if bias is None else out + attributes.get("beta", 1.0) * bias


# Source: the operators' definitions in the ONNX standard (github.com/onnx/onnx, docs/Operators.md).
_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, a, b: a + b,
    "BatchNormalization": _batch_norm,
    "Conv": _convolution,
    "Flatten": lambda attributes, x: x.flatten(attributes.get("axis", 1)),
    "Gemm": _matrix_product,
    "Identity": lambda _, x: x,
    "Mul": lambda _, a, b: a * b,
    "PRelu": lambda _, x, slope: torch.where(x < 0, slope * x, x),
    "Relu": lambda _, x: x.relu(),
    "Sub": lambda _, a, b: a - b,
}


class OnnxNetwork(nn.Module):
    """Runs the graph of an ONNX file in torch, on any device and with gradients; its weights are constants."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        """Take the weights and the order of operators from ``graph``.

        Raises:
            ValueError: it has several inputs or outputs, an operator that is not known here, or weights in another file.
        """
        super().__init__()
        weights = {tensor.name: tensor for tensor in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in weights]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ValueError(
                f"has {len(inputs)} inputs and {len(graph.output)} outputs, not one each"
            )
        self.input, self.output = inputs[0], graph.output[0].name
        # Names in a file are anything; those of buffers may hold no dot.
        self._buffer_of = {name: f"weight{number}" for number, name in enumerate(weights)}
        for name, tensor in weights.items():
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise ValueError(f"keeps its weight {name} in another file")
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy()).float()
            self.register_buffer(self._buffer_of[name], value, persistent=False)
        self._steps: list[tuple[str, Attributes, list[str], str]] = []
        known = {self.input, *weights}
        for node in graph.node:
            if node.op_type not in _OPERATORS:
                raise ValueError(
                    f"needs the operator {node.op_type}; known are {', '.join(_OPERATORS)}"
                )
            names = [name for name in node.input if name]
            if lost := set(names) - known:
                raise ValueError(f"reads {lost.pop()}, which nothing makes")
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            self._steps.append((node.op_type, attributes, names, node.output[0]))
            known.add(node.output[0])
        if self.output not in known:
            raise ValueError("does not make its output")
        self.eval()

    def forward(self, x: Float[Tensor, "frame 3 height width"]) -> Float[Tensor, "frame feature"]:
        """What the graph makes of ``x``."""
        values: dict[str, Tensor] = {self.input: x}

        def value(name: str) -> Tensor:
            return values[name] if name in values else self.get_buffer(self._buffer_of[name])

        for operator, attributes, names, output in self._steps:
            values[output] = _OPERATORS[operator](attributes, *map(value, names))
        return values[self.output]


def load_onnx(path: Path) -> OnnxNetwork:
    """Read an ONNX file: a list of operators and numbers, nothing in it is executed.

    Raises:
        InputError: the file is missing or damaged, or holds another kind of network.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        return OnnxNetwork(model.graph)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of an ONNX file") from error
    except (DecodeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be used as an ONNX network ({error}); fetch it again"
        ) from error
