"""FLAME 2019, 2020, 2023 and 2023 Open: from the published pickles or an ``.npz``, metres, head axes already."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float

from head_geometry.rerooting import reroot_correctives
from preprocessing.head_models.flame_texture import read_texture
from preprocessing.head_models.model_files import Fields, read_model_file
from preprocessing.head_models.published import ALL_PARTS, TO_LABEL, PublishedHead, Rig
from preprocessing.head_models.rig import EYES, stack_rig

log = logging.getLogger(__name__)

MODEL = "FLAME"
# The published joints: the base of the neck (the root), the neck, and what it carries.
JOINTS = {"base": 0, "carrier": 1, "jaw": 2, "eye_left": 3, "eye_right": 4}
PARENTS = (-1, 0, 1, 1, 1)
IDENTITIES = 300
"""Columns of ``shapedirs`` before the expressions."""
EXPRESSION_LIMIT = 3.0
FACES, SHAPES, TREE = ("f", "faces"), ("shapedirs", "shapedirs60"), ("kintree_table", "parents")
"""Names of the same array in the published files and in extracts of them."""


def read_flame(path: Path, texture: Path | None = None) -> PublishedHead:
    """The model: 300 identity and 100 expression components, or as many as the file has.

    Args:
        path: ``.pkl`` or ``.npz``; nothing in it is executed.
        texture: The published texture (``FLAME_texture.npz``) or a textured OBJ of the template; without it own
            texture coordinates are made.

    Raises:
        InputError: one of them is not usable; one sentence.
    """
    fields = Fields(read_model_file(path, MODEL), path, MODEL)
    template = fields.take("v_template", -1, 3).astype(np.float64)
    n = len(template)
    triangle = fields.take_indices(_name(fields, FACES), n, -1, 3)
    shapes = fields.take(_name(fields, SHAPES), n, 3, -1).astype(np.float64).transpose(2, 0, 1)
    weights = fields.take("weights", n, len(PARENTS)).astype(np.float64)
    regressor = fields.take("J_regressor", len(PARENTS), n).astype(np.float64)
    tree = fields.take(_name(fields, TREE)).astype(np.int64)
    if tuple(tree.reshape(-1, len(PARENTS))[0][1:].tolist()) != PARENTS[1:]:
        fields.refuse("its joints are not those of a head")
    identity, expression = shapes[:IDENTITIES], shapes[IDENTITIES:]
    if len(expression) == 0:
        log.info("%s: the file has no expression components; jaw and eyes still move", path.name)
    eyes = [weights[:, JOINTS[name]] > 0.99 for name in EYES]
    part = np.full(n, TO_LABEL)
    for name, ball in zip(EYES, eyes, strict=True):
        part[ball] = ALL_PARTS.index(name)
    colours = read_texture(texture, template, triangle) if texture else (None, None)
    return PublishedHead(
        template=template,
        identity=identity,
        expression=expression,
        expression_name=tuple(f"expression{i:03d}" for i in range(len(expression))),
        expression_range=(-EXPRESSION_LIMIT, EXPRESSION_LIMIT),
        triangle=triangle,
        part=part,
        texture=colours[0],
        rig=_rig(fields, regressor, weights, expression),
        albedo=colours[1],
    )


def _name(fields: Fields, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in fields), names[0])


def _rig(
    fields: Fields,
    regressor: Float[np.ndarray, "published vertex"],
    weights: Float[np.ndarray, "vertex published"],
    expression: Float[np.ndarray, "expression vertex 3"],
) -> Rig:
    """The published joints in our tree; see :mod:`head_geometry.rerooting`."""
    names, rows, skin_weight = stack_rig(JOINTS, regressor, weights)
    correctives = _correctives(fields, len(weights))
    driven = np.array([JOINTS["carrier"], *(JOINTS[name] for name in names[2:])])
    joint_expression = np.einsum("jv,evx->ejx", regressor[rows], expression)
    return Rig(
        joint_name=names,
        joint_regressor=regressor[rows],
        skin_weight=skin_weight / skin_weight.sum(1, keepdims=True),
        corrective_joint=tuple(range(1, len(names))),
        # The root's own rotation drives no corrective; the first row of the file is the neck's.
        pose_corrective=reroot_correctives(correctives, driven - 1, inverted=0),
        joint_expression=joint_expression,
    )


def _correctives(fields: Fields, vertices: int) -> Float[np.ndarray, "published 9 vertex 3"]:
    """Displacement per element of R - I of neck, jaw and eyes (4 x 9)."""
    count = 9 * (len(PARENTS) - 1)
    array = fields.take("posedirs").astype(np.float64)
    if array.shape == (vertices, 3, count):
        array = array.transpose(2, 0, 1)
    if array.shape != (count, vertices, 3):
        fields.refuse(f"'posedirs' has the shape {array.shape}, expected {(vertices, 3, count)}")
    return array.reshape(-1, 9, vertices, 3)


def published_joints(
    path: Path, shaped: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, "joint 3"]:
    """Places of the five published joints on shaped, unposed vertices (what poses of other tools refer to)."""
    fields = Fields(read_model_file(path, MODEL), path, MODEL)
    regressor = fields.take("J_regressor", len(PARENTS), len(shaped))
    return np.asarray(regressor @ shaped, np.float64)
