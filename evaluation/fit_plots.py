"""Plots of the fit page: errors and openings over time, and the range of poses and expressions."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from evaluation.fit_review import Measures, Review
from evaluation.report_plots import COLOURS, STYLE, Curve, plot_curves, to_svg

# More coefficients do not fit a page: the most used ones are shown.
MAX_BARS = 60
_TRAIN, _TEST = COLOURS[0], COLOURS[1]


def plot_time(review: Review, measures: Measures) -> dict[str, str]:
    """Errors and openings over the clip, as SVG by title; the held-out part and what was filled in are marked."""
    fit, tracked = review.clip.fit, review.tracked
    frames = np.arange(review.clip.n_frames)

    def plot(curves: list[Curve], label: str) -> str:
        return plot_curves(curves, "frame", label, shaded_from=review.test_start, missing=~tracked)

    def where(name: str, values: np.ndarray, mask: np.ndarray) -> Curve:
        return Curve(name, frames[mask], values[mask].astype(np.float64))

    plots: dict[str, str] = {}
    if tracked.any():
        plots["Landmarks of the fit against the detector"] = plot(
            [where("", fit["nme"], tracked)], "NME (outer-eye distance)"
        )
    if review.has_photometry and tracked.any():
        plots["Pictures explained by the fit"] = plot(
            [where("", fit["photometric_error"], tracked)], "photometric error (0 to 1)"
        )
    if review.has_outline:
        plots["Outline of the head against the matte"] = plot(
            [where("", fit["outline_iou"], fit["outline_iou"] > 0)], "IoU"
        )
    pairs = {
        "Opening of the mouth": (measures.mouth_fitted, measures.mouth_detected),
        "Opening of the eyes": (measures.eye_fitted, measures.eye_detected),
    }
    for title, (fitted, detected) in pairs.items():
        curves = [where("fitted", fitted, np.ones_like(tracked))]
        if review.found.any():
            curves.insert(0, where("detected", detected, review.found))
        plots[title] = plot(curves, "of the outer-eye distance")
    return plots


def plot_poses(review: Review, measures: Measures) -> str:
    """Yaw against pitch, and how often each angle was seen; training and held-out frames apart."""
    tracked = review.tracked
    is_test = np.arange(len(tracked)) >= review.test_start
    groups = (("training", _TRAIN, tracked & ~is_test), ("held out", _TEST, tracked & is_test))
    angles = {"yaw": measures.yaw, "pitch": measures.pitch, "roll": measures.roll}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        panels = figure.subplots(2, 2)
        for axes in panels.flat:
            axes.grid(visible=True, linewidth=0.6)
        for name, colour, mask in groups:
            panels[0, 0].scatter(
                measures.yaw[mask],
                measures.pitch[mask],
                s=5,
                color=colour,
                label=name,
                linewidths=0,
            )
            for axes, values in zip(panels.flat[1:], angles.values(), strict=True):
                low, high = (f(values[tracked], initial=0) for f in (np.min, np.max))
                axes.hist(values[mask], np.linspace(low - 1, high + 1, 25), color=colour, alpha=0.6)
        panels[0, 0].set(xlabel="yaw (°)", ylabel="pitch (°)")
        for axes, name in zip(panels.flat[1:], angles, strict=True):
            axes.set(xlabel=f"{name} (°)", ylabel="frames")
        figure.legend(loc="outside upper left", ncols=2, fontsize=9, markerscale=3)
        return to_svg(figure, "yaw, pitch and roll of the head")


def plot_expressions(review: Review) -> str:
    """Range used of each expression coefficient (1st to 99th percentile) in the range that the head model offers."""
    head, tracked = review.clip.head_model, review.tracked
    is_test = np.arange(len(tracked)) >= review.test_start
    groups = {"training": tracked & ~is_test, "held out": tracked & is_test}
    used = {
        name: np.percentile(review.clip.fit["expression"][mask], [1, 99], axis=0)
        for name, mask in groups.items()
        if mask.any()
    }
    widest = np.max([high - low for low, high in used.values()], axis=0)
    chosen = np.sort(np.argsort(-widest, kind="stable")[:MAX_BARS])
    rows = np.arange(len(chosen))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.9 + 0.17 * len(chosen)), layout="constrained")
        axes = figure.subplots()
        lower, upper = head.expression_lower.numpy()[chosen], head.expression_upper.numpy()[chosen]
        axes.barh(
            rows,
            upper - lower,
            left=lower,
            height=0.75,
            color=COLOURS[5],
            alpha=0.25,
            label="offered",
        )
        for name, (low, high) in used.items():
            colour, shift = (_TRAIN, -0.18) if name == "training" else (_TEST, 0.18)
            left, width = low[chosen], (high - low)[chosen]
            axes.barh(rows + shift, width, left=left, height=0.34, color=colour, label=name)
        axes.set_yticks(rows, [head.expression_name[index] for index in chosen], fontsize=7)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("coefficient")
        figure.legend(loc="outside upper left", ncols=3, fontsize=9)
        return to_svg(figure, "range of each expression")


def plot_sync(review: Review) -> str | None:
    """How well the mouth follows from the sound at each lag; None where no lag was tried."""
    sync = review.sync
    if sync is None or not sync["score"].any():
        return None
    lag, chance = sync["lag"], np.full(len(sync["lag"]), float(sync["chance_score"]))
    curves = [Curve("score", lag, sync["score"].astype(np.float64)), Curve("chance", lag, chance)]
    return plot_curves(curves, "lag of the sound (frames)", "correlation")
