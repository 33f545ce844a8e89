"""Coefficients of one head model to another's: a clip fitted with model A becomes the same clip fitted with model B.

Both heads are compared through a dense correspondence of their surfaces, which is computed once for a pair of models
and kept as a file.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from artifacts.errors import InputError
from artifacts.kinds import CORRESPONDENCE, FACE_FIT
from artifacts.provenance import file_digest, make_provenance
from artifacts.step import run_step
from artifacts.store import read_artifact, read_provenance, write_artifact
from head_geometry.correspondence import (
    Correspondence,
    Similarity,
    describe_mm,
    face_vertices,
    register,
)
from head_geometry.expression_transfer import Transfer
from head_geometry.head_model import HeadModel
from head_geometry.identity_transfer import fit_identity

log = logging.getLogger(__name__)
CHECKED_FRAMES = 60
"""Frames, spread over the clip, whose residual is measured."""


@dataclass(frozen=True)
class Options:
    """Convert a face_fit from one head model to another."""

    face_fit: Path
    """face_fit artifact made with --source-model."""
    source_model: Path
    """head_model artifact that the fit was made with."""
    target_model: Path
    """head_model artifact to convert to."""
    correspondence: Path
    """correspondence artifact of the two models; made when it is not there."""
    out: Path
    """face_fit artifact to write, of the target model."""


def main(options: Options) -> None:
    """Read, correspond, convert, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    source, target = (HeadModel.load(p) for p in (options.source_model, options.target_model))
    fit = read_artifact(options.face_fit, FACE_FIT)
    expected = (len(source.expression_name), len(source.joint_name))
    if (fit["expression"].shape[1], fit["joint_rotation"].shape[1]) != expected:
        raise InputError(
            f"{options.face_fit}: was not made with {options.source_model}, which has {expected[0]} expressions "
            f"and {expected[1]} joints; name the head model it was fitted with"
        )
    correspondence = load_correspondence(options, source, target)
    converted = convert_fit(source, target, correspondence, fit)
    inputs = {
        "face_fit": options.face_fit,
        "source_model": options.source_model,
        "target_model": options.target_model,
        "correspondence": options.correspondence,
    }
    write_artifact(
        options.out, FACE_FIT, converted, make_provenance("head_geometry.convert", options, inputs)
    )


def load_correspondence(options: Options, source: HeadModel, target: HeadModel) -> Correspondence:
    """The kept correspondence of two models, or a new one, which is kept.

    Raises:
        InputError: the file belongs to other models.
    """
    path = options.correspondence
    models = {"source_model": options.source_model, "target_model": options.target_model}
    if not path.exists():
        found = register(source, target)
        arrays = {
            "face": found.face.astype(np.int32),
            "barycentric": found.barycentric.astype(np.float32),
            "weight": found.weight.astype(np.float32),
            "residual_m": found.residual_m.astype(np.float32),
        }
        provenance = make_provenance("head_geometry.correspondence", options, models)
        write_artifact(path, CORRESPONDENCE, arrays, provenance)
    kept = read_provenance(path).get("inputs", {})
    if any(kept.get(name) != file_digest(model) for name, model in models.items()):
        raise InputError(
            f"{path}: belongs to other head models than {options.source_model} and {options.target_model}; "
            "name another file, or delete it so that it is made again"
        )
    arrays = read_artifact(path, CORRESPONDENCE)
    return Correspondence(
        face=arrays["face"].astype(np.int64),
        barycentric=arrays["barycentric"].astype(np.float64),
        weight=arrays["weight"].astype(np.float64),
        residual_m=arrays["residual_m"].astype(np.float64),
    )


