"""The demo: ``likeness demo``."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from likeness import run

# Not the project's own config.yaml, which people edit.
DEMO_CONFIG = Path(__file__).with_name("demo.yaml")


@dataclass(frozen=True)
class Options:
    """Make two avatars of a clip that is fetched, compare them, and write a report (about ten minutes on two cores)."""

    folder: Path = Path("likeness-demo")
    """Where to do it; made if it is not there. What it already holds is not done again."""
    cores: str = "all"
    """Cores to use at most."""


def main(options: Options) -> None:
    """Copy the demo's configuration, unless there is one, and run it."""
    options.folder.mkdir(parents=True, exist_ok=True)
    config = options.folder / "config.yaml"
    if not config.exists():
        shutil.copy(DEMO_CONFIG, config)
    sys.stdout.write(f"The report will be {options.folder.resolve()}/results/report/index.html\n")
    sys.stdout.flush()
    run.main(run.Options(config=config, folder=options.folder, cores=options.cores))
