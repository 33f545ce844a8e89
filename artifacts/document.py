"""Write docs/artifacts.md from the kinds: ``python -m artifacts.document --out docs/artifacts.md``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from artifacts.kinds import KINDS
from artifacts.schema import ArraySpec, ArtifactSpec
from artifacts.step import run_step

HEAD = """# Artifacts

<!-- Made by `python -m artifacts.document --out docs/artifacts.md`; edit artifacts/kinds.py instead. -->

Every step writes one HDF5 file. Its attributes say what it is: `artifact_kind`, `artifact_version` ("major.minor") and
`provenance_json` (step, options, digests of the inputs, digest of the code, seed, library versions). Every dataset has the
attributes `dims`, `unit` and `doc`; dimensions of one name have one length within a file. A reader refuses another kind, another
major version and a newer minor one. What is missing is marked by a `valid` mask, never by a special value.

Written by `artifacts.store.write_artifact` or `open_writer`, read by `read_artifact` or `open_artifact`.
"""


@dataclass(frozen=True)
class Options:
    """Write the reference of all artifact kinds."""

    out: Path = Path("docs/artifacts.md")
    """Markdown file to write."""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _row(name: str, array: ArraySpec) -> str:
    dims = " × ".join(map(str, array.dims)) or "one value"
    since = f" (since minor version {array.since_minor})" if array.since_minor else ""
    return (
        f"| `{name}` | {array.dtype} | {dims} | {_cell(array.unit)} | {_cell(array.doc)}{since} |"
    )


def _section(spec: ArtifactSpec) -> str:
    major, minor = spec.version
    lines = [
        f"## {spec.kind}",
        "",
        f"Version {major}.{minor}.",
        "",
        "| dataset | dtype | dims | unit | meaning |",
        "|---|---|---|---|---|",
        *(_row(name, array) for name, array in spec.arrays.items()),
    ]
    if spec.tensor_group:
        lines += [
            "",
            f"And a group `{spec.tensor_group}`: the state tensors of the model, by name.",
        ]
    return "\n".join(lines) + "\n"


def artifact_reference() -> str:
    """The reference of every kind as Markdown."""
    links = [f"- [{kind}](#{re.sub('[^a-z_]', '', kind)})" for kind in KINDS]
    return "\n".join([HEAD, "\n".join(links) + "\n", *map(_section, KINDS.values())])


def main(options: Options) -> None:
    """Write the reference."""
    options.out.write_text(artifact_reference(), encoding="utf-8")


if __name__ == "__main__":
    run_step(Options, main)
