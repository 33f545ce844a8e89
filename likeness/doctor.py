"""Is this machine ready for this configuration: ``likeness doctor``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import InputError
from likeness import machine, project
from likeness.findings import Finding


@dataclass(frozen=True)
class Options:
    """Look at machine, configuration, third-party files and subjects; one line each, with what to do."""

    config: Path = Path("config.yaml")
    """The configuration that is to run."""
    folder: Path = Path(".")
    """Working directory of the run: results are written below it."""


def look(options: Options) -> Iterator[Finding]:
    """Everything that is found, one by one, quick things first."""
    yield from machine.python_version()
    yield from machine.packages(project.ROOT / "constraints.txt")
    yield from machine.programs()
    yield from machine.disk(options.folder)
    yield from machine.cluster()
    config = project.read_config(options.config)
    yield from machine.devices(str(config.get("device", "auto")))
    plan = project.make_plan(options.folder, options.config.resolve())
    yield from project.configuration(plan, options.config)
    if not plan.refusal:
        yield from project.third_party_files(plan, options.folder)
        yield from project.subjects(config, options.folder)
        yield from project.consents(config, options.folder)


def main(options: Options) -> None:
    """Print the findings.

    Raises:
        InputError: the configuration cannot run.
    """
    n_errors = 0
    for finding in look(options):
        sys.stdout.write(f"{finding}\n")
        sys.stdout.flush()
        n_errors += finding.status == "error"
    if n_errors:
        raise InputError(f"{n_errors} of these must be mended before {options.config} can run")
