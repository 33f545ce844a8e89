"""Everything the report shows of one subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from artifacts.kinds import AVATAR, FACE_FIT, FRAMES, LANDMARKS, MATTE, SCORES
from artifacts.store import open_artifact, read_artifact
from evaluation.aggregate import ScoredRender
from evaluation.comparison import differences
from evaluation.face_openings import mouth_opening
from evaluation.metric_names import metric_info
from evaluation.metrics.coefficients import FRONTAL
from evaluation.report_files import SubjectFiles
from evaluation.report_pictures import (
    DETECTED_COLOUR,
    FITTED_COLOUR,
    Picture,
    draw_mesh,
    draw_outline,
    draw_points,
    label_strip,
    read_picture,
    resize_exactly,
    tile_row,
    with_labels,
)
from evaluation.report_plots import Curve, plot_curves, plot_losses
from evaluation.report_videos import Comparison, Film, comparison_film, film_of_renders
from evaluation.tables import format_gain
from evaluation.truth import FittedClip
from head_geometry.head_model import HeadModel
from head_geometry.images import resize_points

GAIN_METRICS = ("psnr_person", "ssim_person", "psnr_head", "lmd_px")
OVERLAY_SIDE_PX = 320


@dataclass(frozen=True)
class Gain:
    """What a model wins or loses against the first one in a metric, paired frame by frame."""

    model: str
    baseline: str
    metric: str
    text: str
    unit: str


@dataclass(frozen=True)
class SubjectSection:
    """What the page shows of one subject."""

    name: str
    facts: dict[str, str]
    comparison: Film
    contact: Picture
    orbit: Film | None
    cross: dict[str, Film]
    """Driver to film."""
    audio: dict[str, Film]
    """Sound to film."""
    navigation: dict[str, Picture]
    """Model to the grid of its directions."""
    overlay: Picture
    plots: dict[str, str]
    """Title to SVG."""
    gains: list[Gain]
    """Each model's paired differences from the first one."""


def head_angles(camera_from_head: np.ndarray) -> dict[str, np.ndarray]:
    """Yaw and pitch in degrees from the frontal view, (frame,) each.

    Positive yaw: the face turns to the picture's right. Positive pitch: it looks up.
    """
    facing = camera_from_head[:, :3, :3] @ np.array([0, 0, 1.0])
    forward = facing @ FRONTAL  # x right, y up, z towards the camera
    return {
        "yaw": np.degrees(np.arctan2(forward[:, 0], forward[:, 2])),
        "pitch": np.degrees(np.arcsin(np.clip(forward[:, 1], -1, 1))),
    }


