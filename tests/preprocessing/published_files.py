"""Small files in the layouts that head models are published in, with random or simple values."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_matrix

FLAME_COLUMNS = 400


def ball(rings: int = 9, sectors: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """A closed ball of radius 1, its own mirror image: vertices, and triangles counter-clockwise seen from outside."""
    polar = np.pi * np.arange(1, rings) / rings
    angle = 2 * np.pi * np.arange(sectors) / sectors
    x = np.sin(polar)[:, None] * np.sin(angle)
    z = np.sin(polar)[:, None] * np.cos(angle)
    y = np.broadcast_to(np.cos(polar)[:, None], x.shape)
    vertices = np.concatenate([np.stack([x, y, z], -1).reshape(-1, 3), [[0, 1, 0], [0, -1, 0]]])
    top, bottom = len(vertices) - 2, len(vertices) - 1
    faces = []
    for j in range(sectors):
        k = (j + 1) % sectors
        faces.append((top, j, k))
        faces.append((bottom, (rings - 2) * sectors + k, (rings - 2) * sectors + j))
        for i in range(rings - 2):
            a, b = i * sectors + j, i * sectors + k
            c, d = a + sectors, b + sectors
            left = 2 * j < sectors
            faces += [(a, c, b), (b, c, d)] if left else [(a, c, d), (a, d, b)]
    return vertices, np.array(faces)


def head_mesh() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A skull and two eyeballs, metres: vertices, triangles, and 0, 1 or 2 for skull, left and right eye."""
    skull, skull_faces = ball(14, 24)
    eye, eye_faces = ball()
    pieces = [skull * [0.075, 0.13, 0.095]]
    pieces += [0.012 * eye + [side * 0.031, 0.025, 0.07] for side in (1, -1)]
    starts = np.cumsum([0, len(skull), len(eye)])
    faces = [skull_faces, eye_faces + starts[1], eye_faces + starts[2]]
    kind = np.repeat([0, 1, 2], [len(piece) for piece in pieces])
    return np.concatenate(pieces), np.concatenate(faces), kind


def flame_content(seed: int = 0) -> dict[str, object]:
    """FLAME's arrays for :func:`head_mesh`, random where the published ones hold statistics."""
    random = np.random.default_rng(seed)
    vertices, faces, kind = head_mesh()
    n = len(vertices)
    regressor = random.random((5, n)) * (random.random((5, n)) < 0.2)
    weights = random.dirichlet(np.ones(3), n) @ np.eye(5)[:3]
    for joint, number in ((3, 1), (4, 2)):
        weights[kind == number] = np.eye(5)[joint]
    return {
        "v_template": vertices,
        "f": faces.astype(np.uint32),
        "shapedirs": 0.004 * random.normal(size=(n, 3, FLAME_COLUMNS)),
        "posedirs": 0.01 * random.normal(size=(n, 3, 36)),
        "J_regressor": csc_matrix(regressor / regressor.sum(1, keepdims=True)),
        "J": random.normal(size=(5, 3)),
        "weights": weights,
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


class FakeChumpy:
    """Makes ``chumpy.ch.Ch`` importable while a pickle is written, so that it looks as the published ones do."""

    def __enter__(self) -> type:
        module, self._package = types.ModuleType("chumpy.ch"), types.ModuleType("chumpy")

        class Ch:
            def __init__(self, x: np.ndarray) -> None:
                self.x = x

            def __getstate__(self) -> dict[str, object]:
                return {"x": self.x, "_dirty_vars": [], "_itr": None}

        Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
        module.Ch = Ch
        sys.modules |= {"chumpy": self._package, "chumpy.ch": module}
        return Ch

    def __exit__(self, *_: object) -> None:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]


def write_flame(path: Path, content: dict[str, object], chumpy: bool, protocol: int = 2) -> Path:
    """A pickle like the published ones: with chumpy arrays, named as Python 2 does (protocol 2)."""
    if not chumpy:
        path.write_bytes(pickle.dumps(content, protocol))
        return path
    with FakeChumpy() as ch:
        wrapped = {
            name: ch(np.asarray(value))
            if name in ("v_template", "shapedirs", "posedirs")
            else value
            for name, value in content.items()
        }
        path.write_bytes(pickle.dumps(wrapped, protocol))
    return path


