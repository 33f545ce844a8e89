"""Run networks that hold custom operators unknown to LiteRT: cut the graph around them and compute those in numpy.

The graph is cut in memory into segments of ordinary operators. Between two segments run the custom
operators, as plain functions over arrays that get their options from the graph itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from artifacts.errors import InputError
from preprocessing.detection.tflite import Network, read_model_file

# A custom operator: (options read from the graph, inputs) -> output.
CustomFunction = Callable[[Mapping[str, Any], Sequence[np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class CustomStep:
    """One custom operator between two segments.

    Attributes:
        function: What computes it.
        options: Its options from the graph.
        inputs: Names of its input tensors.
        output: Name of its output tensor.
        constants: Those of its inputs that are constants of the graph.
    """

    function: CustomFunction
    options: Mapping[str, Any]
    inputs: tuple[str, ...]
    output: str
    constants: Mapping[str, np.ndarray]


@dataclass
class _Stage:
    """Ordinary operators of one level, then the custom operators that follow them."""

    operators: list[int]
    steps: list[CustomStep]


class SplitNetwork:
    """A network whose custom operators run in numpy; otherwise used like :class:`preprocessing.detection.tflite.Network`."""

    def __init__(
        self,
        path: Path,
        functions: Mapping[str, CustomFunction],
        options_parser: Callable[[bytes], Mapping[str, Any]] | None = None,
    ) -> None:
        """Cut and load the network.

        Args:
            path: A ``.tflite`` file with one subgraph.
            functions: Custom operator's name to the function that computes it.
            options_parser: Reads an operator's options; by default flexbuffers, as MediaPipe writes them.

        Raises:
            InputError: the file is missing, damaged or holds a custom operator that has no function here.
        """
        content = read_model_file(path)
        try:
            graph = _Graph(content)
            stages = graph.stages(functions, options_parser or read_flexbuffer)
        except (struct.error, IndexError, AttributeError) as error:
            # What reading a flatbuffer beyond its end raises.
            raise InputError(
                f"{path}: the network is damaged ({error}); delete the file and fetch it again"
            ) from error
        self._steps = [stage.steps for stage in stages]
        self._outputs = graph.output_names
        later: set[str] = set(self._outputs)
        needed_after: list[set[str]] = []
        for stage in reversed(stages):
            for step in stage.steps:
                later |= set(step.inputs) - set(step.constants)
            needed_after.append(set(later))
            later |= graph.operator_inputs(stage.operators)
        self._name = str(path)
        self._parts = [
            graph.extract(stage.operators, needed)
            for stage, needed in zip(stages, reversed(needed_after), strict=True)
        ]
        self._segments = self._load_parts()

    def twin(self) -> SplitNetwork:
        """The same network for another thread, without reading and cutting the file again."""
        twin = copy(self)
        twin._segments = self._load_parts()
        return twin

    def _load_parts(self) -> list[Network | None]:
        return [None if part is None else Network(part, self._name) for part in self._parts]

    @property
    def step_options(self) -> dict[str, Mapping[str, Any]]:
        """Options of each custom operator, by the name of its output tensor."""
        return {step.output: step.options for steps in self._steps for step in steps}

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for ``inputs`` by name."""
        known = dict(inputs)
        for segment, steps in zip(self._segments, self._steps, strict=True):
            if segment is not None:
                known.update(segment.run({name: known[name] for name in segment.input_shapes}))
            for step in steps:
                values = {**known, **step.constants}
                known[step.output] = step.function(
                    step.options, [values[name] for name in step.inputs]
                )
        return {name: known[name] for name in self._outputs}


class NetworkParts:
    """Parts of a network, by the tensors they lead to; each is a ``.tflite`` file of its own."""

    def __init__(self, content: bytes, source: str) -> None:
        """Look at a whole ``.tflite`` file; ``source`` is where it came from, for error messages.

        Raises:
            InputError: the file is damaged.
        """
        self._source = source
        try:
            self._graph = _Graph(content)
            self._graph.mark_computed()
        except (struct.error, IndexError, AttributeError, TypeError) as error:
            raise InputError(f"{source}: the network is damaged ({error})") from error

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs of the whole network."""
        return self._graph.input_names

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs of the whole network."""
        return self._graph.output_names

    def leading_to(self, outputs: Sequence[str]) -> bytes:
        """The operators that the tensors ``outputs`` are computed by, from the inputs on.

        Raises:
            InputError: none of them depends on an input.
        """
        part = self._graph.extract(self._graph.operators_before(outputs), set(outputs))
        if part is None:
            raise InputError(f"{self._source}: {', '.join(outputs)} do not depend on any input")
        return part

    def before_softmax(self, name: str) -> str:
        """Name of the tensor whose softmax ``name`` is; ``name`` itself where it is no softmax."""
        return self._graph.before_softmax(name)


