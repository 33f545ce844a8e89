"""The terms of everything a run used: ``python -m assets.licences --names … --out results/licences.md``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from artifacts.provenance import LIBRARIES
from artifacts.step import run_step
from artifacts.text_files import write_whole
from assets.registry import Registry, load_registry

RESTRICTED = (
    "What the licences of the files below forbid, and so what may not be done with these results:"
)
FREE = (
    "No licence of the files below forbids a use of these results; they ask at most for notices where a file itself "
    "is passed on."
)
REMARKED = "To know besides:"
OWN_FILES = (
    "Files that the configuration names by their path (clips, recordings, networks) have terms of their own, "
    "which are not known here."
)
LIBRARIES_USED = "Licences of programs and libraries concern passing on these themselves; what is made with them is not restricted."
_CLASSIFIER = "License :: OSI Approved :: "


@dataclass(frozen=True)
class Options:
    """Write what may not be done with results, and the licences of files and libraries, as Markdown."""

    names: tuple[str, ...]
    """Assets (or groups of them) that were used."""
    out: Path
    """The Markdown file to write."""


@dataclass(frozen=True)
class LicenceRow:
    """Terms of one file or library.

    Attributes:
        name: Of the file or library.
        licence: SPDX expression, or words.
        origin: Who made it, or which version it is.
        forbids: What the licence forbids to do with results, each as one says it after "no".
        remark: What ``forbids`` cannot say; may be empty.
    """

    name: str
    licence: str
    origin: str
    forbids: tuple[str, ...] = ()
    remark: str = ""


def licences_of(names: Iterable[str], registry: Registry | None = None) -> list[LicenceRow]:
    """Terms of the named assets and groups, each asset once, in the registry's order.

    Raises:
        InputError: an unknown name.
    """
    registry = registry or load_registry()
    wanted = {member for name in names for member in registry.members(name)}
    return [
        LicenceRow(asset.name, asset.licence, asset.origin, asset.forbids, asset.remark)
        for asset in registry.assets.values()
        if asset.name in wanted
    ]


def library_licences(libraries: Iterable[str] = LIBRARIES) -> list[LicenceRow]:
    """Terms of the installed libraries that can change a result, as their packages declare them."""
    rows = []
    for library in libraries:
        try:
            version = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
        rows.append(LicenceRow(library, _declared_licence(library), f"version {version}"))
    rows.append(
        LicenceRow("ffmpeg", "GPL-3.0-or-later", "the program, run as it is inside imageio-ffmpeg")
    )
    rows.append(
        LicenceRow("espeak-ng", "GPL-3.0-or-later", "the library, as it is inside espeakng-loader")
    )
    return rows


def _declared_licence(library: str) -> str:
    """The SPDX expression, else the classifiers, else the first short licence line."""
    about = metadata.metadata(library)
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers = [str(line) for line in about.get_all("Classifier") or []]
    named = [line.removeprefix(_CLASSIFIER) for line in classifiers if line.startswith(_CLASSIFIER)]
    if named:
        return ", ".join(named)
    first = about["License"].strip().split("\n")[0] if "License" in about else ""
    return first if 0 < len(first) < 60 else "see the package's licence file"


def restrictions(rows: Iterable[LicenceRow]) -> dict[str, list[LicenceRow]]:
    """What may not be done, each once in the order of the rows, and the files because of which."""
    found: dict[str, list[LicenceRow]] = {}
    for row in rows:
        for what in row.forbids:
            found.setdefault(what, []).append(row)
    return found


def restriction_sentences(rows: Iterable[LicenceRow]) -> list[str]:
    """One sentence for each thing that may not be done with results that rest on these files."""
    return [
        f"No {what}, because of {' and '.join(row.name for row in because)}."
        for what, because in restrictions(rows).items()
    ]


def remark_sentences(rows: Iterable[LicenceRow]) -> list[str]:
    """What is to be known besides of each file, where there is anything."""
    return [f"{row.name}: {row.remark}." for row in rows if row.remark]


def licence_table(rows: Iterable[LicenceRow]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | licence | origin |", "|---|---|---|"]
    lines += [f"| {row.name} | {row.licence} | {row.origin} |" for row in rows]
    return "\n".join(lines) + "\n"


def licence_text(rows: Sequence[LicenceRow], libraries: Iterable[LicenceRow]) -> str:
    """Everything as Markdown: what may not be done, remarks, files, libraries."""
    sentences, remarks = restriction_sentences(rows), remark_sentences(rows)
    lines = ["# Licences of everything this run used", "", RESTRICTED if sentences else FREE, ""]
    lines += [*(f"- {sentence}" for sentence in sentences), ""] if sentences else []
    lines += [REMARKED, "", *(f"- {remark}" for remark in remarks), ""] if remarks else []
    lines += [OWN_FILES, "", "## Files", "", licence_table(rows)]
    lines += ["## Libraries", "", LIBRARIES_USED, "", licence_table(libraries)]
    return "\n".join(lines)


def main(options: Options) -> None:
    """Write the text."""
    write_whole(options.out, licence_text(licences_of(options.names), library_licences()))


if __name__ == "__main__":
    run_step(Options, main)
