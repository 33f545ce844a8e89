"""The terms of everything a run used: ``python -m assets.licences --names … --out results/licences.md``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from artifacts.provenance import LIBRARIES
from artifacts.step import run_step
from assets.registry import Registry, load_registry

_CLASSIFIER = "License :: OSI Approved :: "


@dataclass(frozen=True)
class Options:
    """Write the licences of files and libraries as a Markdown table."""

    names: tuple[str, ...]
    """Assets (or groups of them) that were used."""
    out: Path
    """The Markdown file to write."""


@dataclass(frozen=True)
class LicenceRow:
    """Terms of one file or library."""

    name: str
    licence: str
    origin: str


def licences_of(names: Iterable[str], registry: Registry | None = None) -> list[LicenceRow]:
    """Terms of the named assets and groups, each asset once, in the registry's order.

    Raises:
        InputError: an unknown name.
    """
    registry = registry or load_registry()
    wanted = {member for name in names for member in registry.members(name)}
    return [
        LicenceRow(asset.name, asset.licence, asset.origin)
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


def licence_table(rows: Iterable[LicenceRow]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | licence | origin |", "|---|---|---|"]
    lines += [f"| {row.name} | {row.licence} | {row.origin} |" for row in rows]
    return "\n".join(lines) + "\n"


def main(options: Options) -> None:
    """Write the table."""
    text = "# Licences of everything this run used\n\n## Files\n\n"
    text += licence_table(licences_of(options.names))
    text += "\n## Libraries\n\n" + licence_table(library_licences())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    partial = options.out.with_name(options.out.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, options.out)


if __name__ == "__main__":
    run_step(Options, main)
