"""A small network of the operators and layout of ArcFace's ONNX files, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES = 16


def small_model(width: int = 6) -> onnx.ModelProto:
    """Convolution, a residual block with batch norm and PReLU, a strided shortcut, flatten and matrix product."""
    generator = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}

    def weight(name: str, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:])) or 1
        weights[name] = (generator.standard_normal(shape) / fan_in**0.5).astype(np.float32)
        return name

    def batch_norm(name: str, channels: int) -> list[str]:
        names = [f"{name}.{part}" for part in ("scale", "shift", "mean", "variance")]
        for part in names:
            weights[part] = generator.uniform(0.5, 1.5, channels).astype(np.float32)
        return names

    side = 112 // 16
    w = width
    nodes = [
        helper.make_node("Conv", ["x", weight("c0", w, 3, 3, 3), weight("b0", w)], ["h0"], strides=[4, 4], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("PRelu", ["h0", weight("p0", w, 1, 1)], ["h1"]),
        helper.make_node("BatchNormalization", ["h1", *batch_norm("n1", w)], ["h2"], epsilon=1e-3),
        helper.make_node("Conv", ["h2", weight("c1", w, w, 3, 3)], ["h3"], strides=[4, 4], pads=[0, 1, 1, 0], kernel_shape=[3, 3]),
        helper.make_node("Conv", ["h1", weight("c2", w, w, 1, 1)], ["h4"], strides=[4, 4], kernel_shape=[1, 1]),
        helper.make_node("Add", ["h3", "h4"], ["h5"]),
        helper.make_node("Flatten", ["h5"], ["h6"], axis=1),
        helper.make_node("Gemm", ["h6", weight("g", FEATURES, w * side * side), weight("gb", FEATURES)], ["y"], transB=1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "faces",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, FEATURES])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    onnx.checker.check_model(model)
    return model


def write_network(path: Path) -> Path:
    """A file of the small network."""
    onnx.save(small_model(), path)
    return path