def gnm_content(seed: int = 0) -> dict[str, np.ndarray]:
    """GNM Head's arrays for :func:`head_mesh`, moved up as if it stood on a body."""
    random = np.random.default_rng(seed)
    vertices, faces, kind = head_mesh()
    vertices = vertices + np.array([0, 1.6, 0])
    n, identities, expressions = len(vertices), 6, 5
    weights = random.dirichlet(np.ones(2), n) @ np.eye(4)[:2]
    for joint, number in ((2, 1), (3, 2)):
        weights[kind == number] = np.eye(4)[joint]
    joints = np.array(
        [[0, 1.45, -0.03], [0, 1.55, -0.02], [0.031, 1.625, 0.07], [-0.031, 1.625, 0.07]]
    )
    return {
        "version": np.array("3.0"),
        "variant": np.array("head"),
        "template_vertex_positions": vertices,
        "vertex_identity_basis": 0.004 * random.normal(size=(identities, n, 3)),
        "expression_basis": 0.004 * random.normal(size=(expressions, n, 3)),
        "skinning_weights": weights.T,
        "pose_correctives_regressor": 0.01 * random.normal(size=(36, 3 * n)),
        "triangles": faces,
        "template_joint_positions": joints,
        "joint_identity_basis": 0.004 * random.normal(size=(identities, 4, 3)),
        "joint_parent_indices": np.array([-1, 0, 1, 1]),
        "joint_names": np.array(["neck", "head", "left_eye", "right_eye"]),
        "identity_names": np.array([f"identity{i}" for i in range(identities)]),
        "expression_names": np.array([f"expression{i}" for i in range(expressions)]),
    }


def basel_content(layout: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of one of the three Basel layouts for the front of a ball; metres times the layout's unit."""
    random = np.random.default_rng(seed)
    vertices, faces = ball(14, 24)
    vertices = vertices * [0.075, 0.09, 0.07]
    n = len(vertices)

    def columns(count: int) -> np.ndarray:
        return random.normal(size=(3 * n, count))

    colour = random.uniform(60, 200, (n, 3))
    if layout == "deep3d":
        return {
            "meanshape": 10 * vertices.reshape(1, -1),
            "meantex": colour.reshape(1, -1),
            "idBase": 0.02 * columns(80),
            "exBase": 0.02 * columns(64),
            "texBase": columns(80),
            "tri": faces + 1,
            "keypoints": 1 + random.permutation(n)[None, :68],
        }
    if layout == "2009":
        return {
            "shapeMU": 1e6 * vertices.reshape(-1, 1),
            "shapePC": columns(9) / np.sqrt(3 * n),
            "shapeEV": np.linspace(9e5, 1e5, 9)[:, None],
            "texMU": colour.reshape(-1, 1),
            "texPC": columns(9) / np.sqrt(3 * n),
            "texEV": np.linspace(900, 100, 9)[:, None],
            "tl": faces[:, ::-1] + 1,  # the other way round, as published
        }
    return {
        "shape/model/mean": 1e3 * vertices.ravel(),
        "shape/model/pcaBasis": columns(7) / np.sqrt(3 * n),
        "shape/model/pcaVariance": np.linspace(900.0, 100, 7),
        "shape/representer/cells": faces.T,
        "expression/model/mean": np.zeros(3 * n),
        "expression/model/pcaBasis": columns(4) / np.sqrt(3 * n),
        "expression/model/pcaVariance": np.linspace(400.0, 100, 4),
        "color/model/mean": colour.ravel() / 255,
        "color/model/pcaBasis": columns(3) / np.sqrt(3 * n),
        "color/model/pcaVariance": np.full(3, 0.01),
    }


def write_basel(folder: Path, layout: str) -> Path:
    """A file of one of the three layouts."""
    content = basel_content(layout)
    if layout != "2019":
        path = folder / f"{layout}.mat"
        savemat(path, content)
        return path
    path = folder / "2019.h5"
    with h5py.File(path, "w") as file:
        for name, array in content.items():
            file[name] = array
    return path
