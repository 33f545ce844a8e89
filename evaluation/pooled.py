"""FID over the frames of several people together, as papers give it: the mean of each one's FID is another, larger number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from artifacts.errors import InputError
from artifacts.kinds import PICTURE_FEATURES, SCORES
from artifacts.store import read_artifact
from evaluation.metric_names import CROSS, POOLED
from evaluation.metrics.frechet import frechet_distance


def pooled_fid(results: Path, subjects: Sequence[str], model: str, metric: str) -> float:
    """FID of all rendered frames of some people against all filmed ones that the metric compares them with.

    Args:
        results: Folder of the results.
        subjects: Whose renders; each has ``picture_features`` of its film and of its renders.
        model: Of the renders.
        metric: ``fid_person_pooled`` or ``cross_fid_person_pooled``.

    Raises:
        InputError: features are missing, or FID was not wanted where they were made.
    """
    rendered, filmed = [], []
    for subject in subjects:
        folder = results / subject / model
        truth = _inception(results / subject / "picture_features.h5")
        if metric.startswith(CROSS):
            files = sorted(folder.glob("cross/*/features.h5"))
            if not files:  # the film of one who is never rendered would stand on one side alone
                raise InputError(f"{folder}: no render is driven by another person")
            rendered += map(_inception, files)
        else:
            scores = read_artifact(folder / "scores.h5", SCORES)
            truth = truth[scores["driver_frame"]]
            rendered.append(_inception(folder / "render_self_features.h5"))
        filmed.append(truth)
    if not rendered:
        raise InputError(f"{results}: FID was asked of nobody")
    return frechet_distance(np.concatenate(rendered), np.concatenate(filmed))


def is_pooled(metric: str) -> bool:
    """True for the metrics of :func:`pooled_fid`, which the table of scores does not have."""
    return metric in POOLED


def _inception(path: Path) -> np.ndarray:
    features = read_artifact(path, PICTURE_FEATURES)["inception"]
    if not features.shape[1]:
        raise InputError(
            f"{path}: holds no features for FID; set scores: {{fid: true}} and run again"
        )
    return features
