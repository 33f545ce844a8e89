"""One table of this project and of others: what was measured here, and what is quoted, never mixed in a row."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import yaml

from avatar_models.registry import driven_by
from benchmarks.growth.fits import measured, number
from benchmarks.growth.measuring import RENDERING, TRAIN

MEASURED, QUOTED = "measured here", "quoted"
TRACKING = ("landmarks", "matte", "face_fit")
NONE = "—"


@dataclass(frozen=True)
class System:
    """A row of the table; NONE where nothing is known.

    Attributes:
        system: Its name.
        origin: MEASURED or QUOTED.
        drive: What it learns from → what drives it.
        training: Time or iterations.
        rendering: Frames per second.
        tracking: Time per frame.
        quality: Against held-out frames.
    """

    system: str
    origin: str
    drive: str
    training: str = NONE
    rendering: str = NONE
    tracking: str = NONE
    quality: str = NONE


def quoted_systems() -> list[System]:
    """The systems of peers.yaml."""
    entries = yaml.safe_load(Path(__file__).with_name("peers.yaml").read_text(encoding="utf-8"))
    return [System(origin=QUOTED, **entry) for entry in entries]


def measured_systems(table: pd.DataFrame) -> list[System]:
    """This project's models, each with the largest pictures measured, and its track."""
    models = measured(table, "model")
    systems = []
    for name, rows in models.groupby("model"):
        sides = [set(rows[rows["name"] == rule]["side"]) for rule in (TRAIN, RENDERING)]
        both = sides[0] & sides[1]
        if not both:
            continue
        of_side = rows[rows["side"] == max(both)].sort_values("frames").groupby("name").first()
        training, rendering = of_side.loc[TRAIN], of_side.loc[RENDERING]
        systems.append(
            System(
                system=f"likeness: {name}",
                origin=MEASURED,
                drive=f"video → {driven_by(str(name))}",
                training=f"{number(1000 * training['s_per_iteration'])} ms/iteration at {max(both)}²",
                rendering=f"{number(1 / rendering['s_per_frame'])} fps at {max(both)}²",
            )
        )
    return systems + measured_tracks(table)


def measured_tracks(table: pd.DataFrame) -> list[System]:
    """Seconds per frame of the whole track, on the longest clip and on the largest pictures."""
    rows = measured(table, "step")
    rows = rows[rows["name"].isin(TRACKING)]
    points = rows.groupby(["frames", "side"]).agg({"seconds": "sum", "name": "nunique"})
    points = points[points["name"] == len(TRACKING)].reset_index()
    if points.empty:
        return []
    longest = points.sort_values(["frames", "side"]).iloc[-1]
    largest = points.sort_values(["side", "frames"]).iloc[-1]
    chosen = pd.DataFrame([longest, largest]).drop_duplicates()
    return [
        System(
            system="likeness: track (landmarks, matte, face fit)",
            origin=MEASURED,
            drive="video → head model",
            tracking=f"{point['seconds'] / point['frames']:.3g} s/frame "
            f"({point['frames']:.0f} frames of {point['side']:.0f}², start-up included)",
        )
        for _, point in chosen.iterrows()
    ]


def peers_table(table: pd.DataFrame) -> pd.DataFrame:
    """Measured rows, then quoted ones."""
    systems = [*measured_systems(table), *quoted_systems()]
    return pd.DataFrame([asdict(system) for system in systems])


def peers_markdown(peers: pd.DataFrame, machine: str) -> str:
    """The table with quoted figures in italics, and what stands below it; ``machine`` says where and how busy."""
    shown = peers.copy()
    for column in ("training", "rendering", "tracking", "quality"):
        is_quoted = (shown["origin"] == QUOTED) & (shown[column] != NONE)
        shown[column] = shown[column].mask(is_quoted, "*" + shown[column] + "*")
    notes = (
        f"{MEASURED}: on {machine} Preset tiny; trainings stopped early, so without a time for a whole one and without quality.\n\n"
        f"{QUOTED}: by others on their own machines and data; [S] is second-hand, the rest from the system's paper or public "
        "material. Nothing quoted was run here."
    )
    return f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{notes}\n"
