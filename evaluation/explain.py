"""What stands behind a number of a table: its definition, and every file, setting and piece of code that it was made with.

python -m evaluation.explain results/tables/scores.csv --cell obama/monoavatar_d/psnr_person
python -m evaluation.explain results/tables/my_table.csv --cell "displacements/PSNR"
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro

from artifacts.errors import InputError
from artifacts.step import run_step
from evaluation.aggregate import (
    MEAN_SUBJECT,
    ScoredRender,
    cross_path,
    names_in,
    on_common_frames,
    read_score_table,
    read_scores,
    rows_where,
    value_of,
)
from evaluation.declared_cells import (
    PUBLISHED,
    Cell,
    drivers_of,
    is_declared_table,
    read_declared_cells,
)
from evaluation.metric_names import CROSS, metric_info
from evaluation.pooled import is_pooled, pooled_fid
from evaluation.trace import files_behind

# A mean of the file and of the table differ by no more than the table's rounding to text.
_SAME = 1e-9


@dataclass(frozen=True)
class Options:
    """Say what stands behind a number of a table."""

    table: Annotated[Path, tyro.conf.Positional]
    """Table of evaluation.tables (scores.csv or partial.csv), or a declared one."""
    cell: str
    """Which number: SUBJECT/MODEL/METRIC, as the columns of scores.csv have them; "(mean over subjects)" is a subject too. Of a declared
    table ROW/COLUMN."""
    results: Path | None = None
    """Folder of the results; by default the one that the table's folder lies in."""


def cell_of(table: pd.DataFrame, cell: str) -> dict[str, Any]:
    """The row of a long table that a cell names.

    Raises:
        InputError: the cell is no SUBJECT/MODEL/METRIC, or the table has no such row.
    """
    parts = cell.split("/")
    if len(parts) != 3:
        raise InputError(f"{cell!r} names no cell; write SUBJECT/MODEL/METRIC")
    rows = table
    for column, name in zip(("subject", "model", "metric"), parts, strict=True):
        names = names_in(rows, column)
        if name not in names:
            raise InputError(
                f"the table has no {column} {name!r} in {cell!r}; there are {', '.join(names)}"
            )
        rows = rows_where(rows, column, name)
    return {str(key): value for key, value in rows.iloc[0].items()}


def explain(table: pd.DataFrame, cell: str, results: Path) -> Iterator[str]:
    """Lines that say what stands behind a cell of the table of scores.

    Raises:
        InputError: no such cell, or its scores are not there.
    """
    row = cell_of(table, cell)
    yield from _meaning(row)
    whose = names_in(table, "subject") if row["subject"] == MEAN_SUBJECT else [row["subject"]]
    for subject in whose:
        if subject != MEAN_SUBJECT:
            own = cell_of(table, f"{subject}/{row['model']}/{row['metric']}")
            yield from _origin(table, own, results)


