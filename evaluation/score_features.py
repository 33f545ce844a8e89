"""Scores that two published networks give: FID, CSIM and identity drift."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from artifacts.errors import InputError
from artifacts.kinds import PICTURE_FEATURES
from artifacts.store import read_artifact
from evaluation.metrics.frechet import fit_gaussian, frechet_distance
from evaluation.metrics.identity import cosine, identity_drift, mean_direction
from evaluation.score_frames import Scores

FID_REASON = (
    "its network (pt_inception-2015-12-05-6726825d.pth, 96 MB) is not wanted: set scores: {fid: true} in config.yaml, which "
    "downloads it"
)
CSIM_REASON = (
    "its network (w600k_r50.onnx, for non-commercial research only) is not wanted: put the file into the cache of assets and set "
    "scores: {csim: true} in config.yaml"
)

# What ArcFace's network gives of a render, and in comparison with the filmed frames.
IDENTITY = ("csim_source", "identity_drift")
IDENTITY_OF_TRUTH = ("csim_target", "csim_source_truth", "identity_drift_truth")


def read_features(
    files: tuple[Path, ...], n_rendered: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The ``picture_features`` of a render and of filmed frames.

    Raises:
        InputError: not two files are named, they were made by other networks or at other sizes, or the first has not one row
            for each rendered frame.
    """
    if len(files) != 2:
        raise InputError(f"--features names {len(files)} files; name the render's and the clip's")
    rendered, filmed = (read_artifact(path, PICTURE_FEATURES) for path in files)
    if len(rendered["identity_valid"]) != n_rendered:
        raise InputError(
            f"{files[0]}: has {len(rendered['identity_valid'])} frames, the render {n_rendered}; make its features again"
        )
    for name in ("inception", "identity"):
        if rendered[name].shape[1] != filmed[name].shape[1]:
            raise InputError(
                f"{files[0]} and {files[1]}: {name} is of two networks; make both again"
            )
    if not np.array_equal(rendered["image_size"], filmed["image_size"]):
        raise InputError(
            f"{files[0]} and {files[1]}: pictures of two sizes; make both at the render's size"
        )
    return rendered, filmed


def score_features(
    scores: Scores,
    files: tuple[Path, ...],
    driver_frame: Int[np.ndarray, " frame"],
    train_frame: Int[np.ndarray, " train_frame"],
) -> None:
    """Add FID, CSIM and identity drift to ``scores``, or why they are missing.

    Args:
        scores: What to add to.
        files: ``picture_features`` artifacts of the render and of the subject; none where nobody wanted them.
        driver_frame: Index in the clip of each rendered frame.
        train_frame: Frames of the clip that the avatar was trained on.

    Raises:
        InputError: not two files are named, or they are not of this render and this clip.
    """
    if not files:
        scores.missing |= {"fid_person": FID_REASON}
        scores.missing |= dict.fromkeys((*IDENTITY, *IDENTITY_OF_TRUTH), CSIM_REASON)
        return
    rendered, filmed = read_features(files, len(driver_frame))
    rows = np.arange(len(driver_frame))
    last = max(driver_frame.max(), train_frame.max())
    if last >= len(filmed["identity_valid"]):
        raise InputError(
            f"{files[1]}: frame {last} is not in it; make the features of this clip again"
        )
    render, truth = FeatureTracks.of(rendered, rows), FeatureTracks.of(filmed, driver_frame)
    trained = FeatureTracks.of(filmed, train_frame)
    score_distribution(scores, render, truth)
    score_identity(scores, render, trained)
    score_identity_of_truth(scores, render, truth, trained)


