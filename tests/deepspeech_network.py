"""A small network file of DeepSpeech 0.9.3's layout with random weights, and the same network in numpy.

Written with the flatbuffer schema: the names, the shapes (but for the size of the memory), the MFCC part and the softmax
called "logits" are those of the published file; between them lies one simple recurrence over the calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

STEPS, CONTEXTS, COEFFICIENTS, CHARACTERS = 16, 19, 26, 29


@dataclass
class SmallDeepSpeech:
    """Weights; ``state`` is the size of the memory (2048 in the published file)."""

    state: int = 12
    seed: int = 0
    with_softmax: bool = True
    with_mfcc: bool = True
    characters: int = CHARACTERS
    weights: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        inputs = CONTEXTS * COEFFICIENTS
        self.weights = {
            "in": rng.normal(0, 0.5 / np.sqrt(inputs), (self.state, inputs)).astype(np.float32),
            "out": rng.normal(0, 2.0, (self.characters, self.state)).astype(np.float32),
        }

    def logits(self, padded: np.ndarray) -> np.ndarray:
        """What the network is to give for coefficients (9 + steps + 9, 26), computed in double precision."""
        n_steps = len(padded) - CONTEXTS + 1
        c, h = np.zeros(self.state), np.zeros(self.state)
        result = []
        for first in range(0, n_steps, STEPS):
            batch = np.zeros((STEPS, CONTEXTS * COEFFICIENTS))
            for i in range(min(STEPS, n_steps - first)):
                batch[i] = padded[first + i : first + i + CONTEXTS].reshape(-1)
            hidden = np.tanh(batch @ self.weights["in"].T + h)
            result.append(hidden @ self.weights["out"].T)
            c = c + hidden.mean(axis=0)
            h = np.tanh(c)
        return np.concatenate(result)[:n_steps]

    def write(self, path: Path) -> Path:
        """The ``.tflite`` file."""
        graph = _GraphWriter()
        size, given = self.state, {}
        for name, shape in (
            ("input_node", [1, STEPS, CONTEXTS, COEFFICIENTS]),
            ("previous_state_c", [1, size]),
            ("previous_state_h", [1, size]),
        ):
            given[name] = graph.tensor(name, shape)
        flat = graph.reshape(given["input_node"], "flat", [STEPS, CONTEXTS * COEFFICIENTS])
        summed = graph.tensor("summed", [STEPS, size])
        graph.connect(flat, self.weights["in"], summed)
        remembered, hidden = graph.tensor("remembered", [STEPS, size]), graph.tensor("h", None)
        graph.tensors[hidden].shape = [STEPS, size]
        graph.operator("ADD", [summed, given["previous_state_h"]], [remembered], "AddOptions")
        graph.operator("TANH", [remembered], [hidden])
        raw = graph.tensor("raw" if self.with_softmax else "logits", [STEPS, self.characters])
        graph.connect(hidden, self.weights["out"], raw)
        logits = raw
        if self.with_softmax:
            logits = graph.tensor("logits", [STEPS, self.characters])
            graph.operator("SOFTMAX", [raw], [logits], "SoftmaxOptions", beta=1.0)
        mean, new_c = graph.tensor("mean", [1, size]), graph.tensor("new_state_c", [1, size])
        new_h = graph.tensor("new_state_h", [1, size])
        axis = graph.constant("axis", np.array([0], np.int32))
        graph.operator("MEAN", [hidden, axis], [mean], "ReducerOptions", keepDims=True)
        graph.operator("ADD", [given["previous_state_c"], mean], [new_c], "AddOptions")
        graph.operator("TANH", [new_c], [new_h])
        inputs, outputs = list(given.values()), [logits, new_c, new_h]
        outputs.append(graph.constant("metadata_version", np.array([6], np.int32)))
        if self.with_mfcc:
            samples, coefficients = _add_mfcc(graph)
            inputs.append(samples)
            outputs.append(coefficients)
        path.write_bytes(graph.pack(inputs, outputs))
        return path


def _add_mfcc(graph: _GraphWriter) -> tuple[int, int]:
    """The custom operators AudioSpectrogram and Mfcc with the published options."""
    samples = graph.tensor("input_samples", [512])
    column = graph.reshape(samples, "column", [512, 1])
    spectrum, cepstrum = graph.tensor("spectrum", [1, 1, 257]), graph.tensor("cepstrum", None)
    graph.tensors[cepstrum].shape = [1, 1, COEFFICIENTS]
    rate = graph.constant("rate", np.array(16000, np.int32))
    options = {"window_size": 512, "stride": 320, "magnitude_squared": True}
    graph.custom("AudioSpectrogram", [column], [spectrum], options)
    options = {"upper_frequency_limit": 8000.0, "lower_frequency_limit": 20.0}
    options |= {"filterbank_channel_count": 40, "dct_coefficient_count": COEFFICIENTS}
    graph.custom("Mfcc", [spectrum, rate], [cepstrum], options)
    return samples, graph.reshape(cepstrum, "mfccs", [1, COEFFICIENTS])


class _GraphWriter:
    """Tensors and operators of one graph."""

    def __init__(self) -> None:
        self.model: Any = schema.ModelT()
        self.model.version, self.model.buffers = 3, [schema.BufferT()]
        self.model.operatorCodes = []
        self.tensors: list[Any] = []
        self.operators: list[Any] = []

    def tensor(self, name: str, shape: list[int] | None, kind: int = 0, buffer: int = 0) -> int:
        tensor: Any = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), shape, kind, buffer
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name: str, values: np.ndarray) -> int:
        buffer: Any = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
        return self.tensor(name, list(values.shape), kind, len(self.model.buffers) - 1)

    def operator(self, name: str, inputs, outputs, options: str = "", **values) -> Any:
        code: Any = schema.OperatorCodeT()
        # As files of 2020 have it: only the field that is deprecated now.
        code.deprecatedBuiltinCode, code.version = getattr(schema.BuiltinOperator, name), 1
        self.model.operatorCodes.append(code)
        operator: Any = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            operator.builtinOptions.__dict__.update(values)
        self.operators.append(operator)
        return operator

    def custom(self, name: str, inputs, outputs, options: dict[str, Any]) -> None:
        operator = self.operator("CUSTOM", inputs, outputs)
        self.model.operatorCodes[operator.opcodeIndex].customCode = name.encode()
        builder = flexbuffers.Builder()
        builder.MapFromElements(options)
        operator.customOptions = np.frombuffer(bytes(builder.Finish()), np.uint8)

    def reshape(self, tensor: int, name: str, shape: list[int]) -> int:
        result = self.tensor(name, shape)
        wanted = self.constant(f"{name}/shape", np.array(shape, np.int32))
        self.operator("RESHAPE", [tensor, wanted], [result], "ReshapeOptions", newShape=shape)
        return result

    def connect(self, tensor: int, weights: np.ndarray, result: int) -> None:
        """Fully connected, without a bias."""
        matrix = self.constant(f"weights{result}", weights)
        self.operator("FULLY_CONNECTED", [tensor, matrix, -1], [result], "FullyConnectedOptions")

    def pack(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph: Any = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = inputs, outputs
        self.model.subgraphs = [graph]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
