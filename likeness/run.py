"""Make what a configuration asks for: ``likeness run``, a thin way to Snakemake."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from artifacts.errors import InputError
from likeness.project import ROOT, snakemake_command


@dataclass(frozen=True)
class Options:
    """Make the files that a configuration asks for, or some of them."""

    targets: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Files or rules to make; without any, everything."""
    config: Path = Path("config.yaml")
    """The configuration."""
    folder: Path = Path(".")
    """Working directory: results are written below it."""
    cores: str = "all"
    """Cores of this machine to use at most, a number or all; of no account on a cluster."""
    profile: str = "local"
    """Where to run: local, slurm, or the folder of a Snakemake profile of yours."""
    dry_run: bool = False
    """Only say what would be done."""
    snakemake: tuple[str, ...] = ()
    """More words for Snakemake, as they are."""


def main(options: Options) -> None:
    """Run Snakemake.

    Raises:
        InputError: there is no such configuration or profile.
    """
    if not options.config.is_file():
        raise InputError(f"{options.config}: no such file; name a configuration with --config")
    own = ROOT / "workflow/profiles" / options.profile
    profile = own if own.is_dir() else Path(options.profile)
    if not (profile / "config.yaml").is_file():
        raise InputError(
            f"{options.profile}: there is no such profile; choose local, slurm, or a folder with a config.yaml"
        )
    words = ["--workflow-profile", str(profile.resolve())]
    if options.profile == "local":
        words += ["--cores", options.cores]
    words += ["--dry-run"] if options.dry_run else []
    words += [*options.snakemake, *options.targets]
    done = subprocess.run(
        snakemake_command(options.folder, options.config.resolve(), *words), check=False
    )
    sys.exit(done.returncode)
