"""A table of subjects (TSV), for studies with more people than one likes to write into config.yaml."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from artifacts.errors import InputError

# Column of the sheet -> key of a subject in config.yaml. Empty cells are as if the column were not there.
COLUMNS = {
    "clip": "video",
    "role": "role",
    "consent": "consent",
    "split": "split",
    "head_model": "head_model",
    "notes": "notes",
    "start_s": "start_s",
    "duration_s": "duration_s",
    "audio_shift_s": "audio_shift_s",
}
_NUMBERS = ("start_s", "duration_s", "audio_shift_s")
_REQUIRED = ("name", "clip")


def read_subject_sheet(path: Path) -> dict[str, dict[str, str | float]]:
    """Subjects as config.yaml has them, by name; what their values may be is the schema's matter.

    Args:
        path: Table of tabulator-separated values, UTF-8, with a row of column names: name, then any of :data:`COLUMNS`.

    Raises:
        InputError: it cannot be read, lacks a column, has an unknown or a double one, a row is too long or has no name or
            clip, a name comes twice, a number is none.
    """
    subjects: dict[str, dict[str, str | float]] = {}
    for number, cells in _rows(path):
        where = f"{path}, row {number}"
        name = cells.pop("name")
        if name in subjects:
            raise InputError(f"{where}: there is a subject {name!r} already; give each its name")
        subjects[name] = {COLUMNS[key]: _value(where, key, text) for key, text in cells.items()}
    if not subjects:
        raise InputError(f"{path}: names no subject; give a row for each")
    return subjects


def place_in_sheet(path: Path, subject: str, key: str = "") -> str:
    """Where a subject, or what config.yaml calls ``key``, stands in a sheet: the row (the first is 1) and the column.

    Raises:
        InputError: the sheet cannot be read, or has no such subject.
    """
    for number, cells in _rows(path):
        if cells["name"] == subject:
            columns = [column for column, known in COLUMNS.items() if known == key]
            return ", ".join([f"row {number}", *(f"column {column}" for column in columns)])
    raise InputError(f"{path}: has no subject {subject!r}")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and cells of each row that is not empty, by column; empty cells are left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", strict=True))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of the subject sheet") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no table of tabulator-separated UTF-8 ({error})") from error
    rows = [[cell.strip() for cell in row] for row in rows]
    header, *others = rows or [[]]
    _check_header(path, header)
    for number, row in enumerate(others, start=2):
        if any(row):
            yield number, _cells(f"{path}, row {number}", header, row)


def listed_subjects(config: Mapping[str, Any], sheet: Path | None) -> dict[str, dict[str, Any]]:
    """Subjects of a configuration and of its sheet as they are written, by name.

    Args:
        config: A configuration that has been checked: nobody is in both.
        sheet: The table that it names, if any.

    Raises:
        InputError: the sheet cannot be read.
    """
    rows = read_subject_sheet(sheet) if sheet else {}
    return {**(config.get("subjects") or {}), **rows}


def _check_header(path: Path, header: list[str]) -> None:
    known = ["name", *COLUMNS]
    for name in _REQUIRED:
        if name not in header:
            raise InputError(
                f"{path}: lacks the column {name!r}; the first row names the columns, separated by "
                f"tabulators: {', '.join(known)}"
            )
    for place, name in enumerate(header):
        if name not in known:
            raise InputError(f"{path}: unknown column {name!r}; there are {', '.join(known)}")
        if name in header[:place]:
            raise InputError(f"{path}: has the column {name!r} twice; leave one")


def _cells(where: str, header: list[str], row: list[str]) -> dict[str, str]:
    if len(row) > len(header):
        raise InputError(f"{where}: has {len(row)} cells, but there are {len(header)} columns")
    cells = {name: text for name, text in zip(header, row, strict=False) if text}
    for name in _REQUIRED:
        if name not in cells:
            raise InputError(f"{where}: has no {name}")
    return cells


def _value(where: str, key: str, text: str) -> str | float:
    if key not in _NUMBERS:
        return text
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{where}: {key} is {text!r}, but must be a number (seconds)") from error
