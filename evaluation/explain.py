"""What stands behind a number of a table: its definition, and every file, setting and piece of code that it was made with.

python -m evaluation.explain results/tables/scores.csv --cell obama/monoavatar_d/psnr_person
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro

from artifacts.code_digest import ROOT, code_digest
from artifacts.errors import ArtifactError, InputError
from artifacts.provenance import file_digest
from artifacts.step import run_step
from artifacts.store import read_provenance
from evaluation.aggregate import (
    MEAN_SUBJECT,
    cross_path,
    names_in,
    read_score_table,
    read_scores,
    rows_where,
    value_of,
)
from evaluation.metric_names import CROSS, metric_info
from evaluation.report_files import files_of_all, files_of_subject

# A mean of the file and of the table differ by no more than the table's rounding to text.
_SAME = 1e-9


@dataclass(frozen=True)
class Options:
    """Say what stands behind a number of a table."""

    table: Annotated[Path, tyro.conf.Positional]
    """Long table of evaluation.tables (scores.csv or partial.csv)."""
    cell: str
    """Which number: SUBJECT/MODEL/METRIC, as the table's columns have them; "(mean over subjects)" is a subject too."""
    results: Path | None = None
    """Folder of the results; by default the one that the table's folder lies in."""


@dataclass(frozen=True)
class Source:
    """A file, and what it says of how it was made.

    Attributes:
        path: Where it is.
        digest: Of its bytes.
        provenance: None for a file that is no artifact, such as a third-party one.
    """

    path: Path
    digest: str
    provenance: Mapping[str, Any] | None

    @property
    def inputs(self) -> Mapping[str, str]:
        """Digest of each file that it was made from, by what it is."""
        return {} if self.provenance is None else self.provenance.get("inputs", {})


def sources_of(path: Path, candidates: Iterable[Path]) -> tuple[list[Source], dict[str, str]]:
    """A file and everything that it was made from, each once, the newest first.

    Args:
        path: The file.
        candidates: Files among which those that it was made from are looked for, by their digest.

    Returns:
        The files that were found; of the others digest to name.
    """
    known = {file_digest(file): file for file in candidates if file.is_file()}
    found: dict[str, Source] = {}
    lost: dict[str, str] = {}
    todo = [(file_digest(path), path)]
    while todo:
        digest, place = todo.pop(0)
        if digest in found:
            continue
        found[digest] = Source(place, digest, _provenance(place))
        for name, wanted in found[digest].inputs.items():
            if wanted in known:
                todo.append((wanted, known[wanted]))
            else:
                lost[wanted] = _called(name, found[digest])
    return list(found.values()), lost


def _provenance(path: Path) -> Mapping[str, Any] | None:
    if path.suffix != ".h5":
        return None
    try:
        return read_provenance(path)
    except ArtifactError:
        # An HDF5 file of somebody else's, such as a head model as it is published.
        return None


def _called(name: str, maker: Source) -> str:
    """What an input is, with its file's name where the step's options have it."""
    file = None if maker.provenance is None else maker.provenance["options"].get(name)
    return f"{name} ({file})" if isinstance(file, str) else name


def cell_of(table: pd.DataFrame, cell: str) -> dict[str, Any]:
    """The row of a long table that a cell names.

    Raises:
        InputError: the cell is no SUBJECT/MODEL/METRIC, or the table has no such row.
    """
    parts = cell.split("/")
    if len(parts) != 3:
        raise InputError(f"{cell!r} names no cell; write SUBJECT/MODEL/METRIC")
    rows = table
    for column, name in zip(("subject", "model", "metric"), parts, strict=True):
        names = names_in(rows, column)
        if name not in names:
            raise InputError(
                f"the table has no {column} {name!r} in {cell!r}; there are {', '.join(names)}"
            )
        rows = rows_where(rows, column, name)
    return {str(key): value for key, value in rows.iloc[0].items()}


def value_in(path: Path, subject: str, model: str, metric: str) -> float:
    """A metric's value as the ``scores`` artifact has it; nan where it has none."""
    (render,) = read_scores(str(path), [(subject, model)])
    return value_of(render, metric)


def explain(table: pd.DataFrame, cell: str, results: Path) -> Iterator[str]:
    """Lines that say what stands behind a cell.

    Raises:
        InputError: no such cell, or its scores are not there.
    """
    row = cell_of(table, cell)
    yield from _meaning(row)
    whose = names_in(table, "subject") if row["subject"] == MEAN_SUBJECT else [row["subject"]]
    for subject in whose:
        if subject == MEAN_SUBJECT:
            continue
        own = cell_of(table, f"{subject}/{row['model']}/{row['metric']}")
        yield from _origin(own, results)


