"""Step: a table that is declared in YAML, measured rows beside published ones, as CSV, Markdown and LaTeX.

A published number is never written like a measured one: its row says so, and its cells are in italics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from artifacts.step import run_step
from artifacts.store import read_provenance
from artifacts.text_files import write_whole
from evaluation.aggregate import read_score_table, rows_where
from evaluation.declared_cells import (
    CHANCE,
    NOT_JUDGED,
    PUBLISHED,
    Cell,
    by_row,
    cells_of,
    subjects_of,
)
from evaluation.metric_names import metric_info
from evaluation.table_spec import PROTOCOL, Column, TableSpec, read_table_spec
from evaluation.tables import format_value

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
_LATEX |= {"†": r"\dag{}", "‡": r"\ddag{}", "–": "--"}
# What stands behind a number whose difference from the baseline may be chance.
MARKS = {CHANCE: " †", NOT_JUDGED: " ‡"}
_JUDGED = "paired over the frames of one subject, over several subjects, 95 %"
_AGGREGATE = {
    "median": "the median over subjects",
    "std": "the standard deviation over subjects",
    "min": "the smallest of the subjects",
    "max": "the largest of the subjects",
    "frames": "every frame of all subjects counts once",
}
# Numbers of frames, as the table of scores calls them.
_FRAMES = {"n_train_frames": "frames trained on", "n_test_frames": "frames tested"}


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


def trained_how(results: Path, subject: str, model: str) -> dict[str, Any]:
    """The options of an avatar's training that change its numbers; none where there is no avatar."""
    avatar = results / subject / model / "avatar.h5"
    if not avatar.is_file():
        return {}
    made = read_provenance(avatar)
    # The split stands beside the options with its version.
    options = made.get("options", {}) | {key: made[key] for key in ("split",) if key in made}
    return {key: options[key] for key in PROTOCOL if options.get(key) not in (None, [])}


def frame_counts(scores: pd.DataFrame, subject: str, model: str) -> dict[str, str]:
    """How many frames an avatar was trained and tested on, in words; empty where the table does not have it."""
    own = rows_where(rows_where(scores, "subject", subject), "model", model)
    return {
        words: f"{row.iloc[0]['value']:.0f}"
        for metric, words in _FRAMES.items()
        if not (row := rows_where(own, "metric", metric)).empty
    }


def footnotes(spec: TableSpec, cells: list[Cell], results: Path, scores: pd.DataFrame) -> list[str]:
    """What a reader must know: how the measured rows were made, what differs from the paper, what may be chance, what is missing."""
    lines = list(spec.notes)
    if spec.source:
        lines.append(
            f"Rows marked {PUBLISHED} are quoted from {spec.source}, and were not measured here."
        )
    subjects = dict.fromkeys(n for column in spec.columns for n in subjects_of(column, scores)[0])
    for row in spec.rows:
        ways: dict[str, list[str]] = {}
        for subject in subjects:
            made = trained_how(results, subject, row.model)
            if made:
                made |= frame_counts(scores, subject, row.model)
                ways.setdefault(_way(made, spec.protocol), []).append(subject)
        lines += [f"{row.name} ({', '.join(names)}): {way}." for way, names in ways.items()]
    lines += [
        f"{column.name}: {_AGGREGATE[column.aggregate]}."
        for column in spec.columns
        if column.aggregate != "mean"
    ]
    verdicts = {cell.verdict for cell in cells}
    if CHANCE in verdicts:
        lines.append(f"†: the difference from {spec.baseline} is not significant ({_JUDGED}).")
    if NOT_JUDGED in verdicts:
        lines.append(
            f"‡: too few frames or subjects tell whether the difference from {spec.baseline} is more than chance ({_JUDGED})."
        )
    noted: dict[tuple[str, str, str], list[str]] = {}
    for cell in cells:
        if cell.note:
            kind = "Missing" if np.isnan(cell.value) else "Measured"
            noted.setdefault((kind, cell.row, cell.note), []).append(cell.column)
    lines += [
        f"{kind} ({row} / {', '.join(columns)}): {note}."
        for (kind, row, note), columns in noted.items()
    ]
    return lines


def _way(made: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    words = []
    for key, value in made.items():
        other = published.get(key)
        same = other in (None, value) or (key == "split" and other == value.partition("@")[0])
        instead = "" if same else f", published {other}"
        words.append(f"{key} {value}{instead}")
    return "; ".join(words)


def _heading(column: Column) -> str:
    if not column.metric:
        return column.name
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[metric_info(column.metric).better]
    return column.name + arrow


def _text(cell: Cell) -> str:
    """A published number as it was written, a measured one with its interval, marked where it may not differ from the baseline."""
    text = cell.written or format_value(cell.value, cell.ci_low, cell.ci_high)
    return text + MARKS.get(cell.verdict, "")


def markdown_table(spec: TableSpec, cells: list[Cell], notes: list[str]) -> str:
    """The readable page."""
    lines = []
    for (name, origin), of_row in by_row(cells).items():
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
    for (name, origin), of_row in by_row(cells).items():
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
            number, _, interval = latex(text).partition(" ")
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
    names = [it.name for it in fields(Cell)]
    table = pd.DataFrame([list(vars(cell).values()) for cell in cells], columns=pd.Index(names))
    write_whole(options.csv, table.to_csv(index=False))
    write_whole(options.markdown, markdown_table(spec, cells, notes))
    write_whole(options.latex, latex_table(spec, cells, notes))


if __name__ == "__main__":
    run_step(Options, main)
