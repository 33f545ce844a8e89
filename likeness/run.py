"""Make what a configuration asks for: ``likeness run``, a thin way to Snakemake."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from artifacts.errors import InputError
from likeness.project import ROOT, read_config, snakemake_command


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
    """Cores of this machine to use at most, a number or all; not for profiles that submit to a cluster."""
    profile: str = "local"
    """Where to run: local, slurm, or the folder of a Snakemake profile of yours."""
    dry_run: bool = False
    """Only say what would be done."""
    snakemake: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """One more word for Snakemake, with an equals sign and as often as needed: --snakemake=--forceall."""


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
    words = [*options.targets, "--workflow-profile", str(profile.resolve())]
    if "executor" not in read_config(profile / "config.yaml"):
        words += ["--cores", options.cores]
    words += ["--dry-run"] if options.dry_run else []
    command = snakemake_command(
        options.folder, options.config.resolve(), *words, *options.snakemake
    )
    # In place of this process: what stops it reaches Snakemake, which then ends its jobs in order.
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted
