"""Files of version 1.0 that were written once and must be readable for ever."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from frozen_artifacts import FOLDER, frozen_arrays, frozen_tensors

from artifacts.kinds import KINDS
from artifacts.store import open_artifact


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_version_1_0_is_read(kind: str):
    spec, path = KINDS[kind], FOLDER / f"{kind}.h5"
    with h5py.File(path) as file:
        assert file.attrs["artifact_version"] == "1.0"
    with open_artifact(path, spec) as reader:
        for name, array in frozen_arrays(spec).items():
            np.testing.assert_array_equal(reader.read(name), array, err_msg=name)
            assert reader.read(name).dtype.kind == array.dtype.kind
        if spec.tensor_group:
            tensors, expected = reader.tensors(), frozen_tensors(spec)
            assert expected is not None
            assert tensors.keys() == expected.keys()
            for name, tensor in expected.items():
                np.testing.assert_array_equal(tensors[name], tensor)


def test_no_frozen_file_is_left_over():
    assert {path.stem for path in FOLDER.glob("*.h5")} == set(KINDS)
