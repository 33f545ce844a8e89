"""Basel face models: Deep3DFaceRecon's ``BFM_model_front.mat``, 2009 (``01_MorphableModel.mat``), 2017 and 2019 (``.h5``)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from preprocessing.head_models.model_files import Content, Fields, read_model_file
from preprocessing.head_models.published import TO_LABEL, Albedo, PublishedHead

log = logging.getLogger(__name__)

MODEL = "Basel face model"
EXPRESSION_LIMIT = 3.0
# The height of a face or head must lie in this range once the unit is known, metres.
SMALLEST_M, LARGEST_M = 0.1, 0.45
# Deep3DFaceRecon divides the published micrometres by 1e5; 2009 is in micrometres, 2017 and 2019 in millimetres.
UNITS_M = {"decimetre": 0.1, "micrometre": 1e-6, "millimetre": 1e-3}


def read_basel(path: Path) -> PublishedHead:
    """The model, whichever of the three layouts the file has.

    All are bare faces or heads: no eyeballs, no joints, and no neck below the chin where cropped to the face.

    Raises:
        InputError: none of the three; one sentence.
    """
    content = read_model_file(path, MODEL)
    fields = Fields(content, path, MODEL)
    if "meanshape" in content:
        head = _read_deep3d(fields)
    elif "shapeMU" in content:
        head = _read_2009(fields)
    elif "shape/model/mean" in content:
        head = _read_hdf5(fields, content)
    else:
        fields.refuse("it has none of meanshape, shapeMU and shape/model/mean")
    log.info(
        "%s: %d vertices, %d identity, %d expression and %d colour components; no eyeballs, so no gaze",
        *(path.name, len(head.template), len(head.identity), len(head.expression)),
        len(head.albedo.basis) if head.albedo else 0,
    )
    return head


def _read_deep3d(fields: Fields) -> PublishedHead:
    """Bases are scaled by their standard deviations already; the mesh is moved to its mean, as that code does."""
    template = _rows(fields, "meanshape")
    n = len(template)
    unit = _unit(fields, template, "decimetre")
    return _assemble(
        fields,
        template=unit * (template - template.mean(0)),
        identity=unit * _columns(fields, "idBase", n),
        expression=unit * _columns(fields, "exBase", n),
        triangle=fields.take_indices("tri", n, -1, 3, first=1),
        albedo=Albedo(_rows(fields, "meantex") / 255, _columns(fields, "texBase", n) / 255),
        sparse68=fields.take_indices("keypoints", n, 1, 68, first=1)[0],
    )


def _read_2009(fields: Fields) -> PublishedHead:
    """No expressions: they were published by others, for Deep3DFaceRecon's file."""
    template = _rows(fields, "shapeMU")
    n = len(template)
    unit = _unit(fields, template, "micrometre")
    log.info("%s: the 2009 file has no expression components", fields.path.name)
    return _assemble(
        fields,
        template=unit * template,
        identity=unit * _columns(fields, "shapePC", n) * _scales(fields, "shapeEV"),
        expression=np.zeros((0, n, 3)),
        triangle=fields.take_indices("tl", n, -1, 3, first=1),
        albedo=Albedo(
            _rows(fields, "texMU") / 255,
            _columns(fields, "texPC", n) * _scales(fields, "texEV") / 255,
        ),
    )


def _read_hdf5(fields: Fields, content: Content) -> PublishedHead:
    """2017 and 2019 (and 2009 in the same layout): orthonormal bases with variances, colours in 0..1."""
    template = _rows(fields, "shape/model/mean")
    n = len(template)
    unit = _unit(fields, template, "millimetre")

    def basis(group: str) -> Float[np.ndarray, "component vertex 3"]:
        if f"{group}/model/pcaBasis" not in content:
            return np.zeros((0, n, 3))
        std = np.sqrt(np.maximum(fields.take(f"{group}/model/pcaVariance").ravel(), 0))
        return _columns(fields, f"{group}/model/pcaBasis", n) * std[:, None, None]

    expression = unit * basis("expression")
    neutral = template
    if len(expression):
        neutral = template + _rows(fields, "expression/model/mean")
    cells = fields.take("shape/representer/cells")
    if cells.ndim != 2 or 3 not in cells.shape or cells.max() >= n:
        fields.refuse(f"'shape/representer/cells' has the shape {cells.shape}, expected 3 × any")
    colour = None
    if "color/model/mean" in content:
        mean, directions = _rows(fields, "color/model/mean"), basis("color")
        top = 255 if mean.max() > 2 else 1
        colour = Albedo(mean / top, directions / top)
    return _assemble(
        fields,
        template=unit * neutral,
        identity=unit * basis("shape"),
        expression=expression,
        triangle=(cells if cells.shape[1] == 3 else cells.T).astype(np.int64),
        albedo=colour,
    )


def _assemble(
    fields: Fields,
    *,
    template: Float[np.ndarray, "vertex 3"],
    identity: Float[np.ndarray, "identity vertex 3"],
    expression: Float[np.ndarray, "expression vertex 3"],
    triangle: Int[np.ndarray, "face 3"],
    albedo: Albedo | None,
    sparse68: Int[np.ndarray, "68"] | None = None,
) -> PublishedHead:
    if albedo is not None and len(albedo.mean) != len(template):
        fields.refuse(f"it has {len(albedo.mean)} colours for {len(template)} vertices")
    return PublishedHead(
        template=template,
        identity=identity,
        expression=expression,
        expression_name=tuple(f"expression{i:03d}" for i in range(len(expression))),
        expression_range=(-EXPRESSION_LIMIT, EXPRESSION_LIMIT),
        triangle=facing_outwards(template, triangle),
        part=np.full(len(template), TO_LABEL),
        albedo=albedo,
        sparse68=sparse68,
    )


def _rows(fields: Fields, name: str) -> Float[np.ndarray, "vertex 3"]:
    """A long vector of x, y, z as rows."""
    flat = fields.take(name).astype(np.float64).ravel()
    if len(flat) % 3 or len(flat) < 30:
        fields.refuse(f"{name!r} holds {len(flat)} numbers, which are no vertices")
    return flat.reshape(-1, 3)


def _columns(fields: Fields, name: str, vertices: int) -> Float[np.ndarray, "component vertex 3"]:
    """A matrix with a column for each component."""
    matrix = fields.take(name, 3 * vertices, -1).astype(np.float64)
    return matrix.T.reshape(-1, vertices, 3)


def _scales(fields: Fields, name: str) -> Float[np.ndarray, "component 1 1"]:
    return fields.take(name).astype(np.float64).ravel()[:, None, None]


def _unit(fields: Fields, template: Float[np.ndarray, "vertex 3"], expected: str) -> float:
    """Metres per unit: the layout's usual one, or another of the three that makes it the size of a head."""
    height = float(np.ptp(template[:, 1]))
    for name in (expected, *UNITS_M):
        if SMALLEST_M < height * UNITS_M[name] < LARGEST_M:
            if name != expected:
                log.info("%s: taken to be in %ss, from its size", fields.path.name, name)
            return UNITS_M[name]
    fields.refuse(f"a face that is {height:.3g} units high has no size known to be a head's")


def facing_outwards(
    template: Float[np.ndarray, "vertex 3"], triangle: Int[np.ndarray, "face 3"]
) -> Int[np.ndarray, "face 3"]:
    """The triangles wound counter-clockwise seen from outside; the published files differ."""
    corners = template[triangle]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards = (normal * (corners.mean(1) - template.mean(0))).sum()
    return triangle if outwards >= 0 else triangle[:, ::-1]
