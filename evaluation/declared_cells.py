"""The cells of a declared table: one subject's value, or what is made of several, with what stands behind each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from artifacts.errors import InputError
from evaluation.aggregate import MEAN_SUBJECT, names_in, read_scores, rows_where
from evaluation.comparison import paired_frames
from evaluation.metrics.uncertainty import Interval, bootstrap_frames, bootstrap_subjects
from evaluation.pooled import is_pooled, pooled_fid
from evaluation.table_spec import Column, ModelRow, TableSpec

MEASURED, PUBLISHED = "measured here", "published"
UNKNOWN = Interval(np.nan, np.nan, np.nan)
# What a difference from the baseline amounts to.
SIGNIFICANT, CHANCE, NOT_JUDGED = "significant", "not significant", "not judged"
_OF_SUBJECTS: dict[str, Callable[[np.ndarray], np.floating]] = {
    "median": np.median,
    "min": np.min,
    "max": np.max,
    "std": lambda values: values.std(ddof=1),
}


@dataclass(frozen=True)
class Cell:
    """A number, or why there is none.

    Attributes:
        row, origin, column: Where it stands; origin is :data:`MEASURED` or :data:`PUBLISHED`.
        value: nan where there is none.
        ci_low, ci_high: 95 % interval, nan where there is none.
        note: Why there is no value, or what else to know of it; "" for a published cell that is empty.
        written: A published number as its declaration has it.
        model, metric, aggregate: What was measured; "" of a published number.
        subjects: Of whom, separated by spaces.
        split: Of which test frames, with its version; several separated by spaces.
        n: Frames of one subject, subjects of several; frames for a pooled FID.
        difference, difference_low, difference_high: From the baseline's row, paired, with a 95 % interval.
        verdict: :data:`SIGNIFICANT`, :data:`CHANCE` or :data:`NOT_JUDGED`; "" where nothing is compared.
        source: Where a published number stands.
    """

    row: str
    origin: str
    column: str
    value: float = np.nan
    ci_low: float = np.nan
    ci_high: float = np.nan
    note: str = ""
    written: str = ""
    model: str = ""
    metric: str = ""
    aggregate: str = ""
    subjects: str = ""
    split: str = ""
    n: int = 0
    difference: float = np.nan
    difference_low: float = np.nan
    difference_high: float = np.nan
    verdict: str = ""
    source: str = ""


def cells_of(spec: TableSpec, scores: pd.DataFrame, results: Path, seed: int) -> list[Cell]:
    """All cells, published rows first, as papers have them."""
    cells = [
        Cell(
            row.name,
            PUBLISHED,
            column.name,
            float(text or "nan"),
            written=text or "",
            source=spec.source,
        )
        for row in spec.published
        for column, text in zip(spec.columns, row.values, strict=True)
    ]
    baseline = next((row for row in spec.rows if row.name == spec.baseline), None)
    for row in spec.rows:
        for column in spec.columns:
            cell = measured_cell(row, column, scores, results, seed)
            if baseline is not None and row is not baseline:
                cell = compared(cell, baseline, scores, results, seed)
            cells.append(cell)
    return cells


def subjects_of(column: Column, scores: pd.DataFrame) -> tuple[list[str], str]:
    """Whose values a column holds, and why they cannot be had; "" where they can.

    Those it names, of a name with a star at its end all that begin so; all where it names none. Of those that are not named one by
    one, only those of the column's split.
    """
    splits = dict(zip(scores["subject"], scores["split"], strict=True))
    splits.pop(MEAN_SUBJECT, None)
    fitting = [n for n, its in splits.items() if column.split in ("", its, its.partition("@")[0])]
    wanted: list[str] = []
    for name in column.subjects:
        alike = [other for other in fitting if other.startswith(name[:-1])]
        wanted += alike if name.endswith("*") and alike else [name]
    wanted = list(dict.fromkeys(wanted)) if column.subjects else fitting
    absent = [name for name in wanted if name not in splits]
    if absent or not wanted:
        return wanted, f"no subject {', '.join(absent) or f'of split {column.split}'} in the scores"
    others = [f"{name} (split {splits[name]})" for name in wanted if name not in fitting]
    return wanted, f"not of split {column.split}: {', '.join(others)}" if others else ""


def measured_cell(
    row: ModelRow, column: Column, scores: pd.DataFrame, results: Path, seed: int
) -> Cell:
    """A cell of a measured row: one subject's value, or what is made of several."""
    wanted, note = subjects_of(column, scores)
    cell = Cell(row.name, MEASURED, column.name, model=row.model, metric=column.metric)
    cell = replace(cell, aggregate=column.aggregate, subjects=" ".join(wanted))
    if not column.metric:
        return replace(cell, note="nothing alike is measured here", subjects="", aggregate="")
    if row.model not in names_in(scores, "model"):
        note = f"no model {row.model} in the scores"
    if note:
        return replace(cell, note=note)
    cell = replace(cell, split=" ".join(names_in(rows_where(scores, "subject", *wanted), "split")))
    if is_pooled(column.metric):
        return _pooled(cell, scores, results)
    return _aggregated(cell, scores, seed)


def _pooled(cell: Cell, scores: pd.DataFrame, results: Path) -> Cell:
    drivers = drivers_of(cell, scores)
    try:
        fid = pooled_fid(results, drivers, cell.model, cell.metric)
    except InputError as error:
        return replace(cell, note=f"{cell.metric}: {error}")
    note = f"{fid.n_rendered} rendered against {fid.n_filmed} filmed frames of {fid.side_px} px"
    return replace(cell, value=fid.value, n=fid.n_rendered, note=note)


