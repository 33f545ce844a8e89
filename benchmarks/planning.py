"""How planning grows with the number of subjects: time and memory of a dry run, nothing being there yet.

    python -m benchmarks.planning --subjects 10 100 1000 --out results/benchmarks/planning.csv

Each size is a sheet of that many rows (all of the demo clip) in a folder of its own, planned by Snakemake as ``snakemake --dry-run``
plans it, which prints every job, and as ``snakemake --dry-run --quiet`` does, which prints how many jobs each rule has.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from artifacts.errors import InputError
from artifacts.step import run_step
from artifacts.text_files import write_whole

LOGGER = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[1]
CLIP = "carphone_pristine.mp4"


@dataclass(frozen=True)
class Options:
    """Time dry runs."""

    out: Path
    """CSV file for the numbers."""
    subjects: tuple[int, ...] = (10, 100, 1000)
    """How many subjects."""
    models: tuple[str, ...] = (
        "nearest_frame",
        "monoavatar_d",
        "monoavatar_c",
        "hfa_gp_3dmm",
        "hfa_gp_rgb",
        "hfa_gp_audio",
    )
    """Models of each."""
    modes: tuple[str, ...] = ("self", "orbit")
    """Renders of each; with cross everybody drives everybody."""


def write_project(folder: Path, n_subjects: int, options: Options) -> None:
    """Configuration and sheet of a study."""
    rows = [f"s{number:05d}\t{CLIP}" for number in range(n_subjects)]
    (folder / "subjects.tsv").write_text("\n".join(["name\tclip", *rows]) + "\n", encoding="utf-8")
    config = {
        "subject_sheet": "subjects.tsv",
        "models": list(options.models),
        "modes": list(options.modes),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def plan(folder: Path, *words: str) -> dict[str, float]:
    """Jobs, seconds and largest memory (megabyte) of one dry run.

    Args:
        folder: Of the study.
        words: More words for Snakemake.

    Raises:
        InputError: Snakemake refuses it.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "2", "--dry-run", *words]
    log = folder / "plan.txt"
    started = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    text = log.read_text(encoding="utf-8")
    if process.returncode != 0:
        raise InputError(f"the plan failed: {text.strip().splitlines()[-1]}")
    jobs = [line.split()[1] for line in text.splitlines() if line.startswith("total ")]
    return {
        "jobs": int(jobs[0]),
        "seconds": round(seconds, 1),
        "memory_mb": round(used.ru_maxrss / 1024),
    }


def main(options: Options) -> None:
    """Plan each size."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows = []
    for n_subjects in options.subjects:
        with tempfile.TemporaryDirectory() as folder:
            write_project(Path(folder), n_subjects, options)
            row, counted = plan(Path(folder)), plan(Path(folder), "--quiet")
            row |= {f"{key}_quiet": counted[key] for key in ("seconds", "memory_mb")}
            rows.append({"subjects": n_subjects, **row})
        LOGGER.info("%s", rows[-1])
    table = pd.DataFrame(rows)
    table["ms_per_job"] = (1000 * table["seconds"] / table["jobs"]).round(2)
    write_whole(options.out, table.to_csv(index=False))


if __name__ == "__main__":
    run_step(Options, main)
