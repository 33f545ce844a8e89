"""Step: how well an avatar follows another person: motion re-estimated from the render against the driver's, and its own identity.

There is no filmed truth of it: pictures are not compared frame by frame.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artifacts.errors import InputError
from artifacts.kinds import AVATAR, FACE_FIT, RENDER, SCORES
from artifacts.provenance import files_in, make_provenance
from artifacts.step import run_step
from artifacts.store import open_artifact, read_artifact, write_artifact
from evaluation.metric_names import CROSS
from evaluation.score_features import score_features_of_cross
from evaluation.score_frames import Scores, score_changes, score_fits, score_track
from evaluation.scores import split_of, to_arrays
from evaluation.tracks import FitTracks, read_tracks

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Options of ``python -m evaluation.cross_scores``."""

    render: Path
    """``render`` artifact of mode cross, driven by a filmed person."""
    avatar: Path
    """``avatar`` artifact it was rendered with."""
    render_landmarks: Path
    """``landmarks`` artifact of the render."""
    render_fit: Path
    """``face_fit`` artifact of the render, identity and camera of the avatar's person held."""
    driver_fit: Path
    """``face_fit`` artifact of the driver's frames, made in the same way."""
    out: Path
    """``scores`` artifact to write."""
    features: tuple[Path, ...] = ()
    """``picture_features`` artifacts of the render and of the avatar's person; without them FID and CSIM say what they need."""


def main(options: Options) -> None:
    """Score one render that another person drives.

    Raises:
        InputError: the files do not belong together.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with open_artifact(options.render, RENDER) as reader:
        driver_frame = reader.read("driver_frame").astype(np.int64)
        height, width = reader.shape("image")[1:3]
    with open_artifact(options.avatar, AVATAR) as reader:
        train_frame = reader.read("train_frame").astype(np.int64)
    rows = np.arange(len(driver_frame))
    driver_fit = read_artifact(options.driver_fit, FACE_FIT)
    if driver_frame.max() >= len(driver_fit["valid"]):
        raise InputError(
            f"{options.render}: frame {driver_frame.max()} is not in {options.driver_fit}; "
            "give the fit of the clip that drove the render"
        )
    render = FitTracks.of(read_artifact(options.render_fit, FACE_FIT), rows)
    driver = FitTracks.of(driver_fit, driver_frame)
    if render.expression.shape != driver.expression.shape:
        raise InputError(
            f"{options.render_fit} and {options.driver_fit} are fits with two head models; fit both with the same"
        )
    scores = Scores(len(driver_frame))
    found = read_tracks(options.render_landmarks, rows, (width, height))
    score_track(scores, found, driver_frame)
    score_fits(scores, render, driver)
    score_changes(scores, render, driver)
    score_features_of_cross(scores, options.features, train_frame)
    provenance = make_provenance("evaluation.cross_scores", options, files_in(options))
    provenance["split"] = split_of(options.avatar)
    arrays = to_arrays(scores.renamed(CROSS), driver_frame)
    write_artifact(options.out, SCORES, arrays, provenance)
    LOGGER.info("%s: %d frames scored", options.out, scores.n_frames)


if __name__ == "__main__":
    run_step(Options, main)
