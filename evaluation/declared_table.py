"""Step: a table that is declared in YAML, measured rows beside published ones, as CSV, Markdown and LaTeX.

A published number is never written like a measured one: its row says so, and its cells are in italics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from artifacts.errors import InputError
from artifacts.step import run_step
from artifacts.store import read_provenance
from artifacts.text_files import write_whole
from evaluation.aggregate import MEAN_SUBJECT, names_in, read_score_table, rows_where
from evaluation.metric_names import metric_info
from evaluation.metrics.uncertainty import Interval, bootstrap_subjects
from evaluation.pooled import is_pooled, pooled_fid
from evaluation.table_spec import PROTOCOL, Column, ModelRow, TableSpec, read_table_spec
from evaluation.tables import format_value

MEASURED, PUBLISHED = "measured here", "published"
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


@dataclass(frozen=True)
class Options:
    """Options of ``python -m evaluation.declared_table``."""

    spec: Path
    """The declaration (YAML)."""
    scores: Path
    """Long table of evaluation.tables."""
    results: Path
    """Folder of the results, whose avatars say how they were trained."""
    csv: Path
    """Table to write, one row per cell."""
    markdown: Path
    """Readable table to write."""
    latex: Path
    """Table to write for booktabs."""
    seed: int = 0
    """Seed of the bootstrap over subjects."""


@dataclass(frozen=True)
class Cell:
    """A number, or why there is none.

    Attributes:
        origin: :data:`MEASURED` or :data:`PUBLISHED`.
        value: nan where there is none.
        low, high: 95 % interval, nan where there is none.
        note: Why there is no value; "" where there is one, and for a published cell that is empty.
        written: A published number as its declaration has it.
    """

    row: str
    origin: str
    column: str
    value: float
    low: float = np.nan
    high: float = np.nan
    note: str = ""
    written: str = ""


def subjects_of(column: Column, known: Sequence[str]) -> list[str]:
    """Whose values a column holds: those it names, of a name with a star at its end all that begin so; all where it names none."""
    wanted: list[str] = []
    for name in column.subjects:
        alike = [other for other in known if other.startswith(name[:-1])]
        wanted += alike if name.endswith("*") and alike else [name]
    return list(dict.fromkeys(wanted)) or list(known)


def measured_cell(
    row: ModelRow, column: Column, scores: pd.DataFrame, results: Path, seed: int
) -> Cell:
    """A cell of a measured row: one subject's value, or the mean over several."""
    known = [name for name in names_in(scores, "subject") if name != MEAN_SUBJECT]
    wanted = subjects_of(column, known)
    note = _why_not(row, column, scores, [name for name in wanted if name not in known])
    interval = Interval(np.nan, np.nan, np.nan)
    if not note and is_pooled(column.metric):
        try:
            value = pooled_fid(results, wanted, row.model, column.metric)
            interval = Interval(value, np.nan, np.nan)
        except InputError as error:
            note = f"{column.metric}: {error}"
    elif not note:
        interval, note = _mean(row, column, scores, wanted, seed)
    return Cell(row.name, MEASURED, column.name, interval.mean, interval.low, interval.high, note)


def _why_not(row: ModelRow, column: Column, scores: pd.DataFrame, absent: Sequence[str]) -> str:
    """Why a cell cannot be filled whatever the scores hold; empty where it can."""
    if not column.metric:
        return "nothing alike is measured here"
    if row.model not in names_in(scores, "model"):
        return f"no model {row.model} in the scores"
    return f"no subject {', '.join(absent)} in the scores" if absent else ""


def _mean(
    row: ModelRow, column: Column, scores: pd.DataFrame, wanted: Sequence[str], seed: int
) -> tuple[Interval, str]:
    """The value of one subject, or the mean over several, and why there is none."""
    own = rows_where(rows_where(scores, "model", row.model), "metric", column.metric)
    chosen = rows_where(own, "subject", *wanted)
    values = chosen["value"].to_numpy(np.float64)
    if len(values) < len(wanted) or np.isnan(values).any():
        reasons = [note for note in names_in(chosen, "note") if note] or ["it is not measured"]
        note = f"{column.metric}: {reasons[0].removeprefix('missing: ')}"
        return Interval(np.nan, np.nan, np.nan), note
    if len(values) == 1:
        return Interval(*map(float, chosen.iloc[0][["value", "ci_low", "ci_high"]])), ""
    return bootstrap_subjects(values, seed), ""


def cells_of(spec: TableSpec, scores: pd.DataFrame, results: Path, seed: int) -> list[Cell]:
    """All cells, published rows first, as papers have them."""
    cells = [
        Cell(row.name, PUBLISHED, column.name, float(text or "nan"), written=text or "")
        for row in spec.published
        for column, text in zip(spec.columns, row.values, strict=True)
    ]
    return cells + [
        measured_cell(row, column, scores, results, seed)
        for row in spec.rows
        for column in spec.columns
    ]


