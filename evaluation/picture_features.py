"""Step: what two published networks see in each picture: Inception's features for FID, ArcFace's identity for CSIM."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, PICTURE_FEATURES, RENDER
from artifacts.provenance import files_in, make_provenance
from artifacts.step import run_step
from artifacts.store import open_artifact, write_artifact
from evaluation.tracks import LandmarkTracks, read_tracks
from evaluation.truth import read_pictures
from head_geometry.devices import find_device
from image_similarity.identity import align_face, load_identity
from image_similarity.inception import load_inception

LOGGER = logging.getLogger(__name__)
FRAMES_AT_ONCE = 16

Pictures = Float[Tensor, "frame height width 3"]


@dataclass(frozen=True)
class Options:
    """Options of ``python -m evaluation.picture_features``; either a render, or frames with their matte."""

    landmarks: Path
    """``landmarks`` artifact of the same pictures."""
    out: Path
    """``picture_features`` artifact to write."""
    render: Path | None = None
    """``render`` artifact: the person over white."""
    frames: Path | None = None
    """``frames`` artifact of a clip."""
    matte: Path | None = None
    """``matte`` artifact of the clip."""
    image_size: int = 128
    """Side that filmed pictures are brought to (pixel): that of the renders they are compared with."""
    inception: tuple[Path, ...] = ()
    """Weight file of FID's Inception network; none to leave it out."""
    identity: tuple[Path, ...] = ()
    """ArcFace network (ONNX); none to leave it out."""
    device: str = "auto"
    """auto, cpu or cuda."""


@dataclass(frozen=True)
class Source:
    """Pictures that are read piece by piece: the person over white, sRGB in 0..1."""

    n_frames: int
    size: tuple[int, int]
    read: Callable[[np.ndarray], Pictures]


def source_of(options: Options) -> Source:
    """The pictures that the options name.

    Raises:
        InputError: neither a render nor a clip with its matte is named, or both.
    """
    if options.render is not None and options.frames is None:
        render = options.render
        with open_artifact(render, RENDER) as reader:
            n_frames, height, width = reader.shape("person")[:3]

        def read_render(rows: np.ndarray) -> Pictures:
            with open_artifact(render, RENDER) as reader:
                return torch.from_numpy(reader.read("person", rows)).float() / 255

        return Source(n_frames, (width, height), read_render)
    if options.render is None and options.frames is not None and options.matte is not None:
        frames, matte = options.frames, options.matte
        size = (options.image_size, options.image_size)
        with open_artifact(frames, FRAMES) as reader:
            n_frames = reader.shape("image")[0]
        return Source(n_frames, size, lambda rows: read_pictures(frames, matte, rows, size)[1])
    raise InputError("name either --render, or --frames and --matte")


def identities(
    network: nn.Module, pictures: Pictures, tracks: LandmarkTracks, rows: np.ndarray
) -> Float[Tensor, "frame feature"]:
    """Embedding of the face in each picture; of those without landmarks that of an empty picture."""
    five = tracks.landmarks.five
    faces = []
    for picture, row in zip(pictures.cpu().numpy(), rows, strict=True):
        if not tracks.valid[row]:
            faces.append(np.zeros((112, 112, 3)))
            continue
        points = np.stack([tracks.points[row][list(group)].mean(0) for group in five])
        faces.append(align_face(picture.astype(np.float64), points))
    return network(torch.from_numpy(np.stack(faces)).float().to(pictures.device))


def main(options: Options) -> None:
    """Look at all pictures and write the ``picture_features`` artifact.

    Raises:
        InputError: the files do not belong together, or a network cannot be read.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    source = source_of(options)
    device = find_device(options.device)
    inception = load_inception(options.inception[0]).to(device) if options.inception else None
    identity = load_identity(options.identity[0]).to(device) if options.identity else None
    tracks = read_tracks(options.landmarks, np.arange(source.n_frames), source.size)
    parts: dict[str, list[np.ndarray]] = {"inception": [], "identity": []}
    with torch.inference_mode():
        for start in tqdm(range(0, source.n_frames, FRAMES_AT_ONCE), "pictures", unit="batch"):
            rows = np.arange(start, min(start + FRAMES_AT_ONCE, source.n_frames))
            pictures = source.read(rows).to(device)
            if inception is not None:
                parts["inception"].append(inception(pictures).cpu().numpy())
            if identity is not None:
                found = identities(identity, pictures, tracks, rows).cpu().numpy()
                parts["identity"].append(found * tracks.valid[rows, None])
    empty = np.zeros((source.n_frames, 0), np.float32)
    arrays = {name: np.concatenate(found) if found else empty for name, found in parts.items()}
    arrays["identity_valid"] = tracks.valid & (identity is not None)
    arrays["image_size"] = np.array(source.size, np.int32)
    provenance = make_provenance("evaluation.picture_features", options, files_in(options))
    write_artifact(options.out, PICTURE_FEATURES, arrays, provenance)
    LOGGER.info("%s: %d pictures", options.out, source.n_frames)


if __name__ == "__main__":
    run_step(Options, main)
