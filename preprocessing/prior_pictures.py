"""Draw many synthetic heads from all sides: what a generative prior is trained on (step ``prior_pictures``).

Equal options give equal files, whatever else is drawn beside them: each person has a seed of their own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from artifacts.errors import InputError
from artifacts.kinds import PRIOR_PICTURES
from artifacts.provenance import make_provenance
from artifacts.step import run_step
from artifacts.store import ArtifactWriter, open_writer
from head_geometry.head_model import HeadModel
from preprocessing.synthesis.moments import (
    describe,
    light_of,
    make_moment,
    make_view,
    pose_of,
)
from preprocessing.synthesis.person import make_person
from preprocessing.synthesis.render import Renderer
from preprocessing.synthesis.scene import Scene
from preprocessing.synthesize import check_model

log = logging.getLogger(__name__)
# Middle of a head with hair, head axes, metres.
PIVOT_M = (0.0, 0.02, 0.01)


@dataclass(frozen=True)
class Options:
    """Draw synthetic heads for a generative prior."""

    head_model: Path
    """head_model artifact of the default head model."""
    out: Path
    """The prior_pictures artifact to write."""
    people: int = 500
    """How many people."""
    first_seed: int = 0
    """Seed of the first person; the others count on from it."""
    moments: int = 4
    """Expressions of each person, each under a light of its own."""
    views: int = 3
    """Cameras around each of them."""
    size_px: int = 128
    """Width and height of the pictures, pixels."""


def main(options: Options) -> None:
    """Draw all people one after the other.

    Raises:
        InputError: impossible options, or a head model that cannot play a person.
    """
    torch.set_num_threads(1)  # meshes are too small for more
    for name in ("people", "moments", "views"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)} must be at least 1")
    if not 16 <= options.size_px <= 1024:
        raise InputError(f"--size-px {options.size_px} must be from 16 to 1024")
    model = HeadModel.load(options.head_model)
    check_model(model, options.head_model)
    provenance = make_provenance(
        "preprocessing.prior_pictures",
        options,
        {"head_model": options.head_model},
        options.first_seed,
    )
    seeds = range(options.first_seed, options.first_seed + options.people)
    with open_writer(options.out, PRIOR_PICTURES, provenance) as writer:
        known = [
            described
            for seed in tqdm(seeds, desc="people", unit="person", mininterval=5)
            for described in _draw_person(writer, model, seed, options)
        ]
        pictures = np.arange(len(known) * options.views, dtype=np.int32)
        writer.put("moment", pictures // options.views)
        writer.put("person_seed", np.repeat(np.array(seeds, np.int32), options.moments))
        writer.put("known_name", np.array(list(known[0])))
        writer.put("known", np.array([list(values.values()) for values in known], np.float32))
        writer.put("pivot", np.array(PIVOT_M))
    log.info("%s: %d pictures of %d people", options.out, len(pictures), options.people)


def _draw_person(
    writer: ArtifactWriter, model: HeadModel, seed: int, options: Options
) -> list[dict[str, float]]:
    """Append all pictures of one person; returns what is known of each moment."""
    looks, scenery, moves = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence([seed, 1]).spawn(3)
    )
    person = make_person(looks, len(model.identity_std))
    scene = Scene(model, person, scenery, options.size_px)
    known = []
    for _ in range(options.moments):
        moment = make_moment(moves, model, scene.neck_joint)
        known.append(describe(person, moment))
        for _ in range(options.views):
            view = make_view(moves, np.array(PIVOT_M))
            centre = (options.size_px - 1) / 2
            focal = view.focal * options.size_px
            intrinsics = np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1.0]])
            renderer = Renderer(scene, torch.from_numpy(intrinsics).float())
            renderer.relight(light_of(moment, view))
            image, alpha = renderer.draw_head(pose_of(moment, view))
            writer.append("image", image[None], compressed=True)
            writer.append("alpha", alpha[None], compressed=True)
            writer.append("camera_from_head", view.world_from_head.numpy()[None])
            writer.append("intrinsics", intrinsics[None])
    return known


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_step(Options, main)