def telling_frames(
    fit: dict[str, np.ndarray], points: np.ndarray, frames: Int[np.ndarray, " frame"]
) -> dict[int, str]:
    """Frames that show the range of a clip, each with the reason it was chosen, in the clip's order.

    The widest open and the most closed mouth, the extreme yaws and pitches, the first and the middle frame.

    Args:
        fit: A ``face_fit``.
        points: Landmarks of all frames.
        frames: The frames to choose from.
    """
    angles = head_angles((fit["camera_from_world"] @ fit["world_from_head"])[frames])
    mouth = mouth_opening(points[frames])
    valid = fit["valid"][frames]
    usable = np.flatnonzero(valid) if valid.any() else np.arange(len(frames))

    def extreme(values: np.ndarray, largest: bool) -> int:
        chosen = values[usable].argmax() if largest else values[usable].argmin()
        return int(usable[chosen])

    reasons = {
        extreme(mouth, True): "widest mouth",
        extreme(angles["yaw"], False): f"yaw {angles['yaw'][usable].min():.0f}°",
        extreme(angles["yaw"], True): f"yaw {angles['yaw'][usable].max():.0f}°",
        extreme(angles["pitch"], False): f"pitch {angles['pitch'][usable].min():.0f}°",
        extreme(angles["pitch"], True): f"pitch {angles['pitch'][usable].max():.0f}°",
    }
    for row, reason in (
        (extreme(mouth, False), "closed mouth"),
        (0, "first"),
        (len(frames) // 2, "middle"),
    ):
        reasons.setdefault(row, reason)
    return {int(frames[row]): reasons[row] for row in sorted(reasons)}


def contact_sheet(comparison: Comparison, chosen: dict[int, str]) -> Picture:
    """Chosen held-out frames: truth, every model, and every model's errors over white."""
    names = [model.name for model in comparison.files.models]
    columns = [*comparison.labels, *(f"error {name}" for name in names)]
    side = min(comparison.side, 1800 // len(columns) // 2 * 2)
    rows = np.flatnonzero(np.isin(comparison.driver_frame, list(chosen)))
    pictures = [label_strip(columns, side)]
    texts = [""]
    for compared in comparison.read(rows):
        tiles = [compared.truth_full, *(image for image, _ in compared.renders.values())]
        pictures.append(tile_row([*tiles, *compared.error_maps()], side))
        texts.append(f"frame {compared.frame}\n{chosen[compared.frame]}")
    return with_labels(pictures, texts)


def overlay_sheet(files: SubjectFiles, head_model: HeadModel) -> Picture:
    """Frames from all over the clip with the detected and the fitted landmarks, the matte and the mesh."""
    landmarks = read_artifact(files.landmarks, LANDMARKS)
    size = (OVERLAY_SIDE_PX, OVERLAY_SIDE_PX)
    clip = FittedClip(head_model, files.face_fit, size)
    frames = np.arange(clip.n_frames)
    chosen = telling_frames(clip.fit, landmarks["points"], frames)
    width, height = (int(side) for side in landmarks["image_size"])
    detected = resize_points(landmarks["points"][..., :2], (width, height), size)
    columns = ["matte outline", "detected landmarks", "fitted landmarks", "fitted head"]
    rows, texts = [label_strip(columns, OVERLAY_SIDE_PX)], [""]
    with open_artifact(files.frames, FRAMES) as images, open_artifact(files.matte, MATTE) as mattes:
        for frame, reason in chosen.items():
            image = resize_exactly(images.read("image", np.s_[frame]), size)
            alpha = resize_exactly(mattes.read("alpha", np.s_[frame]), size)
            found = bool(landmarks["valid"][frame])
            tiles = [
                draw_outline(image, alpha),
                draw_points(image, detected[frame], DETECTED_COLOUR) if found else image,
                draw_points(image, clip.landmarks(frame), FITTED_COLOUR),
                draw_mesh(image, clip, frame),
            ]
            rows.append(tile_row(tiles, OVERLAY_SIDE_PX))
            state = f"NME {clip.fit['nme'][frame]:.4f}" if clip.fit["valid"][frame] else "filled in"
            texts.append(f"frame {frame}\n{reason}\n{state}")
    return with_labels(rows, texts)


def make_gains(scored: dict[str, ScoredRender]) -> list[Gain]:
    """Paired differences of every model from the first, with their intervals."""
    baseline = next(iter(scored))
    gains = []
    for metric in GAIN_METRICS:
        unit = metric_info(metric).unit
        rows = differences(list(scored.values()), baseline, metric)
        for model, value, low, high in zip(
            *(rows[name] for name in ("model", "value", "ci_low", "ci_high")), strict=True
        ):
            text = format_gain(value, low, high)
            gains.append(Gain(model, baseline, metric, text, "" if unit == "1" else unit))
    return gains


def make_plots(
    files: SubjectFiles, scored: dict[str, ScoredRender], test_start: int
) -> dict[str, str]:
    """PSNR and NME per frame, the fit's NME, and the training losses, as SVG by title.

    Args:
        files: The subject's files.
        scored: Model to its scores.
        test_start: First held-out frame.
    """
    plots: dict[str, str] = {}
    for title, metric, label in (
        ("PSNR per held-out frame, person over white", "psnr_person", "PSNR (dB)"),
        ("Landmarks of the render against the truth", "nme_outer_eye", "NME (outer-eye distance)"),
    ):
        found = {name: scores.per_frame(metric) for name, scores in scored.items()}
        curves = [Curve(name, *series) for name, series in found.items() if series is not None]
        if curves:
            plots[title] = plot_curves(curves, "frame", label)
    fit = read_artifact(files.face_fit, FACE_FIT)
    valid = np.flatnonzero(fit["valid"])
    if len(valid):
        curve = Curve("", valid, fit["nme"][valid])
        plots["Landmarks of the fit against the detector, held-out frames shaded"] = plot_curves(
            [curve], "frame", "NME (outer-eye distance)", shaded_from=test_start
        )
    losses = {model.name: _loss_curves(model.avatar) for model in files.models}
    losses = {name: curves for name, curves in losses.items() if curves}
    if losses:
        plots["Training losses"] = plot_losses(losses)
    return plots


def _loss_curves(avatar: Path) -> list[Curve]:
    with open_artifact(avatar, AVATAR) as reader:
        steps, losses = reader.read("loss_step"), reader.read("loss")
        names = reader.read("loss_name").tolist()
    if len(steps) == 0:
        return []
    return [Curve(name, steps, losses[:, column]) for column, name in enumerate(names)]


def _facts(files: SubjectFiles, comparison: Comparison) -> dict[str, str]:
    with open_artifact(files.frames, FRAMES) as reader:
        n_frames, height, width = reader.shape("image")[:3]
        rate_hz = float(reader.read("frame_rate_hz"))
        source = reader.read("source_size")
    fit = read_artifact(files.face_fit, FACE_FIT)
    nme = fit["nme"][fit["valid"]]
    return {
        "clip": f"{source[0]}×{source[1]} px, {n_frames} frames at {rate_hz:g}/s ({n_frames / rate_hz:.1f} s)",
        "head crop": f"{width}×{height} px",
        "avatars": f"{comparison.size[0]}×{comparison.size[1]} px",
        "held out": f"{len(comparison.driver_frame)} frames, from frame {comparison.driver_frame[0]}",
        "fit": f"median NME {np.median(nme):.4f} over {len(nme)} frames" if len(nme) else "no face",
    }


def make_section(
    files: SubjectFiles,
    head_model: HeadModel,
    driver_frames: dict[str, Path],
    sounds: dict[str, Path],
    max_video_s: float,
) -> SubjectSection:
    """Make all pictures, films and plots of one subject.

    Args:
        files: Its files.
        head_model: Head model of its fit.
        driver_frames: Subject to ``frames`` artifact, for the films of foreign drivers; a recording has none.
        sounds: Sound to ``frames`` artifact, for the films of what a sound drives.
        max_video_s: Longest film, seconds.
    """
    comparison = Comparison(files)
    with open_artifact(files.frames, FRAMES) as reader:
        rate_hz = float(reader.read("frame_rate_hz"))
    max_frames = max(1, round(max_video_s * rate_hz))
    landmarks = read_artifact(files.landmarks, LANDMARKS)
    fit = read_artifact(files.face_fit, FACE_FIT)
    chosen = telling_frames(fit, landmarks["points"], comparison.driver_frame)
    orbits = {model.name: model.orbit for model in files.models if model.orbit}
    scored = {
        model.name: ScoredRender(files.name, model.name, read_artifact(model.scores, SCORES))
        for model in files.models
    }
    cross, audio = {}, {}
    for driver in dict.fromkeys(name for model in files.models for name in model.cross):
        renders = {m.name: m.cross[driver] for m in files.models if driver in m.cross}
        cross[driver] = film_of_renders(
            renders, "image", max_frames, rate_hz, driver=driver_frames.get(driver)
        )
    for name in dict.fromkeys(name for model in files.models for name in model.audio):
        renders = {m.name: m.audio[name] for m in files.models if name in m.audio}
        audio[name] = film_of_renders(renders, "image", max_frames, rate_hz, heard=sounds.get(name))
    return SubjectSection(
        name=files.name,
        facts=_facts(files, comparison),
        comparison=comparison_film(comparison, max_frames),
        contact=contact_sheet(comparison, chosen),
        orbit=film_of_renders(orbits, "head", max_frames, rate_hz) if orbits else None,
        cross=cross,
        audio=audio,
        navigation={m.name: read_picture(m.navigation) for m in files.models if m.navigation},
        overlay=overlay_sheet(files, head_model),
        plots=make_plots(files, scored, int(comparison.driver_frame[0])),
        gains=make_gains(scored),
    )
