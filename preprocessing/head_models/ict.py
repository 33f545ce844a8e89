"""ICT-FaceKit Light: 26,719 vertices in centimetres, 100 identity and 57 expression displacements with names."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from preprocessing.head_models.mesh import pack_islands, split_quads
from preprocessing.head_models.model_files import Fields, read_model_file
from preprocessing.head_models.obj import read_obj
from preprocessing.head_models.published import ALL_PARTS, TO_LABEL, PublishedHead, TextureMap

log = logging.getLogger(__name__)

MODEL = "ICT-FaceKit"
METRE_PER_UNIT = 0.01
NEUTRAL, IDENTITY = "generic_neutral_mesh", "identity"
# First vertex of each geometry, in the order of the model's documentation, and the part it becomes; "" is left out:
# those are transparent shells before the eye, which would hide it.
GEOMETRIES = (
    (0, "skin"),
    (11248, "mouth_cavity"),
    (13294, "eye_socket"),
    (14062, "mouth_cavity"),
    (17039, "teeth"),
    (21451, "eye_left"),
    (23021, "eye_right"),
    (24591, ""),
)
VERTICES = 26719
# The tongue is in one piece with the gums: what lies between the rows of teeth, centimetres.
TONGUE_HALF_WIDTH, TONGUE_TOP = 1.6, -2.9


def read_ict(path: Path) -> PublishedHead:
    """The model from its folder of OBJ files (``FaceXModel``), or from an ``.npz`` with the same arrays stacked.

    Args:
        path: Folder, or file with ``neutral``, ``faces_quads``, ``uv``, ``faces_uv``, ``identity_deltas``,
            ``expression_deltas`` and ``expression_names``.

    Raises:
        InputError: it is none of the two; one sentence.
    """
    content = _read_folder(path) if path.is_dir() else read_model_file(path, MODEL)
    fields = Fields(content, path, MODEL)
    neutral = fields.take("neutral", VERTICES, 3).astype(np.float64)
    quads = fields.take("faces_quads", -1, 4).astype(np.int64)
    quads_uv = fields.take("faces_uv", len(quads), 4).astype(np.int64)
    uv = fields.take("uv", -1, 2).astype(np.float64)
    if quads.max() >= len(neutral) or quads_uv.max() >= len(uv) or quads[:, :3].min() < 0:
        fields.refuse("a face points beyond the vertices")
    identity = fields.take("identity_deltas", -1, VERTICES, 3).astype(np.float64)
    expression = fields.take("expression_deltas", -1, VERTICES, 3).astype(np.float64)
    names = [arkit_name(name) for name in fields.take_texts("expression_names", len(expression))]
    part = _parts(neutral)
    keep = np.flatnonzero(part != -2)
    new_index = np.full(VERTICES, -1)
    new_index[keep] = np.arange(len(keep))
    quads_kept = (part[quads[:, :3]] != -2).all(1)
    triangle, triangle_uv = _triangles(neutral, quads[quads_kept], quads_uv[quads_kept])
    used, triangle_uv = np.unique(triangle_uv, return_inverse=True)
    triangle_uv = triangle_uv.reshape(-1, 3)
    triangle = new_index[triangle]
    template = METRE_PER_UNIT * neutral[keep]
    log.info(
        "%s: %d vertices of %d: the shells before the eyes and the lashes are left out; its texture tiles are "
        "packed into one square",
        *(MODEL, len(keep), VERTICES),
    )
    expression = METRE_PER_UNIT * expression[:, keep]
    eyes = np.isin(part[keep], [ALL_PARTS.index(name) for name in ("eye_left", "eye_right")])
    for row, name in enumerate(names):
        if name.startswith("eyeLook"):  # gaze belongs to the eye joints; the lids' motion stays
            expression[row, eyes] = 0
    return PublishedHead(
        template=template,
        identity=METRE_PER_UNIT * identity[:, keep],
        expression=expression,
        expression_name=tuple(names),
        expression_range=(0.0, 1.0),
        triangle=triangle,
        part=part[keep],
        texture=TextureMap(pack_islands(uv[used], triangle_uv, template, triangle), triangle_uv),
    )


def arkit_name(name: str) -> str:
    """ARKit's spelling of a side: ``eyeBlink_L`` is ``eyeBlinkLeft``."""
    for ending, side in (("_L", "Left"), ("_R", "Right")):
        if name.endswith(ending):
            return name.removesuffix(ending) + side
    return name


def _parts(neutral: np.ndarray) -> Int[np.ndarray, " vertex"]:
    """Part of every vertex: TO_LABEL for skin, -2 for what is left out."""
    part = np.empty(VERTICES, np.int64)
    ends = [first for first, _ in GEOMETRIES[1:]] + [VERTICES]
    for (first, name), end in zip(GEOMETRIES, ends, strict=True):
        known = {"skin": TO_LABEL, "": -2}
        part[first:end] = known[name] if name in known else ALL_PARTS.index(name)
    gums = slice(14062, 17039)
    x, y = neutral[gums, 0], neutral[gums, 1]
    part[gums][(np.abs(x) < TONGUE_HALF_WIDTH) & (y < TONGUE_TOP)] = ALL_PARTS.index("tongue")
    return part


def _triangles(
    neutral: Float[np.ndarray, "vertex 3"],
    quads: Int[np.ndarray, "polygon 4"],
    quads_uv: Int[np.ndarray, "polygon 4"],
) -> tuple[Int[np.ndarray, "face 3"], Int[np.ndarray, "face 3"]]:
    """Quads in two, alike on both sides of the head; triangles (last corner -1) as they are."""
    mirror = np.asarray(KDTree(neutral).query(neutral * [-1, 1, 1])[1])
    whole = quads[:, 3] >= 0
    split, corner = split_quads(neutral, quads[whole], mirror)
    split_uv = np.take_along_axis(np.repeat(quads_uv[whole], 2, axis=0), corner, axis=1)
    return (
        np.concatenate([split, quads[~whole, :3]]),
        np.concatenate([split_uv, quads_uv[~whole, :3]]),
    )


def _read_folder(path: Path) -> dict[str, object]:
    """The arrays of the folder of OBJ files, stacked."""
    names = sorted(file.stem for file in path.glob("*.obj"))
    if NEUTRAL not in names:
        Fields({}, path, MODEL).refuse(f"the folder has no {NEUTRAL}.obj")
    neutral = read_obj(path / f"{NEUTRAL}.obj")
    identities = [name for name in names if name.startswith(IDENTITY)]
    actions = [name for name in names if name != NEUTRAL and not name.startswith(IDENTITY)]

    def displacements(chosen: list[str]) -> np.ndarray:
        moved = [read_obj(path / f"{name}.obj").vertices for name in chosen]
        if any(len(vertices) != len(neutral.vertices) for vertices in moved):
            Fields({}, path, MODEL).refuse("its OBJ files have different numbers of vertices")
        return np.stack(moved) - neutral.vertices if moved else np.zeros(0)

    return {
        "neutral": neutral.vertices,
        "faces_quads": neutral.polygons,
        "uv": neutral.uv,
        "faces_uv": neutral.polygons_uv,
        "identity_deltas": displacements(identities),
        "expression_deltas": displacements(actions),
        "expression_names": np.array(actions),
    }
