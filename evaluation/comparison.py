"""Models against each other: paired differences, and which models may be the best of a metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd

from evaluation.aggregate import MEAN_SUBJECT, ScoredRender, names_in, rows_where, value_of
from evaluation.metric_names import metric_info
from evaluation.metrics.uncertainty import (
    FEWEST_SUBJECTS,
    Interval,
    bootstrap_frames,
    bootstrap_subjects,
)

DIFFERENCE_COLUMNS = ("subject", "model", "metric", "value", "ci_low", "ci_high", "n")


def paired_frames(ours: ScoredRender, theirs: ScoredRender, metric: str) -> np.ndarray | None:
    """Ours minus theirs in every frame where both have a value (float64); None where there is none."""
    one, other = ours.per_frame(metric), theirs.per_frame(metric)
    if one is None or other is None:
        return None
    _, mine, its = np.intersect1d(one[0], other[0], return_indices=True)
    return one[1][mine] - other[1][its] if len(mine) else None


def differences(
    renders: Sequence[ScoredRender], baseline: str, metric: str, seed: int = 0
) -> pd.DataFrame:
    """Paired difference of each model from ``baseline``, frame by frame, with a 95 % block bootstrap.

    Returns:
        :data:`DIFFERENCE_COLUMNS`, n the number of frames where both have a value.
    """
    by_name = {(render.subject, render.model): render for render in renders}
    rows = []
    for render in renders:
        base = by_name.get((render.subject, baseline))
        paired = None if base is None else paired_frames(render, base, metric)
        if render.model == baseline or paired is None:
            continue
        interval = bootstrap_frames(paired, seed)
        rows.append(_difference(render.subject, render.model, metric, interval, len(paired)))
    return pd.DataFrame(rows, columns=pd.Index(DIFFERENCE_COLUMNS))


def mean_differences(of_subjects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean over subjects of :func:`differences`, with a 95 % bootstrap over subjects; no rows for fewer than :data:`FEWEST_SUBJECTS`."""
    rows = []
    pairs = zip(of_subjects["model"], of_subjects["metric"], strict=True)
    for model, metric in dict.fromkeys(pairs):
        group = rows_where(rows_where(of_subjects, "model", model), "metric", metric)
        if len(group) < FEWEST_SUBJECTS:
            continue
        interval = bootstrap_subjects(group["value"].to_numpy(np.float64), seed)
        rows.append(_difference(MEAN_SUBJECT, model, metric, interval, len(group)))
    return pd.DataFrame(rows, columns=of_subjects.columns)


def _difference(
    subject: str, model: str, metric: str, interval: Interval, n: int
) -> dict[str, object]:
    names = {"subject": subject, "model": model, "metric": metric}
    return {
        **names,
        "value": interval.mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "n": n,
    }


def leaders(
    values: Mapping[str, float], metric: str, against_best: Mapping[str, Interval | None]
) -> set[str]:
    """Models that may be the best of a metric: the best one, and those not significantly different from it.

    Args:
        values: Model to its value; nan where it has none.
        metric: Its name.
        against_best: Model to its paired difference from the best one; None of a value that nothing is paired in.

    Returns:
        Nobody where fewer than two have a value, all have the same one, more is not better, or too few frames or subjects say
        whether a difference is more than chance.
    """
    best = best_of(values, metric)
    if best is None:
        return set()
    others = {name: found for name, found in against_best.items() if found is not None}
    if not all(found.is_known for found in others.values()):
        return set()
    return {best, *(name for name, found in others.items() if not found.excludes_zero)}


def best_of(values: Mapping[str, float], metric: str) -> str | None:
    """The model with the best value; None where none is better than another."""
    better = metric_info(metric).better
    known = {name: value for name, value in values.items() if not np.isnan(value)}
    sizes = np.array(list(known.values()))
    if better == "neither" or len(known) < 2 or np.allclose(sizes, sizes[0], atol=1e-5):
        return None
    return (max if better == "higher" else min)(known, key=known.__getitem__)


def mark_leaders(
    table: pd.DataFrame,
    renders: Sequence[ScoredRender],
    crossed: Sequence[ScoredRender],
    seed: int = 0,
) -> list[bool]:
    """Of each row of a long table, whether its model may be the best of the row's subject and metric (:func:`leaders`)."""
    by_subject: dict[str, dict[str, list[ScoredRender]]] = {}
    for render in (*renders, *crossed):
        by_subject.setdefault(render.subject, {}).setdefault(render.model, []).append(render)
    marked = set()
    for subject, of_subject in _groups(table, "subject"):
        for metric, rows in _groups(of_subject, "metric"):
            known = cast(pd.DataFrame, rows[~rows["value"].isna()])
            values = dict(zip(names_in(known, "model"), known["value"].tolist(), strict=True))
            best = best_of(values, metric)
            # Means over different drivers say nothing of the models.
            if best is None or len(names_in(known, "drivers")) > 1:
                continue
            others = [name for name in values if name != best]
            if subject == MEAN_SUBJECT:
                own = rows_where(table, "metric", metric)
                found = {name: _over_subjects(own, name, best, seed) for name in others}
            else:
                of_models = by_subject[subject]
                found = {
                    name: _of_subject(of_models[name], of_models[best], metric, seed)
                    for name in others
                }
            marked |= {(subject, name, metric) for name in leaders(values, metric, found)}
    keys = zip(table["subject"], table["model"], table["metric"], strict=True)
    return [key in marked for key in keys]


def _groups(table: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each name in a column of text, in order of appearance."""
    for name, rows in table.groupby(column, sort=False):
        yield str(name), rows


def _over_subjects(of_metric: pd.DataFrame, model: str, best: str, seed: int) -> Interval:
    """The model's difference from the best one, paired by subject."""
    wide = of_metric.pivot(index="subject", columns="model", values="value")
    paired = (wide[model] - wide[best]).drop(MEAN_SUBJECT).dropna().to_numpy(np.float64)
    return bootstrap_subjects(paired, seed)


def _of_subject(
    ours: Sequence[ScoredRender], theirs: Sequence[ScoredRender], metric: str, seed: int
) -> Interval | None:
    """One model's difference from another of the same subject, paired by frame, or by driver where others drive."""
    of_driver = {render.driver: render for render in theirs}
    pairs = [(mine, of_driver[mine.driver]) for mine in ours if mine.driver in of_driver]
    driven = np.array([value_of(m, metric) - value_of(o, metric) for m, o in pairs if m.driver])
    driven = driven[~np.isnan(driven)]
    if len(driven):
        return bootstrap_subjects(driven, seed)
    for mine, other in pairs:
        paired = None if mine.driver else paired_frames(mine, other, metric)
        if paired is not None:
            return bootstrap_frames(paired, seed)
    return None


def names_of_leaders(of_metric: pd.DataFrame) -> set[str]:
    """Models that a long table's rows of one subject and metric mark as the possible best."""
    return set(names_in(cast(pd.DataFrame, of_metric[of_metric["may_be_best"]]), "model"))