def drivers_of(cell: Cell, scores: pd.DataFrame) -> dict[str, list[str]]:
    """Of each subject of a cell, who drives its renders in the table of scores."""
    of_model = rows_where(scores, "model", cell.model)
    found = {}
    for subject in cell.subjects.split():
        words = names_in(rows_where(of_model, "subject", subject), "drivers")
        found[subject] = list(dict.fromkeys(" ".join(words).split()))
    return found


def _rows_behind(cell: Cell, scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table of scores that a cell is made of, in the order of its subjects."""
    own = rows_where(rows_where(scores, "model", cell.model), "metric", cell.metric)
    wanted = cell.subjects.split()
    return own.set_index("subject").reindex(wanted)


def _aggregated(cell: Cell, scores: pd.DataFrame, seed: int) -> Cell:
    rows = _rows_behind(cell, scores)
    values, n = rows["value"].to_numpy(np.float64), rows["n"].to_numpy(np.float64)
    if np.isnan(values).any():
        lacking = rows[rows["value"].isna()]
        reasons = [note for note in lacking["note"] if isinstance(note, str) and note]
        why = (reasons or ["it is not measured"])[0].removeprefix("missing: ")
        who = f" ({', '.join(lacking.index)})" if 0 < len(lacking) < len(rows) else ""
        return replace(cell, note=f"{cell.metric}: {why}{who}")
    why = _why_no_aggregate(cell, n)
    if why:
        return replace(cell, note=f"{cell.metric}: {why}")
    if len(values) == 1:
        of_subject = rows.iloc[0]
        interval = Interval(*map(float, of_subject[["value", "ci_low", "ci_high"]]))
        cell = replace(cell, n=int(n[0]), note=str(of_subject["note"]))
    else:
        interval = aggregate(values, n, cell.aggregate, seed)
        cell = replace(cell, n=len(values))
    return replace(cell, value=interval.mean, ci_low=interval.low, ci_high=interval.high)


def _why_no_aggregate(cell: Cell, n: np.ndarray) -> str:
    if cell.aggregate == "std" and len(n) == 1:
        return "one subject has no standard deviation"
    if cell.aggregate == "frames" and len(n) > 1 and n.max() <= 1:
        return "it has one value for a clip, no frames to aggregate"
    return ""


def aggregate(values: np.ndarray, n: np.ndarray, how: str, seed: int) -> Interval:
    """What is made of several subjects' values; only a mean over subjects has an interval.

    Args:
        values: Of each subject.
        n: Frames behind each.
        how: One of :data:`evaluation.table_spec.AGGREGATES`.
        seed: Of the bootstrap.
    """
    if how == "mean":
        return bootstrap_subjects(values, seed)
    if how == "frames":
        return Interval(float((values * n).sum() / n.sum()), np.nan, np.nan)
    return Interval(float(_OF_SUBJECTS[how](values)), np.nan, np.nan)


def compared(
    cell: Cell, baseline: ModelRow, scores: pd.DataFrame, results: Path, seed: int
) -> Cell:
    """The cell with its difference from the baseline's, where both have one and it is a mean."""
    if np.isnan(cell.value) or is_pooled(cell.metric) or cell.aggregate != "mean":
        return cell
    theirs = replace(cell, model=baseline.model)
    if baseline.model not in names_in(scores, "model"):
        return cell
    subjects = cell.subjects.split()
    if len(subjects) == 1:
        pairs = [(subjects[0], cell.model), (subjects[0], baseline.model)]
        ours, base = read_scores(str(results / "{subject}/{model}/scores.h5"), pairs)
        paired = paired_frames(ours, base, cell.metric)
        found = None if paired is None else bootstrap_frames(paired, seed)
    else:
        values = [_rows_behind(it, scores)["value"].to_numpy(np.float64) for it in (cell, theirs)]
        paired = values[0] - values[1]
        found = None if np.isnan(paired).any() else bootstrap_subjects(paired, seed)
    if found is None:
        return cell
    judged = SIGNIFICANT if found.excludes_zero else CHANCE
    return replace(
        cell,
        difference=found.mean,
        difference_low=found.low,
        difference_high=found.high,
        verdict=judged if found.is_known else NOT_JUDGED,
    )


def is_declared_table(path: Path) -> bool:
    """True for the CSV of a declared table, False for any other file and for none."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith("row,origin,column,")


def read_declared_cells(path: Path) -> list[Cell]:
    """The cells of a declared table from its CSV.

    Raises:
        InputError: it was made by an earlier version, or is damaged.
    """
    types = {it.name: str(it.type) for it in fields(Cell)}
    texts = [name for name, its in types.items() if its == "str"]
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={name: [""] for name in types if name not in texts},
        )
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is damaged ({error}); delete it and run again") from error
    lacking = [name for name in types if name not in table]
    if lacking:
        raise InputError(f"{path}: lacks the columns {', '.join(lacking)}; delete it and run again")
    rows = zip(*(table[name].tolist() for name in types), strict=True)
    return [Cell(*row) for row in rows]


def by_row(cells: Sequence[Cell]) -> Mapping[tuple[str, str], list[Cell]]:
    """Cells of each row, by its name and origin."""
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.row, cell.origin), []).append(cell)
    return rows
