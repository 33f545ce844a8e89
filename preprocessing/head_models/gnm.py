"""GNM Head v3: 253 identity and 383 expression components, eyes, teeth and tongue, from its ``.npz``."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from head_geometry.rerooting import reroot_correctives
from preprocessing.head_models.mirror import mesh_parts
from preprocessing.head_models.model_files import Fields, read_model_file
from preprocessing.head_models.published import ALL_PARTS, TO_LABEL, PublishedHead, Rig
from preprocessing.head_models.rig import EYES, stack_rig

log = logging.getLogger(__name__)

MODEL = "GNM Head"
VERSION, VARIANT = "3.0", "head"
EXPRESSION_LIMIT = 3.0


def read_gnm(path: Path) -> PublishedHead:
    """The model, with its own joints and pose correctives.

    Teeth and tongue are separate pieces that the file does not name: they become ``mouth_cavity``. Correctives of
    the root (the turn of the whole bust) have no place in a head that is the root, and are left out.

    Raises:
        InputError: not this model, or another version of it; one sentence.
    """
    content = read_model_file(path, MODEL)
    fields = Fields(content, path, MODEL)
    found = (str(content.get("version")), str(content.get("variant")))
    if found != (VERSION, VARIANT):
        fields.refuse(f"version {found[0]}, variant {found[1]}; expected {VERSION}, {VARIANT}")
    template = fields.take("template_vertex_positions", -1, 3).astype(np.float64)
    n = len(template)
    identity = fields.take("vertex_identity_basis", -1, n, 3).astype(np.float64)
    expression = fields.take("expression_basis", -1, n, 3).astype(np.float64)
    triangle = fields.take_indices("triangles", n, -1, 3)
    weights = fields.take("skinning_weights", 4, n).astype(np.float64).T
    joints = _find_joints(fields)
    origin = fields.take("template_joint_positions", 4, 3).astype(np.float64)[joints["carrier"]]
    rig = _rig(fields, joints, template, identity)
    part = _parts(triangle, [weights[:, joints[name]] > 0.99 for name in EYES])
    log.info("%s: moved so that the head joint is the origin: %s m", MODEL, np.round(-origin, 4))
    return PublishedHead(
        template=template - origin,
        identity=identity,
        expression=expression,
        expression_name=tuple(fields.take_texts("expression_names", len(expression))),
        expression_range=(-EXPRESSION_LIMIT, EXPRESSION_LIMIT),
        triangle=triangle,
        part=part,
        rig=rig,
    )


def _find_joints(fields: Fields) -> dict[str, int]:
    """Index of the base of the neck (the root), of the head and of the eyes."""
    names = [name.lower() for name in fields.take_texts("joint_names", 4)]
    parents = fields.take("joint_parent_indices", 4).astype(np.int64)
    eyes = {
        f"eye_{side}": next((i for i, n in enumerate(names) if "eye" in n and side in n), -1)
        for side in ("left", "right")
    }
    if "head" not in names or min(eyes.values()) < 0:
        fields.refuse(f"its joints are {', '.join(names)}, expected a neck, a head and two eyes")
    carrier = names.index("head")
    base = int(parents[carrier])
    if base < 0 or any(parents[eye] != carrier for eye in eyes.values()) or parents[base] >= 0:
        fields.refuse("its joints do not hang on one another as neck, head and eyes")
    return {"base": base, "carrier": carrier, **eyes}


def _rig(
    fields: Fields,
    joints: dict[str, int],
    template: Float[np.ndarray, "vertex 3"],
    identity: Float[np.ndarray, "identity vertex 3"],
) -> Rig:
    places = fields.take("template_joint_positions", 4, 3).astype(np.float64)
    moved = fields.take("joint_identity_basis", len(identity), 4, 3).astype(np.float64)
    regressor = exact_regressor(template, identity, places, moved)
    weights = fields.take("skinning_weights", 4, len(template)).astype(np.float64).T
    names, rows, skin_weight = stack_rig(joints, regressor, weights)
    correctives = fields.take("pose_correctives_regressor", 36, 3 * len(template))
    correctives = correctives.astype(np.float64).reshape(4, 9, len(template), 3)
    order = np.array([joints["carrier"], *(joints[name] for name in names[2:])])
    return Rig(
        joint_name=names,
        joint_regressor=regressor[rows],
        skin_weight=skin_weight / skin_weight.sum(1, keepdims=True),
        corrective_joint=tuple(range(1, len(names))),
        pose_corrective=reroot_correctives(correctives, order, inverted=0),
        joint_expression=np.zeros((0, len(names), 3)),
    )


def exact_regressor(
    template: Float[np.ndarray, "vertex 3"],
    identity: Float[np.ndarray, "identity vertex 3"],
    places: Float[np.ndarray, "joint 3"],
    moved: Float[np.ndarray, "identity joint 3"],
) -> Float[np.ndarray, "joint vertex"]:
    """Weights over the vertices that give the joints of the mean head and their displacement by every identity.

    The smallest such weights (least norm); they sum to 1, so that they move with the head.

    Source: own.
    """
    rows = np.concatenate([template.T, *identity.transpose(0, 2, 1), np.ones((1, len(template)))])
    wanted = np.concatenate([places.T, *moved.transpose(0, 2, 1), np.ones((1, len(places)))])
    scale = np.linalg.norm(rows, axis=1, keepdims=True)
    scale[scale == 0] = 1
    return np.linalg.lstsq(rows / scale, wanted / scale, rcond=None)[0].T


def _parts(
    triangle: Int[np.ndarray, "face 3"], eyes: list[np.ndarray]
) -> Int[np.ndarray, " vertex"]:
    """Eyes by their joints, the largest other piece is skin, further pieces lie in the mouth."""
    label = mesh_parts(triangle, len(eyes[0]))
    part = np.full(len(label), ALL_PARTS.index("mouth_cavity"))
    rest = ~(eyes[0] | eyes[1])
    part[label == np.bincount(label[rest]).argmax()] = TO_LABEL
    for name, ball in zip(EYES, eyes, strict=True):
        part[ball] = ALL_PARTS.index(name)
    return part
