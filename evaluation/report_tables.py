"""The long score table as the report shows it: models down, metrics across, and Markdown tables as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.aggregate import MEAN_SUBJECT, names_in, rows_where
from evaluation.comparison import names_of_leaders
from evaluation.metric_names import metric_info, sort_key
from evaluation.tables import ARROWS, significant_decimals

# What the page shows before anyone asks for more; `*` stands for the number of scales.
HEADLINES = (
    r"psnr_person",
    r"ssim_person",
    r"ms_ssim(_\dscale)?_person",
    r"lpips_alex_person",
    r"psnr_full",
    r"lmd_px",
    r"aed_l1_mean",
    r"apd_rotation_l1_rad",
    r"jitter_error_px",
    r"frames_per_second",
    r"training_time_s",
)


MISSING = "missing"


@dataclass(frozen=True)
class Cell:
    """One value as shown."""

    text: str
    interval: str
    best: bool
    note: str


@dataclass(frozen=True)
class TableRow:
    """One metric of all models."""

    metric: str
    unit: str
    arrow: str
    definition: str
    headline: bool
    cells: tuple[Cell, ...]

    @property
    def why_missing(self) -> str:
        """Why a model has no value; empty where all have one."""
        return next((cell.note for cell in self.cells if cell.text == MISSING), "")


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one subject (or of the mean over subjects)."""

    subject: str
    models: tuple[str, ...]
    rows: tuple[TableRow, ...]


def score_table(table: pd.DataFrame, subject: str, models: tuple[str, ...]) -> ScoreTable:
    """The rows of ``subject`` and ``models`` of the long table."""
    chosen = rows_where(rows_where(table, "subject", subject), "model", *models)
    rows = []
    for metric in sorted(names_in(chosen, "metric"), key=sort_key):
        info = metric_info(metric)
        of_metric = rows_where(chosen, "metric", metric)
        best = names_of_leaders(of_metric)
        rows.append(
            TableRow(
                metric=metric,
                unit="" if info.unit == "1" else info.unit,
                arrow=ARROWS[info.better].strip(),
                definition=info.definition,
                headline=any(re.fullmatch(pattern, metric) for pattern in HEADLINES),
                cells=tuple(_cell(of_metric, model, model in best) for model in models),
            )
        )
    return ScoreTable(subject, models, tuple(rows))


@dataclass(frozen=True)
class OverviewRow:
    """One metric of all subjects."""

    metric: str
    unit: str
    arrow: str
    definition: str
    of_subjects: dict[str, TableRow]


def overview(tables: Mapping[str, ScoreTable]) -> list[OverviewRow]:
    """The metrics that a page shows first, each of all subjects that have it.

    Args:
        tables: Subject to its scores.
    """
    found: dict[str, OverviewRow] = {}
    for subject, table in tables.items():
        for row in table.rows:
            if row.headline:
                empty = OverviewRow(row.metric, row.unit, row.arrow, row.definition, {})
                found.setdefault(row.metric, empty).of_subjects[subject] = row
    return [found[metric] for metric in sorted(found, key=sort_key)]


def _cell(of_metric: pd.DataFrame, model: str, best: bool) -> Cell:
    of_model = rows_where(of_metric, "model", model)
    if of_model.empty:
        return Cell("—", "", best=False, note="not scored")
    row = of_model.iloc[0]
    note = str(row["note"])
    if np.isnan(row["value"]):
        return Cell(MISSING, "", best=False, note=note.removeprefix("missing: "))
    digits = significant_decimals(row["value"])
    interval = ""
    if not np.isnan(row["ci_low"]):
        interval = f"{row['ci_low']:.{digits}f} to {row['ci_high']:.{digits}f}"
    return Cell(f"{row['value']:.{digits}f}", interval, best, note)


def missing_notes(table: pd.DataFrame) -> dict[str, list[str]]:
    """Why values are missing: reason to the metrics it concerns."""
    notes: dict[str, list[str]] = {}
    for value, metric, subject, note in zip(
        table["value"], table["metric"], table["subject"], table["note"], strict=True
    ):
        # Rows that average over subjects only repeat what the subjects' own rows say.
        if not np.isnan(value) or subject == MEAN_SUBJECT:
            continue
        reason = str(note).removeprefix("missing: ")
        metrics = notes.setdefault(reason, [])
        if metric not in metrics:
            metrics.append(metric)
    return notes


def markdown_to_html(text: str) -> str:
    """Headings, tables, lists and paragraphs of a simple Markdown file as escaped HTML; links stay text."""
    parts: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        while lines and lines[0].startswith("#"):
            parts.append(f"<h4>{_inline(lines.pop(0).lstrip('# '))}</h4>")
        if not lines:
            continue
        if lines[0].startswith("|"):
            parts.append(_table(lines))
        elif all(line.startswith(("- ", "* ")) for line in lines):
            items = "".join(f"<li>{_inline(line[2:])}</li>" for line in lines)
            parts.append(f"<ul>{items}</ul>")
        else:
            parts.append(f"<p>{_inline(' '.join(lines))}</p>")
    return "\n".join(parts)


def _inline(text: str) -> str:
    escaped = html.escape(text)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)


def _table(lines: list[str]) -> str:
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line in lines
        if not re.fullmatch(r"[|:\-\s]+", line)
    ]
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:]
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
