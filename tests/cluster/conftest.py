"""One cluster and one local run for all tests of this folder."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import NoClusterHereError, SlurmCluster
from workflow_project import Project, whole_run

# What ran, for the end of the output: the cluster and its memory of it are gone by then.
JOBS: dict[str, dict[str, str]] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each job that ran on the cluster."""
    if JOBS:
        terminalreporter.section("SLURM jobs")
    for number, job in sorted(JOBS.items(), key=lambda item: int(item[0])):
        asked = re.search(r"mem=(\w+)", job.get("TRES", ""))
        terminalreporter.write_line(
            f"{number:>5}  {job['JobState']:<14} {job.get('RunTime', ''):>9}  memory {asked[1] if asked else '':>6}  "
            f"restarts {job.get('Restarts', '0')}  {job.get('Comment', '')}"
        )


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    """A running cluster of one node."""
    # A socket's path has at most 108 bytes; pytest's own folders are longer.
    folder = Path(tempfile.mkdtemp(prefix="slurm_"))
    made = SlurmCluster(folder)
    try:
        made.start()
        yield made
        JOBS.update(made.jobs())
    except NoClusterHereError as error:
        pytest.skip(f"no SLURM cluster on this machine: {error}")
    finally:
        made.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def local_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The whole workflow on this machine, without a cluster."""
    return whole_run(tmp_path_factory.mktemp("local") / "project")
