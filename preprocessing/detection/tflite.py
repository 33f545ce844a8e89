"""Run TensorFlow Lite networks with LiteRT: load from a file or from bytes, write inputs and read outputs without copies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from artifacts.errors import InputError


def read_model_file(path: Path) -> bytes:
    """The bytes of a ``.tflite`` file.

    Raises:
        InputError: there is no such file, or it is no TensorFlow Lite model.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: no such network file; fetch it with `python -m assets.fetch --name {path.name} --out {path}`"
        )
    content = path.read_bytes()
    # Byte 4 of a flatbuffer starts its four-letter file identifier.
    if content[4:8] != b"TFL3":
        raise InputError(f"{path}: not a TensorFlow Lite model; delete it and fetch it again")
    return content


class Network:
    """One network with fixed input sizes, run on the CPU.

    Inputs and outputs go by their tensor names in the file. Not safe for use from two threads at a
    time: make one per thread.
    """

    def __init__(self, content: bytes, source: str) -> None:
        """Prepare the network; one run uses one thread, which for networks of this size is the fastest.

        Args:
            content: A whole ``.tflite`` file.
            source: Where it came from, for error messages.

        Raises:
            InputError: the file is damaged or holds an operator that LiteRT does not know.
        """
        try:
            self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"{source}: the network cannot be loaded ({error}); delete the file and fetch it again"
            ) from error
        self._inputs = {d["name"]: d for d in self._interpreter.get_input_details()}
        self._outputs = {d["name"]: d for d in self._interpreter.get_output_details()}

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input by name."""
        return {name: tuple(int(n) for n in d["shape"]) for name, d in self._inputs.items()}

    @property
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each output by name."""
        return {name: tuple(int(n) for n in d["shape"]) for name, d in self._outputs.items()}

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name (copies, float32) for ``inputs`` by name (broadcast to the input's shape)."""
        for name, value in inputs.items():
            self._interpreter.tensor(self._inputs[name]["index"])()[...] = value
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(d["index"]) for name, d in self._outputs.items()}