def _meaning(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"{row['subject']} / {row['model']} / {row['metric']}: {_number(row)}"
    yield _definition(row["metric"])
    is_mean = row["subject"] == MEAN_SUBJECT
    drawn = (
        ""
        if np.isnan(row["ci_low"])
        else f"; brackets: 95 %, {'subjects' if is_mean else 'blocks of frames'} drawn anew"
    )
    of = "subjects" if is_mean else "driver(s)" if row["drivers"] else "frames or values"
    yield f"  over {row['n']} {of}, split {row['split']}{drawn}"
    if row["note"]:
        yield f"  note: {row['note']}"


def _number(row: Mapping[str, Any]) -> str:
    value, low, high = (float(row[key]) for key in ("value", "ci_low", "ci_high"))
    interval = "" if np.isnan(low) else f" [{low:.6g}, {high:.6g}]"
    return f"{value:.6g} {metric_info(row['metric']).unit}{interval}"


def _definition(metric: str) -> str:
    info = metric_info(metric)
    return f"  {info.definition} ({info.better} is better)"


def _renders(
    table: pd.DataFrame, row: Mapping[str, Any], results: Path
) -> dict[Path, ScoredRender | None]:
    """The score files behind a row of the long table, and what they say of the frames that the table counts; None where one is gone."""
    subject, model = row["subject"], row["model"]
    beside = names_in(rows_where(table, "subject", subject), "model")
    found: dict[Path, ScoredRender | None] = {}
    for driver in str(row["drivers"]).split() or [""]:
        pattern = str(results / "{subject}/{model}/scores.h5")
        if driver:
            pattern = str(cross_path(Path(pattern), driver))
        path = Path(pattern.replace("{subject}", subject).replace("{model}", model))
        # The table's means are over the frames in which all its models have a value.
        there = [
            (subject, name)
            for name in beside
            if Path(pattern.replace("{subject}", subject).replace("{model}", name)).is_file()
        ]
        renders = on_common_frames(read_scores(pattern, there))
        found[path] = next((render for render in renders if render.model == model), None)
    return found


def _origin(table: pd.DataFrame, row: Mapping[str, Any], results: Path) -> Iterator[str]:
    yield ""
    if row["metric"].startswith(CROSS) and not row["drivers"]:
        yield f"{row['subject']}: no render that another person drives has a value"
        return
    renders = _renders(table, row, results)
    for path, render in renders.items():
        if render is None:
            yield f"{path}: not there, so nothing stands behind this number any more"
            return
    values = {path: value_of(it, row["metric"]) for path, it in renders.items() if it is not None}
    who = str(next(iter(values)))
    if len(values) > 1:
        yield from (f"{path}: {value:.6g}" for path, value in values.items())
        who = "their mean"
    value = float(np.mean(list(values.values())))
    yield f"{who} says {value:.6g}, {_as_the_table(value, row['value'])}"
    drivers = str(row["drivers"]).split() or [""]
    for path, driver in zip(renders, drivers, strict=True):
        yield from files_behind(path, results, row["subject"], row["model"], driver)


def _as_the_table(value: float, written: float) -> str:
    same = np.isclose(value, written, rtol=_SAME, atol=_SAME, equal_nan=True)
    return "as the table does" if same else f"but the table {written:.6g}: make the table again"


def explain_declared(
    cells: list[Cell], name: str, scores: pd.DataFrame, results: Path
) -> Iterator[str]:
    """Lines that say what stands behind a cell of a declared table.

    Args:
        cells: Of the table.
        name: ROW/COLUMN.
        scores: The table of scores that it was made from.
        results: Folder of the results.

    Raises:
        InputError: no such cell, or the table of scores has no rows for it.
    """
    found = [cell for cell in cells if f"{cell.row}/{cell.column}" == name]
    if not found:
        rows = ", ".join(dict.fromkeys(cell.row for cell in cells))
        columns = ", ".join(dict.fromkeys(cell.column for cell in cells))
        raise InputError(
            f"{name!r} names no cell; write ROW/COLUMN of the rows {rows} and the columns {columns}"
        )
    cell = found[0]
    yield f"{cell.row} / {cell.column}, {cell.origin}"
    if cell.origin == PUBLISHED:
        yield f"  {cell.written or 'no number is published'}, quoted from {cell.source}; it was not measured here"
        return
    if cell.metric:
        row = {**vars(cell), "subject": cell.subjects}
        yield f"  {cell.metric} of {cell.model}: {_number(row)}"
        yield _definition(cell.metric)
    if len(cell.subjects.split()) > 1 and not is_pooled(cell.metric):
        yield f"  {cell.aggregate} of the subjects {', '.join(cell.subjects.split())}, split {cell.split}"
    if cell.verdict:
        limits = f" [{cell.difference_low:+.6g}, {cell.difference_high:+.6g}]"
        known = "" if np.isnan(cell.difference_low) else limits
        yield f"  {cell.difference:+.6g} from the baseline{known}: {cell.verdict}"
    if cell.note:
        yield f"  note: {cell.note}"
    if np.isnan(cell.value):
        return
    if is_pooled(cell.metric):
        yield from _origin_of_pooled(cell, scores, results)
        return
    for subject in cell.subjects.split():
        own = cell_of(scores, f"{subject}/{cell.model}/{cell.metric}")
        yield from _origin(scores, own, results)


def _origin_of_pooled(cell: Cell, scores: pd.DataFrame, results: Path) -> Iterator[str]:
    fid = pooled_fid(results, drivers_of(cell, scores), cell.model, cell.metric)
    yield ""
    yield f"the files below say {fid.value:.6g}, {_as_the_table(fid.value, cell.value)}"
    for path in fid.files:
        subject = path.relative_to(results).parts[0]
        driver = path.parent.name if path.parent.parent.name == "cross" else ""
        yield from files_behind(path, results, subject, cell.model, driver)


def main(options: Options) -> None:
    """Print what stands behind the cell.

    Raises:
        InputError: no such table or cell.
    """
    results = options.results or options.table.resolve().parent.parent
    if is_declared_table(options.table):
        cells = read_declared_cells(options.table)
        scores = read_score_table(results / "tables/scores.csv")
        lines = explain_declared(cells, options.cell, scores, results)
    else:
        lines = explain(read_score_table(options.table), options.cell, results)
    for line in lines:
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    run_step(Options, main)
