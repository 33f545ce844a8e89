"""Scores of many renders as one long table, with confidence intervals (pandas)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from artifacts.errors import InputError
from artifacts.kinds import SCORES
from artifacts.store import read_artifact
from evaluation.metric_names import metric_info, sort_key
from evaluation.metrics.uncertainty import (
    FEWEST_SUBJECTS,
    bootstrap_frames,
    bootstrap_subjects,
)

COLUMNS = (
    "subject",
    "model",
    "split",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "unit",
    "note",
)
# Subject of the rows that average over subjects; parentheses keep it apart from any real name.
MEAN_SUBJECT = "(mean over subjects)"
# Split of such a row where the subjects do not all have the same.
SEVERAL = "several"

# Columns of text in the long table.
TEXT_COLUMNS = ("subject", "model", "split", "metric", "unit", "note")


@dataclass(frozen=True)
class ScoredRender:
    """The ``scores`` artifact of one subject and model."""

    subject: str
    model: str
    arrays: dict[str, np.ndarray]
    driver: str = ""
    """Who drives it, where that is another person."""

    def per_frame(self, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Clip index and value of every valid frame, or None where the metric has no values per frame."""
        names = self.arrays["frame_metric"].tolist()
        if metric not in names:
            return None
        row = names.index(metric)
        valid = self.arrays["frame_valid"][row]
        values = self.arrays["frame_value"][row].astype(np.float64)
        return self.arrays["driver_frame"][valid], values[valid]


def value_of(render: ScoredRender, metric: str) -> float:
    """The mean over the valid frames, or the value for the clip; nan where it is missing."""
    per_frame = render.per_frame(metric)
    if per_frame is not None:
        return float(per_frame[1].mean()) if len(per_frame[1]) else np.nan
    names = render.arrays["clip_metric"].tolist()
    return float(render.arrays["clip_value"][names.index(metric)]) if metric in names else np.nan


def cross_path(scores: Path, driver: str) -> Path:
    """The ``scores`` artifact of a render that ``driver`` drives, beside that of the held-out frames."""
    return scores.parent / "cross" / driver / "scores.h5"


def read_cross_scores(
    pattern: str, pairs: Sequence[tuple[str, str]], drivers: Sequence[str]
) -> list[ScoredRender]:
    """The ``scores`` artifacts of the renders that other people drive: of each pair those that are there.

    Raises:
        InputError: one cannot be read.
    """
    return [
        ScoredRender(subject, model, read_artifact(path, SCORES), driver)
        for subject, model in pairs
        for driver in drivers
        if driver != subject
        and (path := cross_path(scores_path(pattern, subject, model), driver)).is_file()
    ]


def scores_path(pattern: str, subject: str, model: str) -> Path:
    """Path of a ``scores`` artifact: ``{subject}`` and ``{model}`` in ``pattern`` stand for the names."""
    return Path(pattern.replace("{subject}", subject).replace("{model}", model))


def read_scores(pattern: str, pairs: Sequence[tuple[str, str]]) -> list[ScoredRender]:
    """The ``scores`` artifacts of some subjects and models.

    Args:
        pattern: As for :func:`scores_path`.
        pairs: Subject and model of each.

    Raises:
        InputError: one is not there or cannot be read.
    """
    return [
        ScoredRender(subject, model, read_artifact(scores_path(pattern, subject, model), SCORES))
        for subject, model in pairs
    ]