def trained_how(results: Path, subject: str, model: str) -> dict[str, Any]:
    """The options of an avatar's training that change its numbers; none where there is no avatar."""
    avatar = results / subject / model / "avatar.h5"
    if not avatar.is_file():
        return {}
    options = read_provenance(avatar).get("options", {})
    return {key: options[key] for key in PROTOCOL if options.get(key) not in (None, [])}


def footnotes(spec: TableSpec, cells: list[Cell], results: Path, scores: pd.DataFrame) -> list[str]:
    """What a reader must know: how the measured rows were made, what differs from the paper, what is missing."""
    lines = list(spec.notes)
    if spec.source:
        lines.append(
            f"Rows marked {PUBLISHED} are quoted from {spec.source}, and were not measured here."
        )
    known = [name for name in names_in(scores, "subject") if name != MEAN_SUBJECT]
    subjects = dict.fromkeys(n for column in spec.columns for n in subjects_of(column, known))
    for row in spec.rows:
        ways: dict[str, list[str]] = {}
        for subject in subjects:
            made = trained_how(results, subject, row.model)
            if made:
                ways.setdefault(_way(made, spec.protocol), []).append(subject)
        lines += [f"{row.name} ({', '.join(names)}): {way}." for way, names in ways.items()]
    missing: dict[str, list[str]] = {}
    for cell in cells:
        if cell.note:
            missing.setdefault(cell.note, []).append(f"{cell.row} / {cell.column}")
    lines += [f"Missing ({', '.join(names)}): {note}." for note, names in missing.items()]
    return lines


def _way(made: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    words = []
    for key, value in made.items():
        other = published.get(key)
        instead = f", published {other}" if other is not None and other != value else ""
        words.append(f"{key} {value}{instead}")
    return "; ".join(words)


def _heading(column: Column) -> str:
    if not column.metric:
        return column.name
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[metric_info(column.metric).better]
    return column.name + arrow


def _text(cell: Cell) -> str:
    """A published number as it was written, a measured one with its interval."""
    return cell.written or format_value(cell.value, cell.low, cell.high)


def _rows(cells: list[Cell]) -> dict[tuple[str, str], list[Cell]]:
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.row, cell.origin), []).append(cell)
    return rows


def markdown_table(spec: TableSpec, cells: list[Cell], notes: list[str]) -> str:
    """The readable page."""
    lines = []
    for (name, origin), of_row in _rows(cells).items():
        marks = ("*", "*") if origin == PUBLISHED else ("", "")
        texts = [_text(cell) for cell in of_row]
        texts = [text if text == "—" else text.join(marks) for text in texts]
        lines.append([f"{name.join(marks)} ({origin})", *texts])
    table = pd.DataFrame(lines, columns=pd.Index(["", *map(_heading, spec.columns)]))
    body = table.to_markdown(index=False, disable_numparse=True)
    return "\n\n".join([f"# {spec.title}", body, "\n".join(f"- {note}" for note in notes)]) + "\n"


def latex_table(spec: TableSpec, cells: list[Cell], notes: list[str]) -> str:
    """The table for booktabs; an interval stands below its number in small type."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        f"\\caption{{{latex(spec.title)}}}",
        f"\\begin{{tabular}}{{l{'r' * len(spec.columns)}}}",
        "\\toprule",
        " & ".join(["", *(latex(column.name) for column in spec.columns)]) + r" \\",
        "\\midrule",
    ]
    origin_before = None
    for (name, origin), of_row in _rows(cells).items():
        if origin_before not in (None, origin):
            lines.append("\\midrule")
        origin_before = origin
        style = "\\textit{%s}" if origin == PUBLISHED else "%s"
        texts = [style % f"{latex(name)} ({origin})"]
        for cell in of_row:
            if np.isnan(cell.value):
                texts.append("--")
                continue
            text = _text(cell)
            number, _, interval = text.partition(" ")
            texts.append(style % number + (f" {{\\scriptsize {interval}}}" if interval else ""))
        lines.append(" & ".join(texts) + r" \\")
    lines += ["\\bottomrule", "\\end{tabular}", "\\par\\footnotesize"]
    lines += [f"{latex(note)}\\par" for note in notes]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def latex(text: str) -> str:
    """Text with LaTeX's signs escaped."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def main(options: Options) -> None:
    """Write the table in its three forms.

    Raises:
        InputError: the declaration or the scores cannot be read.
    """
    spec = read_table_spec(options.spec)
    scores = read_score_table(options.scores)
    cells = cells_of(spec, scores, options.results, options.seed)
    notes = footnotes(spec, cells, options.results, scores)
    names = ["row", "origin", "column", "value", "ci_low", "ci_high", "note", "written"]
    table = pd.DataFrame([list(vars(cell).values()) for cell in cells], columns=pd.Index(names))
    write_whole(options.csv, table.to_csv(index=False))
    write_whole(options.markdown, markdown_table(spec, cells, notes))
    write_whole(options.latex, latex_table(spec, cells, notes))


if __name__ == "__main__":
    run_step(Options, main)
