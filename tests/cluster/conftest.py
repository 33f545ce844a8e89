"""One cluster and one local run for all tests of this folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import NoClusterHereError, SlurmCluster
from workflow_project import Project, whole_run


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    """A running cluster of one node."""
    # A socket's path has at most 108 bytes; pytest's own folders are longer.
    folder = Path(tempfile.mkdtemp(prefix="slurm_"))
    made = SlurmCluster(folder)
    try:
        made.start()
        yield made
    except NoClusterHereError as error:
        pytest.skip(f"no SLURM cluster on this machine: {error}")
    finally:
        made.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def local_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The whole workflow on this machine, without a cluster."""
    return whole_run(tmp_path_factory.mktemp("local") / "project")