def _meaning(row: Mapping[str, Any]) -> Iterator[str]:
    info = metric_info(row["metric"])
    value, low, high = (float(row[key]) for key in ("value", "ci_low", "ci_high"))
    interval = "" if np.isnan(low) else f" [{low:.6g}, {high:.6g}]"
    yield f"{row['subject']} / {row['model']} / {row['metric']}: {value:.6g} {info.unit}{interval}"
    yield f"  {info.definition} ({info.better} is better)"
    is_mean = row["subject"] == MEAN_SUBJECT
    drawn = (
        ""
        if np.isnan(low)
        else f"; brackets: 95 %, {'subjects' if is_mean else 'blocks of frames'} drawn anew"
    )
    of = "subjects" if is_mean else "frames or values"
    yield f"  over {row['n']} {of}, split {row['split']}{drawn}"
    if row["note"]:
        yield f"  note: {row['note']}"


def _origin(row: Mapping[str, Any], results: Path) -> Iterator[str]:
    subject, model = row["subject"], row["model"]
    folder = results / subject / model
    # A metric of renders that others drive is a mean over the drivers.
    crossed = row["metric"].startswith(CROSS)
    files = sorted(folder.glob("cross/*/scores.h5")) if crossed else [folder / "scores.h5"]
    files = [path for path in files if path.is_file()]
    yield ""
    if not files:
        missing = cross_path(folder / "scores.h5", "*") if crossed else folder / "scores.h5"
        yield f"{missing}: not there, so nothing stands behind this number any more"
        return
    values = [value_in(path, subject, model, row["metric"]) for path in files]
    who = str(files[0])
    if crossed:
        yield from (f"{path}: {value:.6g}" for path, value in zip(files, values, strict=True))
        who = "their mean"
    value = float(np.nanmean(values)) if not np.isnan(values).all() else np.nan
    same = np.isclose(value, row["value"], rtol=_SAME, atol=_SAME, equal_nan=True)
    yield f"{who} says {value:.6g}, " + (
        "as the table does" if same else f"but the table {row['value']:.6g}: make the table again"
    )
    for path in files:
        yield from _files_behind(path, subject, model, results)


def _files_behind(scores: Path, subject: str, model: str, results: Path) -> Iterator[str]:
    candidates = [
        *files_of_subject(results, subject, [model]),
        # The folder of a render that another person drives is called after the driver.
        *files_of_subject(results, scores.parent.name, []),
        *files_of_all(results, ()),
        *sorted(results.glob(f"synthetic/{subject}.*")),
        *sorted(results.glob("assets/*")),
    ]
    found, lost = sources_of(scores, candidates)
    paths = {source.digest: source.path for source in found}
    usual = _libraries(found[0])
    for source in found:
        yield from _described(source, results, paths)
        if source.provenance is not None and _libraries(source) != usual:
            yield f"    with {_libraries(source)}"
    yield f"libraries, where a file does not say others: {usual}"
    for digest, name in lost.items():
        yield f"{digest}  {name}: not below {results}, or made again since"


def _described(source: Source, results: Path, paths: Mapping[str, Path]) -> Iterator[str]:
    yield f"{source.digest}  {source.path.relative_to(results).as_posix()}"
    if source.provenance is None:
        return
    made = source.provenance
    yield f"    step {made['step']}, code {made['code']}{_code_now(made)}, seed {made['seed']}"
    shown = {name: value for name, value in made["options"].items() if name not in source.inputs}
    yield f"    options {', '.join(f'{name}={value}' for name, value in shown.items())}"
    inputs = (
        f"{name} {paths[digest].relative_to(results).as_posix() if digest in paths else digest}"
        for name, digest in source.inputs.items()
    )
    yield f"    from {', '.join(inputs)}"


def _libraries(source: Source) -> str:
    versions = {} if source.provenance is None else source.provenance.get("versions", {})
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _code_now(made: Mapping[str, Any]) -> str:
    """Whether the code beside this module is still that of a file."""
    try:
        return " (as here)" if made["code"] in _codes(made["step"]) else " (other code is here now)"
    except FileNotFoundError:
        return " (there is no such step here)"


def _codes(step: str) -> set[str]:
    """Digests that files of a step may have here: steps of avatars count the model's own code too."""
    models = sorted((ROOT / "avatar_models").glob("*/model.py"))
    names = [f"avatar_models.{path.parent.name}.model" for path in models]
    own = names if step.startswith("avatar_models.") else []
    return {code_digest(step), *(code_digest(step, name) for name in own)}


def main(options: Options) -> None:
    """Print what stands behind the cell.

    Raises:
        InputError: no such table or cell.
    """
    table = read_score_table(options.table)
    results = options.results or options.table.resolve().parent.parent
    for line in explain(table, options.cell, results):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    run_step(Options, main)