def score_features_of_cross(
    scores: Scores, files: tuple[Path, ...], train_frame: Int[np.ndarray, " train_frame"]
) -> None:
    """Add FID against all filmed frames of the avatar's person, CSIM and drift of a render that another person drives.

    Args:
        scores: What to add to.
        files: ``picture_features`` artifacts of the render and of the avatar's person; none where nobody wanted them.
        train_frame: Frames of the clip that the avatar was trained on.

    Raises:
        InputError: not two files are named, or they are not of this render and this clip.
    """
    if not files:
        scores.missing |= {"fid_person": FID_REASON, **dict.fromkeys(IDENTITY, CSIM_REASON)}
        return
    rendered, filmed = read_features(files, scores.n_frames)
    if train_frame.max() >= len(filmed["identity_valid"]):
        raise InputError(
            f"{files[1]}: frame {train_frame.max()} is not in it; make the features of this clip again"
        )
    render = FeatureTracks.of(rendered, np.arange(scores.n_frames))
    everything = FeatureTracks.of(filmed, np.arange(len(filmed["identity_valid"])))
    score_distribution(scores, render, everything)
    score_identity(scores, render, FeatureTracks.of(filmed, train_frame))


@dataclass(frozen=True)
class FeatureTracks:
    """What two networks see in the scored frames (kind ``picture_features``)."""

    inception: Float[np.ndarray, "frame inception_feature"]
    identity: Float[np.ndarray, "frame identity_feature"]
    identity_valid: Bool[np.ndarray, " frame"]

    @classmethod
    def of(cls, features: dict[str, np.ndarray], rows: Int[np.ndarray, " row"]) -> FeatureTracks:
        """The given rows of a ``picture_features`` artifact."""
        return cls(*(features[name][rows] for name in ("inception", "identity", "identity_valid")))


def score_distribution(scores: Scores, render: FeatureTracks, truth: FeatureTracks) -> None:
    """Add the FID of rendered and filmed frames to ``scores``, where its features were made."""
    if not render.inception.shape[1]:
        scores.missing["fid_person"] = FID_REASON
    elif min(len(render.inception), len(truth.inception)) < 2:
        scores.missing["fid_person"] = "it needs at least two frames"
    else:
        fits = (fit_gaussian(render.inception), fit_gaussian(truth.inception))
        scores.clip["fid_person"] = frechet_distance(*fits)


def score_identity(scores: Scores, render: FeatureTracks, trained: FeatureTracks) -> None:
    """Add how much the rendered face looks like the frames trained on, and how far it wanders."""
    if not render.identity.shape[1]:
        scores.missing |= dict.fromkeys(IDENTITY, CSIM_REASON)
        return
    if not trained.identity_valid.any():
        scores.missing["csim_source"] = "no face was found in the frames trained on"
    else:
        source = mean_direction(trained.identity[trained.identity_valid])
        scores.put(
            "csim_source",
            cosine(render.identity, source[None]),
            render.identity_valid,
            "no face was found in the render",
        )
    _put_drift(scores, "identity_drift", render)


def score_identity_of_truth(
    scores: Scores, render: FeatureTracks, truth: FeatureTracks, trained: FeatureTracks
) -> None:
    """Add how much the rendered face looks like the filmed one of the same frame, and what the filmed one itself reaches."""
    if not render.identity.shape[1]:
        scores.missing |= dict.fromkeys(IDENTITY_OF_TRUTH, CSIM_REASON)
        return
    both = render.identity_valid & truth.identity_valid
    reason = "no scored frame in which a face was found both in the render and in the truth"
    scores.put("csim_target", cosine(render.identity, truth.identity), both, reason)
    if trained.identity_valid.any():
        source = mean_direction(trained.identity[trained.identity_valid])
        alike = cosine(truth.identity, source[None])
        scores.put("csim_source_truth", alike, truth.identity_valid, reason)
    else:
        scores.missing["csim_source_truth"] = "no face was found in the frames trained on"
    _put_drift(scores, "identity_drift_truth", truth)


def _put_drift(scores: Scores, name: str, features: FeatureTracks) -> None:
    drift = identity_drift(features.identity, features.identity_valid)
    if drift is None:
        scores.missing[name] = "no face was found in the first or the last quarter of the frames"
    else:
        scores.clip[name] = drift