def read_flexbuffer(options: bytes) -> Mapping[str, Any]:
    """Options of a MediaPipe operator; empty where the operator has none."""
    loaded: Any = flexbuffers.Loads(options) if options else {}
    return loaded


class _Graph:
    """The flatbuffer of a network as objects, with tensors known by name."""

    def __init__(self, content: bytes) -> None:
        self._model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
        if len(self._model.subgraphs) != 1:
            raise InputError(
                f"the network has {len(self._model.subgraphs)} subgraphs, expected 1; fetch its file again"
            )
        self._graph: Any = self._model.subgraphs[0]
        self._producer = {
            int(tensor): index
            for index, operator in enumerate(self._graph.operators)
            for tensor in operator.outputs
        }
        self._variable: set[int] = set()
        self.input_names = [self._name(int(tensor)) for tensor in self._graph.inputs]
        self.output_names = [self._name(int(tensor)) for tensor in self._graph.outputs]

    def _name(self, tensor: int) -> str:
        return self._graph.tensors[tensor].name.decode()

    def _custom_name(self, operator: int) -> str | None:
        code = self._model.operatorCodes[self._graph.operators[operator].opcodeIndex]
        return code.customCode.decode() if code.customCode else None

    def _is_computed(self, tensor: int) -> bool:
        """True for a tensor that depends on the network's input (not a constant, not an absent optional one)."""
        return tensor in self._variable

    def mark_computed(self) -> None:
        """Find the tensors that depend on the network's inputs."""
        self._variable = {int(tensor) for tensor in self._graph.inputs}
        for operator in self._graph.operators:
            if any(int(tensor) in self._variable for tensor in operator.inputs):
                self._variable |= {int(tensor) for tensor in operator.outputs}

    def operators_before(self, names: Sequence[str]) -> list[int]:
        """Operators with computed outputs that the tensors ``names`` depend on, in running order."""
        todo = [t for t in self._producer if self._name(t) in names]
        found: set[int] = set()
        while todo:
            index = self._producer.get(todo.pop())
            if index is None or index in found:
                continue
            operator = self._graph.operators[index]
            if any(self._is_computed(int(tensor)) for tensor in operator.outputs):
                found.add(index)
                todo += [int(tensor) for tensor in operator.inputs]
        return sorted(found)

    def before_softmax(self, name: str) -> str:
        """Name of the tensor whose softmax ``name`` is; ``name`` itself where it is no softmax."""
        for tensor, index in self._producer.items():
            operator = self._graph.operators[index]
            code = self._model.operatorCodes[operator.opcodeIndex]
            # Files from before 2020 have only the deprecated field.
            builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
            if self._name(tensor) == name and builtin == schema.BuiltinOperator.SOFTMAX:
                return self._name(int(operator.inputs[0]))
        return name

    def stages(
        self,
        functions: Mapping[str, CustomFunction],
        parser: Callable[[bytes], Mapping[str, Any]],
    ) -> list[_Stage]:
        """The operators sorted into stages, in an order in which they can run."""
        # Level of a tensor: how many stages lie before it. Constants have none, so that the operators
        # that unpack them travel with whoever needs them.
        level = {int(tensor): 0 for tensor in self._graph.inputs}
        from_custom: set[int] = set()
        self._variable = set(level)
        stages = [_Stage([], [])]
        for index, operator in enumerate(self._graph.operators):
            inputs = [int(tensor) for tensor in operator.inputs if int(tensor) in level]
            if not inputs:
                continue
            custom = self._custom_name(index)
            if custom is None:
                here = max(level[tensor] for tensor in inputs)
            else:
                # A custom operator fed by another one runs right after it, in the same gap.
                here = max(level[tensor] + (tensor not in from_custom) for tensor in inputs)
            while len(stages) <= here:
                stages.append(_Stage([], []))
            for tensor in operator.outputs:
                level[int(tensor)] = here
                self._variable.add(int(tensor))
            if custom is None:
                stages[here].operators.append(index)
                continue
            from_custom |= {int(tensor) for tensor in operator.outputs}
            stages[here - 1].steps.append(self._custom_step(index, custom, functions, parser))
        return stages

    def _custom_step(
        self,
        index: int,
        name: str,
        functions: Mapping[str, CustomFunction],
        parser: Callable[[bytes], Mapping[str, Any]],
    ) -> CustomStep:
        if name not in functions:
            raise InputError(
                f"the network holds the operator {name!r}, which is not supported; use the file named in assets/registry.yaml"
            )
        operator = self._graph.operators[index]
        raw = b"" if operator.customOptions is None else bytes(operator.customOptions)
        return CustomStep(
            function=functions[name],
            options=parser(raw),
            inputs=tuple(self._name(int(tensor)) for tensor in operator.inputs),
            output=self._name(int(operator.outputs[0])),
            constants={
                self._name(int(tensor)): self._constant(int(tensor))
                for tensor in operator.inputs
                if not self._is_computed(int(tensor))
            },
        )

    def _constant(self, tensor: int) -> np.ndarray:
        """Value of a constant float tensor, stored as it is or in half precision."""
        maker = self._producer.get(tensor)
        stored = tensor if maker is None else int(self._graph.operators[maker].inputs[0])
        source = self._graph.tensors[stored]
        dtype = {
            schema.TensorType.FLOAT32: np.float32,
            schema.TensorType.FLOAT16: np.float16,
        }.get(source.type)
        data = self._model.buffers[source.buffer].data
        if dtype is None or data is None:
            raise InputError(
                f"the network stores {self._name(stored)!r} in a form that is not supported; use the file named in assets/registry.yaml"
            )
        values = np.frombuffer(bytes(data), dtype).astype(np.float32)
        return values.reshape(self._graph.tensors[tensor].shape)

    def operator_inputs(self, operators: Sequence[int]) -> set[str]:
        """Names of the computed tensors that ``operators`` read."""
        return {
            self._name(int(tensor))
            for index in operators
            for tensor in self._graph.operators[index].inputs
            if self._is_computed(int(tensor))
        }

    def extract(self, operators: Sequence[int], needed: set[str]) -> bytes | None:
        """A ``.tflite`` file of ``operators`` and the constants they need; None where there are none.

        Args:
            operators: Indices of ordinary operators of one stage.
            needed: Names of tensors that are wanted later; those made here become the outputs.
        """
        if not operators:
            return None
        keep = set(operators)
        todo = list(operators)
        while todo:
            for tensor in self._graph.operators[todo.pop()].inputs:
                maker = self._producer.get(int(tensor))
                if maker is not None and not self._is_computed(int(tensor)) and maker not in keep:
                    keep.add(maker)
                    todo.append(maker)
        order = sorted(keep)
        made = {int(t) for index in order for t in self._graph.operators[index].outputs}
        used = {int(t) for index in order for t in self._graph.operators[index].inputs if t >= 0}
        inputs = sorted(t for t in used - made if self._is_computed(t))
        outputs = sorted(t for t in made if self._name(t) in needed)
        return self._pack(order, sorted(made | used), inputs, outputs)

    def _pack(
        self, order: list[int], tensors: list[int], inputs: list[int], outputs: list[int]
    ) -> bytes:
        place = {tensor: index for index, tensor in enumerate(tensors)}
        place[-1] = -1
        part = schema.SubGraphT()
        part.tensors, buffers = [], [schema.BufferT()]
        for tensor in tensors:
            source = self._graph.tensors[tensor]
            copy = schema.TensorT()
            copy.__dict__.update(source.__dict__)
            buffer = self._model.buffers[source.buffer]
            copy.buffer = 0
            if buffer.data is not None and len(buffer.data):
                copy.buffer = len(buffers)
                buffers.append(buffer)
            part.tensors.append(copy)
        part.operators = []
        for index in order:
            operator: Any = schema.OperatorT()
            operator.__dict__.update(self._graph.operators[index].__dict__)
            operator.inputs = [place[int(tensor)] for tensor in operator.inputs]
            operator.outputs = [place[int(tensor)] for tensor in operator.outputs]
            part.operators.append(operator)
        part.inputs = [place[tensor] for tensor in inputs]
        part.outputs = [place[tensor] for tensor in outputs]
        model: Any = schema.ModelT()
        model.version = self._model.version
        model.operatorCodes = self._model.operatorCodes
        model.subgraphs, model.buffers = [part], buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