def read_score_table(path: Path) -> pd.DataFrame:
    """The long table of ``evaluation.tables``.

    Raises:
        InputError: the file is missing or is no such table.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; run evaluation.tables first")
    try:
        # Names stay text, whatever they look like ("007", "nan"); only numbers may be empty.
        table = pd.read_csv(
            path,
            dtype={name: str for name in TEXT_COLUMNS},
            keep_default_na=False,
            na_values={name: [""] for name in ("value", "ci_low", "ci_high")},
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a table of scores ({error}); delete it and run again"
        ) from error
    lacking = [name for name in COLUMNS if name not in table]
    if lacking:
        raise InputError(f"{path}: lacks the columns {lacking}; delete it and run again")
    return table


def rows_where(table: pd.DataFrame, column: str, *values: str) -> pd.DataFrame:
    """Rows whose ``column`` holds one of ``values``."""
    return cast(pd.DataFrame, table[table[column].isin(values)])


def names_in(table: pd.DataFrame, column: str) -> list[str]:
    """Different values of a column of text, in order of appearance."""
    return list(dict.fromkeys(str(value) for value in table[column].tolist()))


def long_table(
    renders: Sequence[ScoredRender],
    splits: Mapping[str, str],
    seed: int = 0,
    absent: Mapping[tuple[str, str], str] | None = None,
    crossed: Sequence[ScoredRender] = (),
) -> pd.DataFrame:
    """One row per subject, model and metric (:data:`COLUMNS`), then the means over subjects.

    Metrics with a value per frame: mean over the valid frames, ``n`` of them, 95 % block bootstrap.
    Metrics with one value per clip: that value, no interval. Metrics that could not be computed: an empty
    value and the reason in ``note``.

    Args:
        renders: What has scores.
        splits: Name of the split of each subject.
        seed: Of the bootstrap.
        absent: Subjects and models without any scores, and why. They get a row for every metric of the others; means are
            over the subjects that have scores of all models.
        crossed: Renders that other people drive; a row is the mean over the drivers.
    """
    rows = [row for render in renders for row in _rows(render, seed)]
    rows += _cross_rows(crossed, seed)
    metrics = dict.fromkeys(row["metric"] for row in rows)
    absent = absent or {}
    rows += [
        {"subject": subject, "model": model, "metric": metric}
        | _row(np.nan, np.nan, np.nan, 0, f"missing: {reason}")
        for (subject, model), reason in absent.items()
        for metric in metrics
    ]
    table = pd.DataFrame(rows)
    table["split"] = [splits[subject] for subject in table["subject"]]
    lacking = sorted({subject for subject, _ in absent})
    whole = cast(pd.DataFrame, table[~table["subject"].isin(lacking)])
    if len(names_in(whole, "subject")) > 1:
        means = _means_over_subjects(whole, seed)
        if lacking:
            without = f"without {', '.join(lacking)}"
            means["note"] = [f"{note}; {without}" if note else without for note in means["note"]]
        table = pd.concat([table, means], ignore_index=True)
    table["unit"] = [metric_info(name).unit for name in table["metric"]]
    return cast(pd.DataFrame, table[list(COLUMNS)])


def _rows(render: ScoredRender, seed: int) -> list[dict[str, object]]:
    arrays = render.arrays
    rows: dict[str, dict[str, object]] = {}
    for name in arrays["frame_metric"].tolist():
        _, values = render.per_frame(name) or (None, np.zeros(0))
        interval = bootstrap_frames(values, seed)
        note = ""
        if len(values) < len(arrays["driver_frame"]):
            note = f"{len(arrays['driver_frame']) - len(values)} frames have no value"
        rows[name] = _row(interval.mean, interval.low, interval.high, len(values), note)
    for name, value in zip(arrays["clip_metric"].tolist(), arrays["clip_value"], strict=True):
        rows[name] = _row(float(value), np.nan, np.nan, 1, "")
    missing = zip(arrays["missing_metric"].tolist(), arrays["missing_reason"].tolist(), strict=True)
    for name, reason in missing:
        rows[name] = _row(np.nan, np.nan, np.nan, 0, f"missing: {reason}")
    names = {"subject": render.subject, "model": render.model}
    return [{**names, "metric": name, **rows[name]} for name in sorted(rows, key=sort_key)]


def _cross_rows(crossed: Sequence[ScoredRender], seed: int) -> list[dict[str, object]]:
    """A row for each subject, model and metric: the mean over the drivers, with an interval over them where they are many."""
    groups: dict[tuple[str, str], list[ScoredRender]] = {}
    for render in crossed:
        groups.setdefault((render.subject, render.model), []).append(render)
    rows = []
    for (subject, model), of_pair in groups.items():
        names: dict[str, str] = {}
        for render in of_pair:
            kinds = ("frame_metric", "clip_metric")
            names |= {name: "" for kind in kinds for name in render.arrays[kind].tolist()}
            missing = (render.arrays[f"missing_{kind}"].tolist() for kind in ("metric", "reason"))
            names = {**dict(zip(*missing, strict=True)), **names}
        for name in sorted(names, key=sort_key):
            values = np.array([value_of(render, name) for render in of_pair])
            there = ~np.isnan(values)
            if not there.any():
                row = _row(np.nan, np.nan, np.nan, 0, f"missing: {names[name]}")
            else:
                lost = [r.driver for r, known in zip(of_pair, there, strict=True) if not known]
                note = f"without the drivers {', '.join(lost)}" if lost else ""
                values = values[there]
                interval = bootstrap_subjects(values, seed)
                row = _row(interval.mean, interval.low, interval.high, len(values), note)
            rows.append({"subject": subject, "model": model, "metric": name, **row})
    return rows


def _row(value: float, low: float, high: float, n: int, note: str) -> dict[str, object]:
    return {"value": value, "ci_low": low, "ci_high": high, "n": n, "note": note}


def _means_over_subjects(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Mean over subjects of each model and metric, only where every subject of the table has a value."""
    values = table.pivot(index=["model", "metric"], columns="subject", values="value")
    subjects, splits = names_in(table, "subject"), names_in(table, "split")
    split = splits[0] if len(splits) == 1 else SEVERAL
    rows = []
    for model, metric in dict.fromkeys(zip(table["model"], table["metric"], strict=True)):
        of_subjects = values.loc[(model, metric), subjects].to_numpy(np.float64)
        absent = np.isnan(of_subjects)
        if absent.any():
            lacking = [name for name, is_absent in zip(subjects, absent, strict=True) if is_absent]
            row = _row(np.nan, np.nan, np.nan, 0, f"missing: no value for {', '.join(lacking)}")
        else:
            interval = bootstrap_subjects(of_subjects, seed)
            row = _row(interval.mean, interval.low, interval.high, len(subjects), "")
        rows.append(
            {"subject": MEAN_SUBJECT, "model": model, "metric": metric, "split": split, **row}
        )
    return pd.DataFrame(rows)


