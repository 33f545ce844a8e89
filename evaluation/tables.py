"""Step: gather all scores in one long CSV and in readable Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pandas as pd

from artifacts.errors import InputError
from artifacts.splits import versioned_split
from artifacts.step import run_step
from artifacts.text_files import write_whole
from evaluation.aggregate import (
    SEVERAL,
    ScoredRender,
    cross_path,
    long_table,
    names_in,
    on_common_frames,
    read_cross_scores,
    read_scores,
    rows_where,
    scores_path,
)
from evaluation.comparison import differences, mark_leaders, mean_differences, names_of_leaders
from evaluation.metric_names import metric_info, sort_key
from evaluation.metrics.uncertainty import Interval
from evaluation.missing import are_outdated, why_missing

ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}
# Metrics whose gain over the first model is shown.
COMPARED = (
    *(
        "psnr_person",
        "ssim_person",
        "lpips_alex_person",
        "lpips_vgg_person",
        "lpips_squeeze_person",
    ),
    *("psnr_head", "psnr_full", "psnr_mesh", "lmd_px", "lmd_mouth_px"),
    *("csim_source", "csim_target", "aed_l1_mean", "apd_geodesic_rad"),
)


GAINS = (
    "Paired frame by frame, 95 % block bootstrap over frames; the mean over subjects, shown for three and more, is "
    "bootstrapped over subjects. **n.s.**: not significant, the interval holds 0. **not judged**: too few frames, or too much alike, "
    "to say."
)


@dataclass(frozen=True)
class Options:
    """Options of ``python -m evaluation.tables``."""

    scores: str
    """Path of the ``scores`` artifacts; {subject} and {model} in it stand for each name."""
    subjects: tuple[str, ...]
    """Subjects."""
    models: tuple[str, ...]
    """Models; the first is the one that the others' gains are measured against."""
    splits: tuple[str, ...]
    """Name of the split that the scores of each subject belong to, or one for all."""
    csv: Path
    """Long table to write, one row per subject, model and metric."""
    markdown: Path
    """Readable tables to write."""
    drivers: tuple[str, ...] = ()
    """People whose motion drives the others: their renders are scored in cross/<driver>/scores.h5 beside each ``scores``."""
    head_models: tuple[str, ...] = ()
    """Head model of each driver: people drive only people of the same one. None where all have one."""
    seed: int = 0
    """Seed of the bootstrap."""
    results: Path | None = None
    """The folder results of a run that has failed: scores that are not there are left out, with the reason. Without it they are
    refused."""


def format_value(value: float, low: float, high: float, sign: Literal["", "+"] = "") -> str:
    """A number to about four digits, with its interval where it has one; an em dash where there is none; "+" as ``sign`` shows all signs."""
    if np.isnan(value):
        return "—"
    digits = f"{sign}.{significant_decimals(value)}f"
    text = format(value, digits)
    return text if np.isnan(low) else f"{text} [{low:{digits}}, {high:{digits}}]"


def format_gain(value: float, low: float, high: float) -> str:
    """A difference with its interval; "n.s." where the interval holds 0, so that it may be chance, "not judged" where there is none."""
    interval = Interval(value, low, high)
    verdict = " n.s." if interval.is_known else " not judged"
    return format_value(value, low, high, "+") + ("" if interval.excludes_zero else verdict)


def significant_decimals(value: float) -> int:
    """Decimals that show four significant digits, at most 5."""
    size = abs(value)
    if size < 1e-12:
        return 2
    return int(np.clip(3 - np.floor(np.log10(size)), 0, 5))


def wide_table(rows: pd.DataFrame) -> str:
    """Markdown table of one subject: metrics down, models across, those that may be the best in bold."""
    models = names_in(rows, "model")
    lines = []
    for metric in sorted(names_in(rows, "metric"), key=sort_key):
        info = metric_info(metric)
        of_metric = rows_where(rows, "metric", metric)
        best = names_of_leaders(of_metric)
        cells: dict[str, object] = {"metric": f"`{metric}`{ARROWS[info.better]}", "unit": info.unit}
        for model in models:
            found = rows_where(of_metric, "model", model)
            text = (
                "—" if found.empty else format_value(*found.iloc[0][["value", "ci_low", "ci_high"]])
            )
            cells[model] = f"**{text}**" if model in best else text
        lines.append(cells)
    # An interval is "text" to tabulate; without this it would read numbers out of the cells.
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def gain_table(renders: Sequence[ScoredRender], baseline: str, seed: int) -> str:
    """Markdown table of each model's paired difference from ``baseline``; empty where there is none."""
    parts = [differences(renders, baseline, metric, seed) for metric in COMPARED]
    parts = [part for part in parts if not part.empty]
    if not parts:
        return ""
    gains = pd.concat(parts, ignore_index=True)
    gains = pd.concat([gains, mean_differences(gains, seed)], ignore_index=True)
    gains["gain"] = [
        format_gain(*values)
        for values in gains[["value", "ci_low", "ci_high"]].itertuples(index=False)
    ]
    gains["metric"] = [f"{name} ({metric_info(name).unit})" for name in gains["metric"]]
    metrics = list(dict.fromkeys(gains["metric"]))
    wide = gains.pivot(index=["subject", "model"], columns="metric", values="gain")
    return wide[metrics].fillna("—").reset_index().to_markdown(index=False, disable_numparse=True)


