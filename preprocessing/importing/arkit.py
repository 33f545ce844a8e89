"""Read the CSV of Live Link Face (ARKit)."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float

from artifacts.errors import InputError
from head_geometry.camera_conventions import OPENCV_FROM_OPENGL
from preprocessing.exporting.arkit import (
    ANGLES,
    COUNT,
    EXPRESSIONS,
    TIMECODE,
    column,
    matrix_from_angles,
)
from preprocessing.importing.motion import Motion

log = logging.getLogger(__name__)

# Rates that cameras record at (hertz); the frame numbers of the time code tell which.
RATES_HZ = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 120.0)
DAY_S = 86400.0
# The table says nothing of the distance: an arm's length, which cross driving takes no notice of.
DISTANCE_M = 0.6


def read_arkit(path: Path, source_rate_hz: float, radians_per_unit: float) -> Motion:
    """Read a recording.

    Args:
        path: CSV file with the app's columns, in any order and case.
        source_rate_hz: Rate that the time code counts frames at; 0 to take it from the code itself.
        radians_per_unit: Unit of the nine angles.

    Raises:
        InputError: no such file, missing columns, no rows, or values that are no numbers.

    Source: see :func:`preprocessing.exporting.arkit.write_arkit`.
    """
    header, rows = _read_table(path)
    place = {name.strip().lower(): index for index, name in enumerate(header)}
    needed = [TIMECODE, *map(column, EXPRESSIONS), *ANGLES]
    missing = [name for name in needed if name.lower() not in place]
    if missing:
        raise InputError(
            f"{path}: has no column {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}; "
            "give the CSV file that Live Link Face records"
        )
    if not rows:
        raise InputError(f"{path}: has no rows below its header; record again")
    time_s = seconds_from_timecodes(
        path, [row[place[TIMECODE.lower()]] for row in rows], source_rate_hz
    )
    counted = place.get(COUNT.lower())
    wanted = [place[name.lower()] for name in needed[1:]]
    valid = np.array([_is_tracked(row, counted, max(wanted)) for row in rows])
    numbers = np.zeros((len(rows), len(wanted)))
    for line, row in enumerate(rows):
        if valid[line]:
            numbers[line] = _numbers(path, line + 2, [row[index] for index in wanted])
    angles = numbers[:, len(EXPRESSIONS) :] * radians_per_unit
    flip = OPENCV_FROM_OPENGL[:3, :3].double().numpy()
    return Motion(
        time_s=time_s,
        valid=valid,
        expression_name=EXPRESSIONS,
        expression=numbers[:, : len(EXPRESSIONS)],
        rotation=flip @ matrix_from_angles(angles[:, :3]),
        translation_m=np.tile([0.0, 0.0, DISTANCE_M], (len(rows), 1)),
        joint_rotation={
            "eye_left": matrix_from_angles(angles[:, 3:6]),
            "eye_right": matrix_from_angles(angles[:, 6:]),
        },
    )


def seconds_from_timecodes(
    path: Path, codes: list[str], source_rate_hz: float
) -> Float[np.ndarray, " frame"]:
    """Seconds from the first of the time codes HH:MM:SS:FF.fff; midnight is passed over.

    Raises:
        InputError: a code is none, or too short a recording hides the rate.
    """
    parts = np.array([_code_parts(path, line + 2, code) for line, code in enumerate(codes)])
    whole = parts[:, :3] @ np.array([3600.0, 60.0, 1.0])
    rate_hz = source_rate_hz
    if rate_hz == 0:
        rate_hz = next((rate for rate in RATES_HZ if rate > np.floor(parts[:, 3].max())), 0.0)
        if rate_hz == 0 or len(np.unique(whole)) < 2:
            raise InputError(
                f"{path}: the time codes do not tell the frame rate; give it with --source-rate-hz"
            )
        log.info("%s: the time codes count %g frames per second", path.name, rate_hz)
    seconds = whole + parts[:, 3] / rate_hz
    return (
        seconds - seconds[0] + DAY_S * np.cumsum(np.diff(seconds, prepend=seconds[0]) < -DAY_S / 2)
    )


def _read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV text ({error})") from error
    if not rows:
        raise InputError(f"{path}: is empty; record again")
    return rows[0], rows[1:]


def _is_tracked(row: list[str], counted: int | None, last: int) -> bool:
    """False where the app saw no face: a count of 0, or no values."""
    count_is_zero = counted is not None and row[counted].strip() in ("0", "0.0", "")
    return not count_is_zero and len(row) > last


def _numbers(path: Path, line: int, texts: list[str]) -> Float[np.ndarray, " column"]:
    try:
        values = np.array([float(text) for text in texts])
    except ValueError as error:
        raise InputError(
            f"{path}: line {line} holds no number ({error}); export it again"
        ) from error
    if not np.isfinite(values).all():
        raise InputError(f"{path}: line {line} holds a number that is not finite; export it again")
    return values


def _code_parts(path: Path, line: int, code: str) -> list[float]:
    try:
        parts = [float(part) for part in code.replace(";", ":").split(":")]
    except ValueError:
        parts = []
    if len(parts) != 4 or not all(0 <= part < 1e4 for part in parts):
        raise InputError(
            f"{path}: line {line} has the time code {code!r}, expected HH:MM:SS:FF; export it again"
        )
    return parts
