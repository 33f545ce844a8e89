"""FID over the frames of several people together, as papers give it: the mean of each one's FID is another, larger number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artifacts.errors import InputError
from artifacts.kinds import PICTURE_FEATURES, SCORES
from artifacts.store import read_artifact
from evaluation.metric_names import CROSS, POOLED
from evaluation.metrics.frechet import GaussianFit, fit_gaussian, frechet_distance


@dataclass(frozen=True)
class PooledFid:
    """A pooled FID and what it is of.

    Attributes:
        value: The distance.
        n_rendered, n_filmed: Frames on both sides.
        side_px: Larger side of the pictures.
        files: The ``picture_features`` artifacts.
    """

    value: float
    n_rendered: int
    n_filmed: int
    side_px: int
    files: tuple[Path, ...]


def pooled_fid(
    results: Path, drivers: Mapping[str, Sequence[str]], model: str, metric: str
) -> PooledFid:
    """FID of all rendered frames of some people against all filmed ones that the metric compares them with.

    Args:
        results: Folder of the results.
        drivers: Whose renders, each with who else drives them; each has ``picture_features`` of its film and of its renders.
        model: Of the renders.
        metric: ``fid_person_pooled`` or ``cross_fid_person_pooled``.

    Raises:
        InputError: features are missing or of two sizes, or FID was not wanted where they were made.
    """
    pool = _Pool()
    for subject, others in drivers.items():
        folder = results / subject / model
        filmed = results / subject / "picture_features.h5"
        if metric.startswith(CROSS):
            if not others:  # the film of one who is never rendered would stand on one side alone
                raise InputError(f"{folder}: no render is driven by another person")
            for driver in others:
                pool.add("rendered", folder / "cross" / driver / "features.h5")
            pool.add("filmed", filmed)
        else:
            pool.add("rendered", folder / "render_self_features.h5")
            scored = read_artifact(folder / "scores.h5", SCORES)["driver_frame"]
            pool.add("filmed", filmed, scored)
    if not pool.files:
        raise InputError(f"{results}: FID was asked of nobody")
    rendered, film = pool.fits["rendered"], pool.fits["filmed"]
    value = frechet_distance(rendered, film)
    return PooledFid(value, rendered.n, film.n, max(pool.sizes)[0], tuple(pool.files))


class _Pool:
    """The features of many files, fitted as they are read: only one file's are held at a time."""

    def __init__(self) -> None:
        self.fits: dict[str, GaussianFit] = {}
        self.sizes: set[tuple[int, ...]] = set()
        self.files: list[Path] = []

    def add(self, side: str, path: Path, rows: np.ndarray | None = None) -> None:
        found = read_artifact(path, PICTURE_FEATURES)
        if not found["inception"].shape[1]:
            raise InputError(
                f"{path}: holds no features for FID; set scores: {{fid: true}} and run again"
            )
        self.sizes.add(tuple(sorted(map(int, found["image_size"]), reverse=True)))
        if len(self.sizes) > 1:
            raise InputError(
                f"{path}: its pictures are of another size than those before; FID needs one size"
            )
        chosen = found["inception"] if rows is None else found["inception"][rows]
        self.fits[side] = fit_gaussian(chosen, self.fits.get(side))
        self.files.append(path)


def is_pooled(metric: str) -> bool:
    """True for the metrics of :func:`pooled_fid`, which the table of scores does not have."""
    return metric in POOLED
