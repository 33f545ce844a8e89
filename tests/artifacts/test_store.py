"""The artifact store: what goes in comes out, and what does not fit is refused in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from artifacts.errors import ArtifactError
from artifacts.kinds import AVATAR, KINDS
from artifacts.schema import ArraySpec, ArtifactSpec
from artifacts.store import (
    open_artifact,
    open_writer,
    read_artifact,
    read_provenance,
    write_artifact,
)

SPEC = ArtifactSpec(
    kind="toy",
    version=(1, 1),
    arrays={
        "points": ArraySpec("float32", ("frame", "point", 2), "pixel", "Points."),
        "valid": ArraySpec("bool", ("frame",), "1", "False where nothing was found."),
        "name": ArraySpec("str", ("point",), "text", "Names."),
        "title": ArraySpec("str", (), "text", "Title."),
    },
)
ALPHA = ArtifactSpec("alpha", (1, 0), {"a": ArraySpec("int32", ("frame",), "1", "A.")})


def toy_arrays(frames: int = 4) -> dict[str, np.ndarray]:
    points = np.arange(frames * 3 * 2, dtype=np.float32).reshape(frames, 3, 2)
    return {
        "points": points,
        "valid": np.ones(frames, bool),
        "name": np.array(["nose", "Ohr", "œil ö"]),
        "title": np.array("Grüße"),
    }


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "toy.h5"
    write_artifact(path, SPEC, toy_arrays(), {"step": "tests"})
    return path


def sentence(raised: pytest.ExceptionInfo[ArtifactError]) -> str:
    """The message, which must be one line."""
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_what_is_written_is_read(toy: Path):
    read = read_artifact(toy, SPEC)
    for name, array in toy_arrays().items():
        np.testing.assert_array_equal(read[name], array)
    assert read["points"].dtype == np.float32
    assert read["valid"].dtype == np.bool_
    assert read_provenance(toy) == {"step": "tests"}


def test_every_dataset_says_what_it_is(toy: Path):
    with h5py.File(toy) as file:
        assert file.attrs["artifact_version"] == "1.1"
        assert list(file["points"].attrs["dims"]) == ["frame", "point", "2"]
        assert file["points"].attrs["unit"] == "pixel"
        assert file["points"].attrs["doc"] == "Points."


def test_equal_arrays_give_equal_bytes(tmp_path: Path):
    for name in ("one", "two"):
        write_artifact(tmp_path / name / "toy.h5", SPEC, toy_arrays(), {"b": 1, "a": 2})
    assert (tmp_path / "one/toy.h5").read_bytes() == (tmp_path / "two/toy.h5").read_bytes()


def test_equal_streams_give_equal_bytes(tmp_path: Path):
    for name in ("one.h5", "two.h5"):
        write_in_pieces(tmp_path / name, compressed=True)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def write_in_pieces(path: Path, compressed: bool) -> None:
    arrays = toy_arrays()
    with open_writer(path, SPEC, {}) as writer:
        writer.append("points", arrays["points"][:1], compressed)
        writer.append("points", arrays["points"][1:], compressed)
        for name in ("valid", "name", "title"):
            writer.put(name, arrays[name])


@pytest.mark.parametrize("compressed", [False, True])
def test_frames_may_be_appended_piece_by_piece(tmp_path: Path, compressed: bool):
    path = tmp_path / "toy.h5"
    write_in_pieces(path, compressed)
    np.testing.assert_array_equal(read_artifact(path, SPEC)["points"], toy_arrays()["points"])
    with h5py.File(path) as file:
        assert file["points"].chunks == (1, 3, 2)
        # Another filter might not give equal bytes for equal data.
        assert file["points"].compression == ("gzip" if compressed else None)


def test_frames_are_read_by_slice(toy: Path):
    with open_artifact(toy, SPEC) as reader:
        np.testing.assert_array_equal(
            reader.read("points", slice(1, 3)), toy_arrays()["points"][1:3]
        )
        np.testing.assert_array_equal(reader.read("points", [0, 3]), toy_arrays()["points"][[0, 3]])
        assert reader.shape("points") == (4, 3, 2)


def test_the_reader_says_which_of_several_kinds_it_found(tmp_path: Path):
    path = tmp_path / "alpha.h5"
    write_artifact(path, ALPHA, {"a": np.zeros(2, np.int32)}, {})
    with open_artifact(path, SPEC, ALPHA) as reader:
        assert reader.spec is ALPHA


def test_state_tensors_keep_their_names(tmp_path: Path):
    spec = ArtifactSpec("net", (1, 0), {}, tensor_group="state")
    tensors = {"layer.0.weight": np.eye(3, dtype=np.float32), "scale": np.float32(2)[...]}
    write_artifact(tmp_path / "net.h5", spec, {}, {}, tensors)
    with open_artifact(tmp_path / "net.h5", spec) as reader:
        read = reader.tensors()
    assert read.keys() == tensors.keys()
    np.testing.assert_array_equal(read["layer.0.weight"], np.eye(3))


def test_a_tensor_name_with_a_slash_is_refused(tmp_path: Path):
    spec = ArtifactSpec("net", (1, 0), {}, tensor_group="state")
    with pytest.raises(ArtifactError, match="holds a slash"):
        write_artifact(tmp_path / "net.h5", spec, {}, {}, {"a/b": np.zeros(1)})


def test_a_kind_without_tensors_refuses_them(tmp_path: Path):
    with pytest.raises(ArtifactError, match="holds no state tensors"):
        write_artifact(tmp_path / "toy.h5", SPEC, toy_arrays(), {}, {"a": np.zeros(1)})


# Refusals on write: (change of the arrays, what the sentence must name).
WRITE_FAULTS = {
    "missing dataset": (lambda a: a.pop("valid"), ["missing", "valid"]),
    "extra dataset": (lambda a: a.update(more=np.zeros(1)), ["unexpected", "more"]),
    "wrong dtype": (
        lambda a: a.update(points=a["points"].astype(np.float64)),
        ["points", "float64", "float32"],
    ),
    "text as numbers": (lambda a: a.update(name=np.zeros(3)), ["name", "float64", "text"]),
    "wrong rank": (lambda a: a.update(valid=np.ones((4, 1), bool)), ["valid", "(4, 1)", "frame"]),
    "unequal dims": (lambda a: a.update(valid=np.ones(5, bool)), ["valid", "frame", "5", "4"]),
    "fixed size": (
        lambda a: a.update(points=np.zeros((4, 3, 3), np.float32)),
        ["points", "3", "expected 2"],
    ),
}


@pytest.mark.parametrize("fault", WRITE_FAULTS)
def test_arrays_that_do_not_fit_are_not_written(tmp_path: Path, fault: str):
    change, words = WRITE_FAULTS[fault]
    arrays = toy_arrays()
    change(arrays)
    with pytest.raises(ArtifactError) as raised:
        write_artifact(tmp_path / "toy.h5", SPEC, arrays, {})
    for word in ["toy.h5", *words]:
        assert word in sentence(raised)
    assert list(tmp_path.iterdir()) == []


def edit(path: Path, change) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def replace(name: str, array: np.ndarray):
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = array

    return change


# Refusals on read: (change of the file, what the sentence must name).
READ_FAULTS = {
    "other kind": (lambda f: f.attrs.update(artifact_kind="matte"), ["'matte'", "'toy'"]),
    "no artifact": (lambda f: f.attrs.pop("artifact_kind"), ["None", "'toy'"]),
    "other major": (lambda f: f.attrs.update(artifact_version="2.0"), ["2.0", "1.0 to 1.1"]),
    "older major": (lambda f: f.attrs.update(artifact_version="0.9"), ["0.9", "1.0 to 1.1"]),
    "newer minor": (lambda f: f.attrs.update(artifact_version="1.2"), ["1.2", "1.0 to 1.1"]),
    "missing dataset": (lambda f: f.pop("valid"), ["missing", "valid"]),
    "extra dataset": (lambda f: f.update(more=np.zeros(1)), ["unexpected", "more"]),
    "wrong dtype": (replace("valid", np.ones(4, np.int8)), ["valid", "int8", "bool"]),
    "text as numbers": (replace("name", np.zeros(3)), ["name", "float64", "text"]),
    "unequal dims": (replace("valid", np.ones(5, bool)), ["valid", "frame", "5", "4"]),
}


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_files_that_do_not_fit_are_not_read(toy: Path, fault: str):
    change, words = READ_FAULTS[fault]
    edit(toy, change)
    with pytest.raises(ArtifactError) as raised:
        read_artifact(toy, SPEC)
    for word in [str(toy), *words]:
        assert word in sentence(raised)


def test_an_older_minor_is_read(toy: Path):
    edit(toy, lambda f: f.attrs.update(artifact_version="1.0"))
    assert read_artifact(toy, SPEC)["valid"].all()


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(toy: Path, keep: float):
    os.truncate(toy, int(toy.stat().st_size * keep))
    with pytest.raises(ArtifactError) as raised:
        read_artifact(toy, SPEC)
    assert str(toy) in sentence(raised)
    assert "delete" in sentence(raised)


def test_damaged_chunks_are_refused(tmp_path: Path):
    path = tmp_path / "toy.h5"
    write_in_pieces(path, compressed=True)
    with h5py.File(path) as file:
        offset = file["points"].id.get_chunk_info(0).byte_offset
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    with pytest.raises(ArtifactError) as raised:
        read_artifact(path, SPEC)
    for word in (str(path), "points", "delete"):
        assert word in sentence(raised)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(ArtifactError) as raised:
        read_artifact(tmp_path / "none.h5", SPEC)
    assert "none.h5" in sentence(raised)


def test_a_text_file_is_refused(tmp_path: Path):
    path = tmp_path / "text.h5"
    path.write_text("no HDF5")
    for read in (lambda: read_artifact(path, SPEC), lambda: read_provenance(path)):
        with pytest.raises(ArtifactError) as raised:
            read()
        assert "text.h5" in sentence(raised)


def stop_halfway(path: Path) -> None:
    before = path.read_bytes()
    with open_writer(path, SPEC, {}) as writer:
        writer.put("valid", np.ones(4, bool))
        assert path.read_bytes() == before
        raise RuntimeError("stopped")


def test_an_interrupted_write_leaves_the_old_file(toy: Path):
    before = toy.read_bytes()
    with pytest.raises(RuntimeError, match="stopped"):
        stop_halfway(toy)
    assert toy.read_bytes() == before
    assert list(toy.parent.iterdir()) == [toy]


def test_a_half_written_file_does_not_have_its_name(tmp_path: Path):
    path = tmp_path / "toy.h5"
    with open_writer(path, SPEC, {}) as writer:
        for name, array in toy_arrays().items():
            writer.put(name, array)
            assert not path.exists()
    assert path.exists()


def test_a_forgotten_dataset_is_noticed_at_the_end(tmp_path: Path):
    path = tmp_path / "toy.h5"
    with (
        pytest.raises(ArtifactError, match="missing datasets"),
        open_writer(path, SPEC, {}) as writer,
    ):
        writer.put("valid", np.ones(4, bool))
    assert list(tmp_path.iterdir()) == []


def test_a_left_over_partial_file_is_replaced(tmp_path: Path):
    (tmp_path / "toy.h5.partial").write_bytes(b"half a file")
    write_artifact(tmp_path / "toy.h5", SPEC, toy_arrays(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["toy.h5"]


def test_an_unknown_dataset_cannot_be_put(tmp_path: Path):
    with (
        pytest.raises(ArtifactError, match="has no dataset 'colour'"),
        open_writer(tmp_path / "toy.h5", SPEC, {}) as writer,
    ):
        writer.put("colour", np.zeros(1))


def test_every_kind_has_units_and_documentation():
    for spec in KINDS.values():
        for name, array in spec.arrays.items():
            assert array.unit, f"{spec.kind}/{name}"
            assert array.doc.endswith("."), f"{spec.kind}/{name}"
            if array.dtype != "str":
                np.dtype(array.dtype)
    assert AVATAR.tensor_group == "state"


def test_a_group_in_the_place_of_a_dataset_is_refused(toy: Path):
    def change(file: h5py.File) -> None:
        del file["valid"]
        file.create_group("valid")

    edit(toy, change)
    with pytest.raises(ArtifactError) as raised:
        read_artifact(toy, SPEC)
    assert "toy.h5/valid: is no dataset" in sentence(raised)


def test_a_lost_tensor_group_is_refused(tmp_path: Path):
    spec, path = ArtifactSpec("net", (1, 0), {}, tensor_group="state"), tmp_path / "net.h5"
    write_artifact(path, spec, {}, {}, {"a": np.zeros(1)})
    edit(path, lambda file: file.pop("state"))
    with open_artifact(path, spec) as reader, pytest.raises(ArtifactError, match=r"net\.h5/state"):
        reader.tensors()


def test_datasets_newer_than_the_file_read_as_zeros(tmp_path: Path) -> None:
    old = ArtifactSpec("toy", (1, 0), {"value": ArraySpec("float32", ("row",), "1", "Values.")})
    new = ArtifactSpec(
        "toy",
        (1, 1),
        {
            **old.arrays,
            "weight": ArraySpec("float32", ("row", 3), "1", "Weights.", since_minor=1),
            "word": ArraySpec("str", ("word",), "text", "Words.", since_minor=1),
        },
    )
    path = tmp_path / "toy.h5"
    write_artifact(path, old, {"value": np.ones(4, np.float32)}, {})
    read = read_artifact(path, new)
    assert read["weight"].shape == (4, 3)
    assert read["weight"].dtype == np.float32
    assert not read["weight"].any()
    assert read["word"].shape == (0,)
    with pytest.raises(ArtifactError, match="missing datasets"):
        write_artifact(path, new, {"value": np.ones(4, np.float32)}, {})
    write_artifact(
        path,
        new,
        {
            "value": np.ones(4, np.float32),
            "weight": np.ones((4, 3), np.float32),
            "word": np.array(["a"]),
        },
        {},
    )
    with pytest.raises(ArtifactError, match=r"reads 1\.0 to 1\.0"):
        read_artifact(path, old)
