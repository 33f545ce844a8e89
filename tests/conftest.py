"""Fixtures shared by all tests: run-time shape checks, the shared clips where they are present."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Every annotated array of the project is checked for the whole test run.
_HOOK = install_import_hook(
    [
        "artifacts",
        "assets",
        "head_geometry",
        "image_similarity",
        "media",
        "preprocessing",
        "avatar_models",
        "evaluation",
        "likeness",
    ],
    "beartype.beartype",
)

ROOT = Path(__file__).resolve().parents[1]


def _shared(folder: Path, what: str) -> Path:
    if not folder.is_dir():
        pytest.skip(
            f"{what} are not at {folder}; set LIKENESS_TEST_DATA to the folder that holds clips/"
        )
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with clips/ and photos/ of real people (not part of the project)."""
    return _shared(
        Path(os.environ.get("LIKENESS_TEST_DATA", ROOT.parent / "shared/data")), "real clips"
    )


@pytest.fixture(scope="session")
def shared_fixtures(shared_data: Path) -> Path:
    """Folder with reference numbers (landmarks/ and eg3d/)."""
    return _shared(shared_data.parent / "fixtures", "reference numbers")
