"""A minimal writer of glTF 2.0 binary files: typed arrays in, one .glb out.

Own, since the libraries leave this very part to the caller: trimesh writes no morph targets, and pygltflib mirrors
the JSON schema, so that buffers, views, accessors and their bounds are packed by hand all the same.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
COMPONENT = {"float32": 5126, "uint8": 5121, "uint16": 5123, "uint32": 5125}
SHAPE = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
VERTICES, INDICES = 34962, 34963


class GlbWriter:
    """Collects arrays; hands out the indices by which the JSON names them.

    Source: Khronos glTF 2.0 specification, sections 3.6 (buffers and accessors) and 4 (GLB).
    """

    def __init__(self) -> None:
        self._binary = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def accessor(
        self, array: np.ndarray, target: int | None = None, name: str | None = None
    ) -> int:
        """Add ``array`` (rows of elements); its accessor.

        Args:
            array: float32, uint8, uint16 or uint32; (row,), (row, 2..4) or (row, 4, 4), matrices column by column.
            target: What the GPU will use it for, :data:`VERTICES` or :data:`INDICES`.
            name: Shown by viewers.
        """
        rows = np.ascontiguousarray(array)
        flat = rows.reshape(len(rows), -1)
        entry = {
            "bufferView": self._view(rows.tobytes(), target),
            "componentType": COMPONENT[rows.dtype.name],
            "count": len(rows),
            "type": SHAPE[rows.shape[1:]],
            "min": flat.min(0).tolist(),
            "max": flat.max(0).tolist(),
        }
        if name is not None:
            entry["name"] = name
        self._accessors.append(entry)
        return len(self._accessors) - 1

    def picture(self, png: bytes) -> dict[str, Any]:
        """Add an encoded PNG file; its entry for ``images``."""
        return {"bufferView": self._view(png, None), "mimeType": "image/png"}

    def write(self, path: Path, content: dict[str, Any]) -> None:
        """Write the file; ``content`` is the JSON without buffers, views and accessors.

        Raises:
            OSError: the disk is full or the folder is not writable.
        """
        document = content | {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._binary)}],
        }
        text = json.dumps(document, separators=(",", ":")).encode("utf-8")
        text += b" " * (-len(text) % 4)
        binary = bytes(self._binary) + b"\0" * (-len(self._binary) % 4)
        chunks = struct.pack("<II", len(text), JSON_CHUNK) + text
        chunks += struct.pack("<II", len(binary), BINARY_CHUNK) + binary
        path.write_bytes(struct.pack("<III", MAGIC, 2, 12 + len(chunks)) + chunks)

    def _view(self, data: bytes, target: int | None) -> int:
        self._binary += b"\0" * (-len(self._binary) % 4)
        view: dict[str, Any] = {
            "buffer": 0,
            "byteOffset": len(self._binary),
            "byteLength": len(data),
        }
        if target is not None:
            view["target"] = target
        self._binary += data
        self._views.append(view)
        return len(self._views) - 1