def convert_fit(
    source: HeadModel,
    target: HeadModel,
    correspondence: Correspondence,
    fit: dict[str, np.ndarray],
) -> dict[str, Any]:
    """All datasets of the target's ``face_fit``.

    Shape, expressions, jaw, gaze, neck and the head's motion are converted. What belongs to the source's mesh or
    texture alone (its vertex and expression offsets, which the coefficients take up as far as they can, its albedo) is left empty.
    Where the target cannot be as large as the source's head, the scene is scaled, which no picture can tell.

    Source: own.
    """
    a, b = (model.to("cpu", torch.float64) for model in (source, target))
    personal = a.of_subject(fit)
    identity_a = torch.from_numpy(fit["identity"]).double()
    triangle = a.triangle.numpy()
    neutral = personal.neutral(identity_a).numpy()
    wanted = correspondence.carry(neutral, triangle)
    shape = fit_identity(b, wanted, correspondence.weight)
    moved = shape.similarity
    on_face = face_vertices(b) & (correspondence.weight > 0)
    shaped = moved(b.neutral(torch.from_numpy(shape.identity)).numpy())
    log.info(
        "identity: scale %.4f; residual over the face: %s",
        moved.scale,
        describe_mm(np.linalg.norm(shaped - wanted, axis=1)[on_face]),
    )
    transfer = Transfer(personal, b, correspondence, identity_a, shape)
    rotation_a = fit["joint_rotation"].astype(np.float64)
    expression, jaw = transfer.solve(fit["expression"].astype(np.float64), rotation_a)
    rotation_b = _joint_rotations(a, b, rotation_a, jaw, moved)
    check = np.unique(np.linspace(0, len(expression) - 1, CHECKED_FRAMES).astype(int))
    log.info(
        "frames: residual over the face: %s",
        describe_mm(
            transfer.residual_m(
                fit["expression"][check].astype(np.float64),
                rotation_a[check],
                expression[check],
                jaw[check],
            )[:, on_face]
        ),
    )
    return {
        **fit,
        "identity": shape.identity.astype(np.float32),
        "expression": expression.astype(np.float32),
        "joint_rotation": rotation_b.astype(np.float32),
        "world_from_head": _moved_poses(fit["world_from_head"], moved),
        "camera_from_world": _scaled_poses(fit["camera_from_world"], moved),
        "landmark_offset": _landmark_offsets(a, b, neutral, shape.identity, fit, moved),
        "vertex_offset": np.zeros((len(b.template), 3), np.float32),
        "expression_offset": np.zeros((0, 0, 3), np.float32),
        "albedo": np.zeros((0, 0, 3), np.uint8),
        "albedo_seen": np.zeros((0, 0), np.uint8),
    }


def _joint_rotations(
    a: HeadModel,
    b: HeadModel,
    rotation: Float[np.ndarray, "frame joint 3"],
    jaw: Float[np.ndarray, "frame 3"],
    moved: Similarity,
) -> Float[np.ndarray, "frame target_joint 3"]:
    """Joints of the same name turn alike, about axes of the other head; the jaw is solved for."""
    result = np.zeros((len(rotation), len(b.joint_name), 3))
    for joint, name in enumerate(b.joint_name):
        if name == "jaw":
            result[:, joint] = jaw
        elif name in a.joint_name:
            result[:, joint] = rotation[:, a.joint_name.index(name)] @ moved.rotation
    return result


def _moved_poses(
    world_from_head: Float[np.ndarray, "frame 4 4"], moved: Similarity
) -> Float[np.ndarray, "frame 4 4"]:
    """The source's head axes from the target's first, and the whole scene smaller by the scale."""
    result = world_from_head.copy()
    result[:, :3, :3] = world_from_head[:, :3, :3] @ moved.rotation
    shifted = world_from_head[:, :3, :3] @ moved.translation + world_from_head[:, :3, 3]
    result[:, :3, 3] = shifted / moved.scale
    return result


def _scaled_poses(
    camera_from_world: Float[np.ndarray, "frame 4 4"], moved: Similarity
) -> Float[np.ndarray, "frame 4 4"]:
    result = camera_from_world.copy()
    result[:, :3, 3] /= moved.scale
    return result


def _landmark_offsets(
    a: HeadModel,
    b: HeadModel,
    neutral: Float[np.ndarray, "vertex 3"],
    identity: Float[np.ndarray, " identity"],
    fit: dict[str, np.ndarray],
    moved: Similarity,
) -> Float[np.ndarray, "mediapipe 3"]:
    """So that every face point that both models have stays where it was on the neutral head."""
    wanted = a.mediapipe_points(torch.from_numpy(neutral)).numpy() + fit["landmark_offset"]
    wanted = (wanted - moved.translation) @ moved.rotation / moved.scale
    own = b.mediapipe_points(b.neutral(torch.from_numpy(identity))).numpy()
    both = ((a.mediapipe_weight > 0) & (b.mediapipe_weight > 0)).numpy()
    return np.where(both[:, None], wanted - own, 0).astype(np.float32)


if __name__ == "__main__":
    run_step(Options, main)
