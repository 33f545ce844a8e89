"""Scores of many renders as one long table, with confidence intervals (pandas)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from artifacts.errors import InputError
from artifacts.kinds import SCORES
from artifacts.store import read_artifact
from evaluation.metric_names import metric_info, sort_key
from evaluation.metrics.uncertainty import (
    bootstrap_frames,
    bootstrap_subjects,
)

# drivers: who drives the renders, where others do. may_be_best: evaluation.comparison.leaders.
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
    "drivers",
    "may_be_best",
)
# Subject of the rows that average over subjects; parentheses keep it apart from any real name.
MEAN_SUBJECT = "(mean over subjects)"
# Split of such a row where the subjects do not all have the same.
SEVERAL = "several"

# Columns of text in the long table.
TEXT_COLUMNS = ("subject", "model", "split", "metric", "unit", "note", "drivers")


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


def on_common_frames(renders: Sequence[ScoredRender]) -> list[ScoredRender]:
    """The same renders, each metric valid only in the frames in which all models of the subject (and driver) that have it have a value.

    So the means of all models are over the same frames (METHODS, section 6).
    """
    common: dict[tuple[str, str, str], set[int]] = {}
    for render in renders:
        for row, metric in enumerate(render.arrays["frame_metric"].tolist()):
            valid = render.arrays["frame_valid"][row]
            frames = set(map(int, render.arrays["driver_frame"][valid]))
            key = (render.subject, render.driver, metric)
            common[key] = common.get(key, frames) & frames
    made = []
    for render in renders:
        valid = render.arrays["frame_valid"].copy()
        for row, metric in enumerate(render.arrays["frame_metric"].tolist()):
            shared = list(common[render.subject, render.driver, metric])
            valid[row] &= np.isin(render.arrays["driver_frame"], shared)
        made.append(replace(render, arrays={**render.arrays, "frame_valid": valid}))
    return made


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
    absent_drivers: Mapping[tuple[str, str], Mapping[str, str]] | None = None,
) -> pd.DataFrame:
    """One row per subject, model and metric (:data:`COLUMNS` but for the last), then the means over subjects.

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
        absent_drivers: Of a subject and model, drivers of whose render there are no scores, and why.
    """
    rows = [row for render in renders for row in _rows(render, seed)]
    rows += _cross_rows(crossed, absent_drivers or {}, seed)
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
    table["drivers"] = table["drivers"].fillna("") if "drivers" in table else ""
    return cast(pd.DataFrame, table[list(COLUMNS[:-1])])


def _rows(render: ScoredRender, seed: int) -> list[dict[str, object]]:
    arrays = render.arrays
    rows: dict[str, dict[str, object]] = {}
    for name in arrays["frame_metric"].tolist():
        _, values = render.per_frame(name) or (None, np.zeros(0))
        lost = len(arrays["driver_frame"]) - len(values)
        note = f"{lost} frames have no value, of this or another model" if lost else ""
        if len(values) == 0:
            note = "missing: there is no frame in which all models have a value"
            rows[name] = _row(np.nan, np.nan, np.nan, 0, note)
            continue
        interval = bootstrap_frames(values, seed)
        rows[name] = _row(interval.mean, interval.low, interval.high, len(values), note)
    for name, value in zip(arrays["clip_metric"].tolist(), arrays["clip_value"], strict=True):
        rows[name] = _row(float(value), np.nan, np.nan, 1, "")
    missing = zip(arrays["missing_metric"].tolist(), arrays["missing_reason"].tolist(), strict=True)
    for name, reason in missing:
        rows[name] = _row(np.nan, np.nan, np.nan, 0, f"missing: {reason}")
    names = {"subject": render.subject, "model": render.model}
    return [{**names, "metric": name, **rows[name]} for name in sorted(rows, key=sort_key)]


def _cross_rows(
    crossed: Sequence[ScoredRender],
    absent: Mapping[tuple[str, str], Mapping[str, str]],
    seed: int,
) -> list[dict[str, object]]:
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
        gone = {n: f"{n} ({why})" for n, why in absent.get((subject, model), {}).items()}
        for name in sorted(names, key=sort_key):
            values = {render.driver: value_of(render, name) for render in of_pair}
            known = {driver: value for driver, value in values.items() if not np.isnan(value)}
            if not known:
                row = _row(np.nan, np.nan, np.nan, 0, f"missing: {names[name]}")
            else:
                lost = {driver: driver for driver in values if driver not in known} | gone
                note = f"without the drivers {', '.join(lost.values())}" if lost else ""
                interval = bootstrap_subjects(np.array(list(known.values())), seed)
                row = _row(interval.mean, interval.low, interval.high, len(known), note)
            who = {"subject": subject, "model": model, "metric": name}
            rows.append({**who, **row, "drivers": " ".join(known)})
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
