"""What several tests of the steps share and what takes long to make."""

import pytest
from filmed_person import write_small_head_model


@pytest.fixture(scope="session")
def small_head(tmp_path_factory):
    """A small head_model artifact of the default model, with its landmarks."""
    return write_small_head_model(tmp_path_factory.mktemp("head") / "head_model.h5")
