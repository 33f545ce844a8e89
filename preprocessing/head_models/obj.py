"""Wavefront OBJ: vertices, texture coordinates and polygons of three or four corners."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from artifacts.errors import InputError


@dataclass(frozen=True)
class ObjMesh:
    """A mesh as the file has it; the fourth corner of a triangle is -1; without texture ``polygons_uv`` is empty."""

    vertices: Float[np.ndarray, "vertex 3"]
    uv: Float[np.ndarray, "uv_vertex 2"]
    polygons: Int[np.ndarray, "polygon 4"]
    polygons_uv: Int[np.ndarray, "textured 4"]


def read_obj(path: Path) -> ObjMesh:
    """Read a mesh; texture coordinates have (0, 0) at the bottom-left corner.

    Raises:
        InputError: no OBJ file, a polygon of more than four corners, or a corner that does not exist.
    """
    lines: dict[str, list[str]] = {"v": [], "vt": [], "f": []}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            word, _, rest = line.partition(" ")
            if word in lines:
                lines[word].append(rest)
        vertices = np.array([row.split()[:3] for row in lines["v"]], np.float64).reshape(-1, 3)
        uv = np.array([row.split()[:2] for row in lines["vt"]], np.float64).reshape(-1, 2)
        corners = [[corner.split("/") for corner in row.split()] for row in lines["f"]]
        polygons = _indices([[c[0] for c in polygon] for polygon in corners], len(vertices))
        textured = all(len(c) > 1 and c[1] for polygon in corners for c in polygon) and len(uv) > 0
        polygons_uv = np.zeros((0, 4), np.int64)
        if textured:
            polygons_uv = _indices([[c[1] for c in polygon] for polygon in corners], len(uv))
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path}: is no usable OBJ file ({error})") from error
    if len(vertices) == 0 or len(polygons) == 0:
        raise InputError(f"{path}: is no usable OBJ file (it has no faces)")
    return ObjMesh(vertices, uv, polygons, polygons_uv)


def _indices(polygons: list[list[str]], count: int) -> Int[np.ndarray, "polygon 4"]:
    if any(len(polygon) not in (3, 4) for polygon in polygons):
        raise ValueError("a face has other than three or four corners")
    index = np.array([[int(c) - 1 for c in p] + [-1] * (4 - len(p)) for p in polygons], np.int64)
    index = index.reshape(-1, 4)
    if len(index) and (index[:, :3].min() < 0 or index.max() >= count):
        raise ValueError("a face points beyond the vertices")
    return index
