"""Step ``fit_report``: one self-contained page on a subject's track, and whether the clip is good enough to train on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.kinds import FRAMES
from artifacts.step import run_step
from artifacts.store import open_artifact
from artifacts.stretches import name_frames
from artifacts.text_files import write_whole
from evaluation.fit_pictures import albedo_sheet, overlay_film, shape_sheet, worst_sheet
from evaluation.fit_plots import plot_expressions, plot_poses, plot_sync, plot_time
from evaluation.fit_review import (
    FitFiles,
    Review,
    clip_values,
    measure,
    read_review,
    worst_frames,
)
from evaluation.fit_verdict import Verdict, judge
from evaluation.report_files import origin_of
from evaluation.report_page import library_versions, page_environment
from head_geometry.head_model import HeadModel

LOGGER = logging.getLogger(__name__)

# Width and height of a tile of the film, pixels.
TILE_PX = 360


@dataclass(frozen=True)
class Options:
    """Show a subject's track and judge its clip."""

    subject: str
    """Name to show."""
    frames: Path
    """``frames`` artifact."""
    landmarks: Path
    """``landmarks`` artifact of the same clip."""
    matte: Path
    """``matte`` artifact of the same clip."""
    face_fit: Path
    """``face_fit`` artifact of the same clip."""
    head_model: Path
    """``head_model`` artifact of the fit."""
    out: Path
    """Page to write."""
    sync: Path | None = None
    """``sync`` artifact of the same clip; without it nothing is said about sound and lips."""
    split: str = "tail-20"
    """Name of the split into training and test frames; the test frames are marked."""
    max_video_s: float = 10.0
    """Longest film, seconds; of a longer clip it shows stretches from all over it."""


def clip_facts(review: Review) -> dict[str, str]:
    """What the clip is, in a few words each."""
    with open_artifact(review.files.frames, FRAMES) as reader:
        n_frames, height, width = reader.shape("image")[:3]
        source = reader.read("source_size")
    length_s = n_frames / review.rate_hz
    facts = {
        "clip": f"{source[0]}×{source[1]} px, {n_frames} frames at {review.rate_hz:g}/s ({length_s:.1f} s)",
        "head crop": f"{width}×{height} px",
        "held out": f"from frame {review.test_start} on ({n_frames - review.test_start} frames)",
        "fit": "landmarks and pictures" if review.has_photometry else "landmarks only",
    }
    if review.found.any():
        face_px = float(np.median(review.face_px[review.found]))
        filmed_px = face_px * review.source_px_per_px
        facts["face"] = f"{face_px:.0f} px wide ({filmed_px:.0f} px as filmed)"
    if not review.tracked.all():
        facts["filled in"] = name_frames(~review.tracked)
    if review.doubted.any():
        facts["not explained by the head"] = name_frames(review.doubted)
    return facts


def gather(options: Options, review: Review) -> dict[str, Any]:
    """All that the page's template shows, but for the provenance."""
    measures = measure(review)
    notes = {"unexplained": name_frames(review.doubted)}
    verdict = judge(clip_values(review, measures), review.sync, notes)
    film, film_note = overlay_film(review, max(1, round(options.max_video_s * review.rate_hz)))
    worst = worst_frames(review)
    tracked = bool(review.tracked.any())
    return {
        "subject": options.subject,
        "split": options.split,
        "verdict": verdict,
        "facts": clip_facts(review),
        "has_photometry": review.has_photometry,
        "has_outline": review.has_outline,
        "film": film,
        "film_note": film_note,
        "time_plots": plot_time(review, measures),
        "worst": worst_sheet(review, worst) if worst else None,
        "worst_count": len(worst),
        "shape": shape_sheet(review),
        "albedo": albedo_sheet(review) if review.has_photometry else None,
        "poses": plot_poses(review, measures) if tracked else "",
        "expressions": plot_expressions(review) if tracked else "",
        "sync": review.sync,
        "sync_plot": plot_sync(review) or "",
    }


def main(options: Options) -> None:
    """Make the page.

    Raises:
        InputError: the files do not belong together.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    files = FitFiles(
        options.frames, options.landmarks, options.matte, options.face_fit, options.sync
    )
    head_model = HeadModel.load(options.head_model)
    review = read_review(files, head_model, options.split, (TILE_PX, TILE_PX))
    shown = gather(options, review)
    _log_verdict(options.subject, shown["verdict"])
    paths = [options.head_model, files.frames, files.landmarks, files.matte, files.face_fit]
    paths += [files.sync] if files.sync else []
    origins = [origin_of(path, options.out.parent.parent) for path in paths]
    page = page_environment().get_template("fit_report.html")
    write_whole(
        options.out, page.render(**shown, origins=origins, versions=library_versions(origins))
    )


def _log_verdict(subject: str, verdict: Verdict) -> None:
    LOGGER.info("%s: %s", subject, verdict.sentence)
    for advice in verdict.advice:
        LOGGER.info("%s: %s", subject, advice)


if __name__ == "__main__":
    run_step(Options, main)
