"""Plots of the growth, logarithmic both ways: a straight line of slope one is cost in proportion."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from artifacts.text_files import write_whole
from benchmarks.growth.fits import clip_steps, measured, usual_frames, usual_side
from benchmarks.growth.measuring import RENDERING, TRAIN
from evaluation.report_plots import COLOURS, STYLE

# A second round of the colours is told apart by these.
_ROUNDS = (("o", "-"), ("s", "--"), ("^", ":"))


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
    """Write each plot that has points to compare."""
    panels = {
        "steps_frames": frames_panels(table),
        "steps_sides": sides_panels(table),
        "models_sides": model_panels(table),
        "workflow": workflow_panels(table),
    }
    for name, of_plot in panels.items():
        if of_plot and of_plot[0].rows[of_plot[0].x].nunique() > 1:
            write_whole(folder / f"{name}.png", draw(of_plot))


def frames_panels(table: pd.DataFrame) -> list[Panel]:
    """Steps over the length of the clip."""
    steps = clip_steps(table)
    if steps.empty:
        return []
    side = usual_side(steps)
    return step_panels(
        steps[steps["side"] == side], "frames", f"frames of the clip ({side} pixels)"
    )


def sides_panels(table: pd.DataFrame) -> list[Panel]:
    """Steps over the side of the pictures."""
    steps = clip_steps(table)
    if steps.empty:
        return []
    frames = usual_frames(steps)
    label = f"side of the pictures (pixel; {frames} frames)"
    return step_panels(steps[steps["frames"] == frames], "side", label)


def step_panels(rows: pd.DataFrame, x: str, label: str) -> list[Panel]:
    """Processor time, which other work on the machine changes least, and memory, of steps with more than one point."""
    rows = rows[rows.groupby("name")[x].transform("nunique") > 1]
    return [
        Panel(rows, "name", x, "cpu_s", label, "processor time (s)"),
        Panel(rows, "name", x, "peak_mb", label, "peak memory (MB)"),
    ]


def model_panels(table: pd.DataFrame) -> list[Panel]:
    """Training and rendering over the side of the pictures, on the shortest clip."""
    models = measured(table, "model")
    models = models[models["frames"] == models["frames"].min()]
    trained, rendered = (models[models["name"] == rule] for rule in (TRAIN, RENDERING))
    label = "side of the pictures (pixel)"
    return [
        Panel(trained, "model", "side", "s_per_iteration", label, "training (s/iteration)"),
        Panel(rendered, "model", "side", "s_per_frame", label, "rendering (s/frame)"),
    ]


def workflow_panels(table: pd.DataFrame) -> list[Panel]:
    """Whole runs over the number of subjects."""
    runs = measured(table, "workflow")
    workers = [f"{n} worker" if n == 1 else f"{n} workers" for n in runs["cores"]]
    runs = runs.assign(workers=workers, each=runs["seconds"] / runs["subjects"])
    return [
        Panel(runs, "workers", "subjects", "seconds", "toy subjects", "whole workflow (s)"),
        Panel(runs, "workers", "subjects", "each", "toy subjects", "whole workflow (s/subject)"),
    ]


def draw(panels: Sequence[Panel]) -> bytes:
    """Panels side by side with one legend beside them, the costliest first, as PNG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 4.2), layout="constrained", dpi=130)
        styles = styles_of(panels)
        handles: dict[str, Artist] = {}
        for axes, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
            axes.set(xscale="log", yscale="log", xlabel=panel.x_label, ylabel=panel.y_label)
            axes.grid(visible=True, which="major", linewidth=0.6)
            for name, rows in panel.rows.sort_values(panel.x).groupby(panel.name):
                style = styles[str(name)]
                (handles[str(name)],) = axes.plot(rows[panel.x], rows[panel.y], **style)
            ticks = sorted(set(panel.rows[panel.x]))
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_minor_formatter(NullFormatter())
        names = [name for name in styles if name in handles]
        shown = [handles[name] for name in names]
        figure.legend(shown, names, loc="outside right upper", fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def styles_of(panels: Sequence[Panel]) -> Mapping[str, dict[str, object]]:
    """Colour, marker and line of each name, the same in all panels; ordered by the largest value in the first."""
    first = panels[0]
    order = first.rows.groupby(first.name)[first.y].max().sort_values(ascending=False)
    styles: dict[str, dict[str, object]] = {}
    for number, name in enumerate(order.index):
        marker, line = _ROUNDS[number // len(COLOURS) % len(_ROUNDS)]
        styles[str(name)] = {
            "color": COLOURS[number % len(COLOURS)],
            "marker": marker,
            "linestyle": line,
            "markersize": 4,
        }
    return styles
