"""Tables declared in YAML: which numbers stand where, beside which published ones (docs/tables.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from artifacts.errors import InputError
from artifacts.splits import versioned_split
from evaluation.metric_names import CROSS, POOLED, metric_info

# Options of a training that change its numbers, as its artifact's provenance names them.
PROTOCOL = ("preset", "image_size", "split", "seed", "set", "lpips_weights")
# What several subjects make of one cell: a number of them, or the mean in which every frame counts once.
AGGREGATES = ("mean", "median", "std", "min", "max", "frames")
# A number in quotes.
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Heading.
        metric: A metric of the scores; "" where this project measures nothing alike.
        subjects: Whose values. "x_*" stands for all whose names begin with "x_"; empty for all subjects of the scores.
        aggregate: What is made of several subjects' values, one of :data:`AGGREGATES`.
        split: Only scores of this split, with its version or of any; empty for the split that each subject has.
    """

    name: str
    metric: str
    subjects: tuple[str, ...] = ()
    aggregate: str = "mean"
    split: str = ""


@dataclass(frozen=True)
class ModelRow:
    """A row of measured numbers: its heading and the model's name in the scores."""

    name: str
    model: str


@dataclass(frozen=True)
class PublishedRow:
    """A row of somebody's numbers, one for each column as it is written; None where none is published."""

    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class TableSpec:
    """A table.

    Attributes:
        title: Above it.
        columns: From left to right.
        rows: What is measured.
        published: What others published, ``source`` says where.
        source: Paper and table.
        protocol: How the published numbers were made, by name of an option of training (image_size, split, preset ...).
        notes: Sentences below the table.
        baseline: Name of the measured row that the others are compared with; empty for none.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[ModelRow, ...]
    published: tuple[PublishedRow, ...] = ()
    source: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    baseline: str = ""


def read_table_spec(path: Path) -> TableSpec:
    """Read a declaration.

    Raises:
        InputError: the file cannot be read, a key is unknown or missing, a value is of another type, or a published row has
            not one value for each column.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of a table's YAML") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: is no YAML ({' '.join(str(error).split())})") from error
    keys = {
        **{"title": str, "columns": list, "rows": list},
        **{"published": list, "source": str, "protocol": dict, "notes": list},
        **{"aggregate": str, "split": str, "baseline": str},
    }
    spec = _checked(str(path), found, keys, required=("title", "columns", "rows"))
    # What is said of the table goes for the columns that say nothing else.
    of_all = {key: spec[key] for key in ("aggregate", "split") if key in spec}
    columns = tuple(
        _column(f"{path}, column {n}", it, of_all) for n, it in enumerate(spec["columns"], 1)
    )
    rows = tuple(_row(f"{path}, row {n}", it) for n, it in enumerate(spec["rows"], 1))
    published = tuple(
        _published(f"{path}, published row {n}", it, len(columns))
        for n, it in enumerate(spec.get("published", []), 1)
    )
    if not columns or not rows:
        raise InputError(f"{path}: a table needs a column and a row of a model")
    if published and not spec.get("source"):
        raise InputError(f"{path}: numbers are published, but source does not say where")
    for what, names in (
        ("column", [column.name for column in columns]),
        ("row", [row.name for row in (*rows, *published)]),
    ):
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise InputError(f"{path}: there are two {what}s {twice[0]!r}; give each its name")
    for key in spec.get("protocol", {}):
        if key not in PROTOCOL:
            raise InputError(
                f"{path}: protocol: unknown key {key!r}; there are {', '.join(PROTOCOL)}"
            )
    baseline = spec.get("baseline", "")
    if baseline and baseline not in [row.name for row in rows]:
        raise InputError(
            f"{path}: baseline is {baseline!r}, but the rows are {', '.join(row.name for row in rows)}"
        )
    notes = tuple(map(str, spec.get("notes", [])))
    return TableSpec(
        spec["title"],
        columns,
        rows,
        published,
        spec.get("source", ""),
        spec.get("protocol", {}),
        notes,
        baseline,
    )


def _checked(
    where: str, found: object, keys: Mapping[str, type], required: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise InputError(f"{where}: holds no keys; there are {', '.join(keys)}")
    for key, value in found.items():
        if key not in keys:
            raise InputError(f"{where}: unknown key {key!r}; there are {', '.join(keys)}")
        if not isinstance(value, keys[key]):
            raise InputError(f"{where}: {key} is {value!r}, but must be {keys[key].__name__}")
    for key in required:
        if key not in found:
            raise InputError(f"{where}: lacks the key {key!r}")
    return found


def _column(where: str, found: object, of_all: Mapping[str, str]) -> Column:
    keys = {"name": str, "metric": str, "subjects": list, "aggregate": str, "split": str}
    made = {**of_all, **_checked(where, found, keys, required=("name", "metric"))}
    subjects = tuple(map(str, made.get("subjects", [])))
    if len(set(subjects)) < len(subjects):
        raise InputError(f"{where}: names a subject twice")
    if made["metric"]:
        try:
            metric_info(made["metric"])
        except KeyError as error:
            raise InputError(
                f"{where}: unknown metric {made['metric']!r}; results/tables/scores.csv has those there are"
            ) from error
    aggregate, split = made.get("aggregate", "mean"), made.get("split", "")
    if aggregate not in AGGREGATES:
        raise InputError(
            f"{where}: unknown aggregate {aggregate!r}; there are {', '.join(AGGREGATES)}"
        )
    if aggregate == "frames" and made["metric"].startswith(CROSS):
        raise InputError(
            f"{where}: {made['metric']} is a mean over drivers, it has no frames to aggregate"
        )
    if aggregate != "mean" and made["metric"] in POOLED:
        raise InputError(
            f"{where}: {made['metric']} is one number of all subjects; leave aggregate out"
        )
    try:
        versioned_split(split or "tail-20")
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return Column(made["name"], made["metric"], subjects, aggregate, split)


def _row(where: str, found: object) -> ModelRow:
    made = _checked(where, found, {"name": str, "model": str}, required=("name", "model"))
    return ModelRow(made["name"], made["model"])


def _published(where: str, found: object, n_columns: int) -> PublishedRow:
    made = _checked(where, found, {"name": str, "values": list}, required=("name", "values"))
    values = made["values"]
    if len(values) != n_columns:
        raise InputError(
            f"{where}: has {len(values)} values for {n_columns} columns; null for none"
        )
    return PublishedRow(made["name"], tuple(_written(where, value) for value in values))


def _written(where: str, value: object) -> str | None:
    """A number as it is written; in quotes it keeps the zeros at its end."""
    if value is None:
        return None
    if isinstance(value, str):
        is_number = _NUMBER.fullmatch(value) is not None
    else:
        is_number = (
            isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        )
    if not is_number:
        raise InputError(f'{where}: {value!r} is no number such as 25.7 or "25.70"; null for none')
    return str(value)