def markdown_page(
    table: pd.DataFrame,
    renders: Sequence[ScoredRender],
    baseline: str,
    seed: int,
    absent: Mapping[tuple[str, str], str],
) -> str:
    """The whole Markdown page: what was not made, a table per subject, gains, what is missing and why, definitions."""
    parts = ["# Scores", *_not_made(absent, len(renders))]
    table = rows_scored(table, absent)
    splits = " and ".join(f"`{name}`" for name in names_in(table, "split") if name != SEVERAL)
    parts += [
        f"Held-out frames of split {splits}. Mean over frames with its 95 % interval "
        "from a block bootstrap over frames (over subjects in the last table), without one where the frames are too few or too "
        "much alike to tell. ↑ more is better, "
        "↓ less is better. Bold: the best, and those whose paired difference from it is not significant; none where too few "
        "frames or subjects tell.",
    ]
    for subject in names_in(table, "subject"):
        rows = rows_where(table, "subject", subject)
        # Which split is whose is said where there are several.
        own = f" (split {names_in(rows, 'split')[0]})" if len(names_in(table, "split")) > 1 else ""
        parts += [f"## {subject}{own}", wide_table(rows)]
    gains = gain_table(renders, baseline, seed)
    if gains:
        parts += [f"## Difference from {baseline}", GAINS, gains]
    missing = notes_list(table)
    if missing:
        parts += ["## What is missing", missing]
    names = sorted(names_in(table, "metric"), key=sort_key)
    parts += ["## Definitions", "\n".join(f"- `{n}`: {metric_info(n).definition}." for n in names)]
    return "\n\n".join(parts) + "\n"


def rows_scored(table: pd.DataFrame, absent: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """Rows but those of subjects and models that have no scores at all."""
    pairs = zip(table["subject"], table["model"], strict=True)
    return cast(pd.DataFrame, table[[pair not in absent for pair in pairs]])


def _not_made(absent: Mapping[tuple[str, str], str], n_scored: int) -> list[str]:
    if not absent:
        return []
    # One sentence for all models of a clip that could not be read.
    reasons: dict[str, list[str]] = {}
    for (subject, model), reason in absent.items():
        reasons.setdefault(reason, []).append(f"{subject} / {model}")
    lines = [f"- {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    n_all = n_scored + len(absent)
    return [
        f"**This table is not whole**: {len(absent)} of its {n_all} scores are missing.",
        "\n".join(lines),
    ]


def notes_list(table: pd.DataFrame) -> str:
    """Markdown list of the notes, equal ones gathered; empty where there are none."""
    lines = []
    for note in names_in(table, "note"):
        if not note:
            continue
        rows = rows_where(table, "note", note)
        metrics = ", ".join(f"`{name}`" for name in names_in(rows, "metric"))
        pairs = zip(rows["subject"], rows["model"], strict=True)
        where = ", ".join(dict.fromkeys(f"{subject} / {model}" for subject, model in pairs))
        lines.append(f"- {metrics} ({where}): {note.removeprefix('missing: ')}.")
    return "\n".join(lines)


def main(options: Options) -> None:
    """Write both tables.

    Raises:
        InputError: a score file cannot be read; without ``results`` also where it is not there, with it where none is.
    """
    absent = {} if options.results is None else why_absent(options, options.results)
    pairs = [(s, m) for s in options.subjects for m in options.models if (s, m) not in absent]
    if not pairs:
        raise InputError("there are no scores yet, so there is no table to make of them")
    renders = read_scores(options.scores, pairs)
    crossed = read_cross_scores(options.scores, pairs, options.drivers)
    lost = {} if options.results is None else why_drivers_absent(options, options.results, pairs)
    crossed = [it for it in crossed if it.driver not in lost.get((it.subject, it.model), {})]
    renders, crossed = on_common_frames(renders), on_common_frames(crossed)
    table = long_table(renders, splits_of(options), options.seed, absent, crossed, lost)
    table["may_be_best"] = mark_leaders(table, renders, crossed, options.seed)
    write_whole(options.csv, table.to_csv(index=False))
    page = markdown_page(table, renders, options.models[0], options.seed, absent)
    write_whole(options.markdown, page)


def splits_of(options: Options) -> dict[str, str]:
    """Split of each subject, with its version.

    Raises:
        InputError: there are neither as many splits as subjects nor one for all.
    """
    given = options.splits * len(options.subjects) if len(options.splits) == 1 else options.splits
    if len(given) != len(options.subjects):
        raise InputError(
            f"{len(given)} splits are named for {len(options.subjects)} subjects; name one for each, or one for all"
        )
    return dict(zip(options.subjects, map(versioned_split, given), strict=True))


def why_absent(options: Options, results: Path) -> dict[tuple[str, str], str]:
    """Why there are no scores of this run, of each subject and model without."""
    return {
        (subject, model): why_missing(results, subject, model)
        for subject in options.subjects
        for model in options.models
        if not scores_path(options.scores, subject, model).exists()
        or are_outdated(results, subject, model)
    }


def why_drivers_absent(
    options: Options, results: Path, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, str]]:
    """Of subjects and models, the drivers of whose render there are no scores of this run, and why."""
    head_model = dict(zip(options.drivers, options.head_models, strict=bool(options.head_models)))
    lost: dict[tuple[str, str], dict[str, str]] = {}
    for subject, model in pairs:
        for driver in options.drivers:
            # Not everybody drives every model: of those who only drive, only what was begun is missed.
            begun = (results / "logs" / subject / model / f"render_cross_{driver}.log").exists()
            alike = head_model.get(driver) == head_model.get(subject)
            if driver == subject or not alike or not (driver in options.subjects or begun):
                continue
            there = cross_path(scores_path(options.scores, subject, model), driver).exists()
            if not there or are_outdated(results, subject, model, driver):
                why = why_missing(results, subject, model, driver)
                lost.setdefault((subject, model), {})[driver] = why
    return lost


if __name__ == "__main__":
    run_step(Options, main)
