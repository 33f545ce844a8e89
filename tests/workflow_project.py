"""Run the real workflow on a toy clip: the first second of the demo clip, models of a few steps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TOY_CONFIG: dict[str, Any] = {
    "subjects": {"toy": {"video": "carphone_pristine.mp4", "duration_s": 1.2}},
    "models": ["nearest_frame", "monoavatar_d"],
    "image_size": 64,
    "device": "cpu",
    "modes": ["self", "orbit"],
    "render_avatar": {"orbit_frames": 3},
    "model_options": {
        "nearest_frame": {"steps": 5},
        "monoavatar_d": {"steps": 30, "max_minutes": 0, "rays": 128},
    },
}


@dataclass
class Project:
    """A working directory with its own config.yaml and results/."""

    folder: Path
    config: dict[str, Any] = field(default_factory=lambda: deepcopy(TOY_CONFIG))

    def write_config(self) -> None:
        """Put config.yaml into the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.yaml").write_text(
            yaml.safe_dump(self.config, allow_unicode=True), encoding="utf-8"
        )

    def command(self, *arguments: str) -> list[str]:
        """Command line of Snakemake on this folder."""
        return [
            *(sys.executable, "-m", "snakemake"),
            *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder)),
            *arguments,
        ]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake; stdout and stderr come back together as text."""
        return subprocess.run(
            self.command(*arguments),
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def path(self, name: str) -> Path:
        """A file below results/."""
        return self.folder / "results" / name


def whole_run(folder: Path) -> Project:
    """The whole toy workflow, run in a new folder on this machine."""
    project = Project(folder)
    project.write_config()
    done = project.run("--cores", "2")
    assert done.returncode == 0, done.stdout[-6000:]
    return project


def copy_of(project: Project, folder: Path) -> Project:
    """The same project with its results and Snakemake's records, in another folder."""
    shutil.copytree(project.folder, folder, copy_function=shutil.copy2)
    return Project(folder)
