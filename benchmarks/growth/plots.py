"""Plots of the growth, logarithmic both ways: a straight line of slope one is cost in proportion."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter, ScalarFormatter

from artifacts.text_files import write_whole
from benchmarks.growth.fits import clip_steps, measured, usual_frames, usual_side
from benchmarks.growth.measuring import RENDERING, TRAIN
from evaluation.report_plots import COLOURS, STYLE

MARKERS = "os^Dv"


@dataclass(frozen=True)
class Panel:
    """One plot: a curve for each name over ``x``."""

    rows: pd.DataFrame
    name: str
    x: str
    y: str
    x_label: str
    y_label: str


def draw_plots(table: pd.DataFrame, folder: Path) -> None:
    """Write each plot that has points."""
    steps, models = clip_steps(table), measured(table, "model")
    pictures: dict[str, list[Panel]] = {}
    if not steps.empty:
        by_frames = steps[steps["side"] == usual_side(steps)]
        by_side = steps[steps["frames"] == usual_frames(steps)]
        seconds, memory = ("cpu_s", "processor time (s)"), ("peak_mb", "peak memory (MB)")
        for name, rows, x, label in (
            (
                "steps_frames",
                by_frames,
                "frames",
                f"frames of the clip ({usual_side(steps)} pixels)",
            ),
            (
                "steps_sides",
                by_side,
                "side",
                f"side of the pictures (pixel; {usual_frames(steps)} frames)",
            ),
        ):
            if rows[x].nunique() > 1:
                pictures[name] = [
                    Panel(rows, "name", x, y, label, y_label) for y, y_label in (seconds, memory)
                ]
    trained, rendered = (models[models["name"] == rule] for rule in (TRAIN, RENDERING))
    fewest = {"frames": trained["frames"].min()}
    trained, rendered = (rows[rows["frames"] == fewest["frames"]] for rows in (trained, rendered))
    if trained["side"].nunique() > 1:
        label = "side of the pictures (pixel)"
        pictures["models_sides"] = [
            Panel(trained, "model", "side", "s_per_iteration", label, "training (s/iteration)"),
            Panel(rendered, "model", "side", "s_per_frame", label, "rendering (s/frame)"),
        ]
    runs = measured(table, "workflow")
    if len(runs) > 1:
        runs = runs.assign(
            workers=runs["cores"].astype(str) + " workers", per=runs["seconds"] / runs["subjects"]
        )
        pictures["workflow"] = [
            Panel(runs, "workers", "subjects", "seconds", "toy subjects", "whole workflow (s)"),
            Panel(runs, "workers", "subjects", "per", "toy subjects", "s/subject"),
        ]
    for name, panels in pictures.items():
        write_whole(folder / f"{name}.png", draw(panels))


def draw(panels: Sequence[Panel]) -> bytes:
    """Panels side by side with one legend beside them, as PNG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 4.2), layout="constrained", dpi=130)
        styles = styles_of(panels)
        handles: dict[str, object] = {}
        for axes, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
            axes.set(xscale="log", yscale="log", xlabel=panel.x_label, ylabel=panel.y_label)
            axes.grid(visible=True, which="major", linewidth=0.6)
            for name, rows in panel.rows.sort_values(panel.x).groupby(panel.name):
                (handles[str(name)],) = axes.plot(
                    rows[panel.x], rows[panel.y], markersize=4, **styles[str(name)]
                )
            ticks = sorted(set(panel.rows[panel.x]))
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.6)))
        figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def styles_of(panels: Sequence[Panel]) -> Mapping[str, dict[str, str]]:
    """Colour and marker of each name, the same in all panels."""
    names = sorted({str(name) for panel in panels for name in panel.rows[panel.name]})
    return {
        name: {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i // len(COLOURS) % len(MARKERS)],
        }
        for i, name in enumerate(names)
    }