def differences(
    renders: Sequence[ScoredRender], baseline: str, metric: str, seed: int = 0
) -> pd.DataFrame:
    """Paired difference of each model from ``baseline``, frame by frame, with a 95 % block bootstrap.

    Returns:
        Columns subject, model, metric, value, ci_low, ci_high, n (frames where both have a value).
    """
    by_name = {(render.subject, render.model): render for render in renders}
    rows = []
    for render in renders:
        base = by_name.get((render.subject, baseline))
        ours = render.per_frame(metric)
        theirs = base.per_frame(metric) if base else None
        if render.model == baseline or ours is None or theirs is None:
            continue
        frame_ours, frame_theirs = ours[0], theirs[0]
        _, mine, other = np.intersect1d(frame_ours, frame_theirs, return_indices=True)
        if len(mine) == 0:
            continue
        interval = bootstrap_frames(ours[1][mine] - theirs[1][other], seed)
        rows.append(
            {
                "subject": render.subject,
                "model": render.model,
                "metric": metric,
                "value": interval.mean,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "n": len(mine),
            }
        )
    names = ["subject", "model", "metric", "value", "ci_low", "ci_high", "n"]
    return pd.DataFrame(rows, columns=pd.Index(names))


def mean_differences(of_subjects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean over subjects of :func:`differences`, with a 95 % bootstrap over subjects; no rows for fewer than :data:`FEWEST_SUBJECTS`."""
    rows = []
    pairs = zip(of_subjects["model"], of_subjects["metric"], strict=True)
    for model, metric in dict.fromkeys(pairs):
        group = rows_where(rows_where(of_subjects, "model", model), "metric", metric)
        if len(group) < FEWEST_SUBJECTS:
            continue
        interval = bootstrap_subjects(group["value"].to_numpy(np.float64), seed)
        rows.append(
            {
                "subject": MEAN_SUBJECT,
                "model": model,
                "metric": metric,
                "value": interval.mean,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "n": len(group),
            }
        )
    return pd.DataFrame(rows, columns=of_subjects.columns)
