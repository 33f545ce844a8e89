"""Plots of the report as inline SVG that follows the page's light or dark colours."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artifacts.stretches import runs

# Replaced by the page's text colour in the finished SVG.
INK = "#010203"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "likeness",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
}
# Okabe and Ito's colours: told apart by most eyes, on white and on black.
COLOURS = ("#0b84d8", "#e6820e", "#12a37c", "#d1609f", "#8a63d2", "#7f8792", "#4aa8b0", "#d64545")


@dataclass(frozen=True)
class Curve:
    """One line of a plot."""

    label: str
    x: Int[np.ndarray, " point"] | Float[np.ndarray, " point"]
    y: Float[np.ndarray, " point"]


def to_svg(figure: Figure, title: str) -> str:
    """A finished drawing as an SVG element that takes the page's colours."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    # Only the drawing goes into the page: no XML declaration, no document type, no metadata.
    text = text[text.index("<svg") :]
    start, end = text.find("<metadata>"), text.find("</metadata>")
    if start >= 0:
        text = text[:start] + text[end + len("</metadata>") :]
    text = text.replace(INK, "currentColor").replace(
        "<svg ", f'<svg role="img" aria-label="{title}" ', 1
    )
    return text.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace(
        "xlink:href", "href"
    )


def _axes(width_in: float = 6.4, height_in: float = 2.5) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True, linewidth=0.6)
    return figure, axes


def plot_curves(
    curves: list[Curve],
    x_label: str,
    y_label: str,
    logarithmic: bool = False,
    shaded_from: int | None = None,
    missing: Bool[np.ndarray, " frame"] | None = None,
) -> str:
    """Lines over frames or steps, as an SVG element.

    Args:
        curves: What to draw; gaps in x break the line.
        x_label: Title of the x axis.
        y_label: Title of the y axis.
        logarithmic: Logarithmic y axis.
        shaded_from: Where given, x values from here on are shaded (the held-out frames).
        missing: Where given, True for the frames to mark as those that have no value.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _axes()
        for number, curve in enumerate(curves):
            x, y = _break_gaps(curve.x, curve.y)
            axes.plot(x, y, color=COLOURS[number % len(COLOURS)], label=curve.label)
        if shaded_from is not None:
            right = max(float(curve.x.max()) for curve in curves)
            axes.axvspan(shaded_from, right, color=INK, alpha=0.08, linewidth=0)
        for start, stop in runs(missing) if missing is not None else []:
            axes.axvspan(start - 0.5, stop - 0.5, color=COLOURS[7], alpha=0.3, linewidth=0)
        if logarithmic:
            axes.set_yscale("log")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.margins(x=0.01)
        if len(curves) > 1 or curves[0].label:
            figure.legend(loc="outside upper left", ncols=4, fontsize=9)
        return to_svg(figure, f"{y_label} over {x_label}")


def _break_gaps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Insert NaN where frames are missing, so that no line bridges them."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    step = np.diff(x)
    if len(step) == 0:
        return x, y
    gaps = np.flatnonzero(step > 1.5 * np.median(step)) + 1
    return np.insert(x, gaps, np.nan), np.insert(y, gaps, np.nan)


def plot_losses(losses: Mapping[str, list[Curve]]) -> str:
    """Loss curves of several models, one panel each, logarithmic, as an SVG element.

    Args:
        losses: Model to its curves, one for each loss term.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.3 * len(losses)), layout="constrained")
        panels = figure.subplots(len(losses), 1, squeeze=False)[:, 0]
        for axes, (model, curves) in zip(panels, losses.items(), strict=True):
            axes.grid(visible=True, linewidth=0.6)
            for number, curve in enumerate(curves):
                positive = curve.y > 0
                axes.plot(
                    curve.x[positive],
                    curve.y[positive],
                    color=COLOURS[number % len(COLOURS)],
                    label=curve.label,
                )
            if any((curve.y > 0).any() for curve in curves):
                axes.set_yscale("log")
            axes.set_title(model, loc="left", fontsize=10)
            axes.set_ylabel("loss")
            axes.legend(fontsize=8, ncols=2)
        panels[-1].set_xlabel("step")
        return to_svg(figure, "training losses")
