"""Texture coordinates, and colours where there are any, that FLAME publishes apart from its geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from preprocessing.head_models.model_files import Fields, read_model_file
from preprocessing.head_models.obj import read_obj
from preprocessing.head_models.published import Albedo, TextureMap

MODEL = "FLAME texture"


def read_texture(
    path: Path, template: Float[np.ndarray, "vertex 3"], triangle: Int[np.ndarray, "face 3"]
) -> tuple[TextureMap, Albedo | None]:
    """The texture coordinates of ``triangle``, and the colour of every vertex where the file has textures.

    Args:
        path: ``FLAME_texture.npz`` (``vt``, ``ft``, ``mean``, ``tex_dir``) or a textured OBJ of the template.
        template: The model's vertices.
        triangle: The model's triangles, in the order of the published files.

    Raises:
        InputError: it does not belong to this mesh.
    """
    if path.suffix.lower() == ".obj":
        mesh = read_obj(path)
        fields = Fields({"vt": mesh.uv, "ft": mesh.polygons_uv[:, :3]}, path, MODEL)
        if len(mesh.polygons_uv) and not np.array_equal(mesh.polygons[:, :3], triangle):
            fields.refuse("its faces are not those of the model")
    else:
        fields = Fields(read_model_file(path, MODEL), path, MODEL)
    uv = fields.take("vt", -1, 2).astype(np.float64)
    triangle_uv = fields.take_indices("ft", len(uv), len(triangle), 3)
    texture = TextureMap(uv * [1, -1] + [0, 1], triangle_uv)
    if "mean" not in fields:
        return texture, None
    corner = np.zeros((len(template), 2))
    corner[triangle.ravel()] = texture.uv[triangle_uv.ravel()]
    mean = fields.take("mean", -1, -1, 3)
    # The published textures are in the order blue, green, red, 0..255.
    colour = _sample(mean[..., ::-1], corner) / 255
    if "tex_dir" not in fields:
        return texture, Albedo(colour, np.zeros((0, *colour.shape)))
    basis = fields.take("tex_dir", *mean.shape, -1)
    return texture, Albedo(
        colour, np.moveaxis(_sample(basis[:, :, ::-1].astype(np.float32), corner), -1, 0) / 255
    )


def _sample(
    image: np.ndarray, place: Float[np.ndarray, "vertex 2"]
) -> Float[np.ndarray, "vertex 3 ..."]:
    """Nearest texel of every place ((0, 0) at the image's top-left corner)."""
    size = np.array(image.shape[1::-1])
    column, row = np.clip((place * size).astype(np.int64), 0, size - 1).T
    return np.asarray(image[row, column], np.float64)
