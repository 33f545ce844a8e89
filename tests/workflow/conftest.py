"""Projects to run the workflow in; one whole run of the toy clip for all tests that read its results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from workflow_project import Project, whole_run


@pytest.fixture
def new_project(tmp_path: Path) -> Callable[..., Project]:
    """Make a project in a folder of its own; keywords replace keys of the toy configuration."""

    def make(name: str = "project", **changes: object) -> Project:
        project = Project(tmp_path / name)
        project.config.update(changes)
        project.write_config()
        return project

    return make


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The whole workflow, run once; tests that change anything work on a copy."""
    return whole_run(tmp_path_factory.mktemp("toy") / "with space ü")
