"""Head model files that are truncated, hostile or of another kind end in one sentence, and nothing runs."""

import os
import pickle
import struct

import numpy as np
import pytest
from published_files import flame_content, gnm_content, write_basel, write_flame
from scipy.sparse import csc_matrix

from artifacts.errors import InputError
from head_geometry.legacy_pickle import PICKLE_ERRORS, read_pickled_bytes
from preprocessing.head_models.flame import read_flame
from preprocessing.head_models.ict import read_ict
from preprocessing.head_models.model_files import read_model_file
from preprocessing.head_models.sources import read_published

MARK = "a pickle was executed"


class Runs:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def raw(module, name, *arguments):
    """A pickle that calls a function by name, whether it can be pickled or not."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"".join(arguments) + b"tR."


HOSTILE = {
    "system": pickle.dumps(Runs(os.system, f"echo {MARK}; touch HACKED")),
    "system of Python 2": raw("posix", "system", b"(U\x0ctouch HACKED"),
    "eval": raw("__builtin__", "eval", b"(U\x0cprint('run')"),
    "getattr": raw("builtins", "getattr", b"(U\x01aU\x01b"),
    "numpy load": raw("numpy", "load", b"(U\x01a"),
    "numpy testing": raw("numpy.testing._private.utils", "runstring", b"(U\x01a}"),
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",
    "chumpy's own functions": raw("chumpy.utils", "timer", b"("),
    "scipy's loader": raw("scipy.sparse", "load_npz", b"(U\x01a"),
    "state for a function": b"\x80\x02ccopy_reg\n_reconstructor\n}U\x08__call__K\x01sb.",
    "state for a class": b"\x80\x02cnumpy\nndarray\n}U\x0c__setstate__K\x01sb.",
    "attributes for a class": b"\x80\x02cnumpy\nndarray\nN}U\x01aK\x01s\x86b.",
    "object of an unknown class": raw("copy_reg", "_reconstructor", b"(K\x01K\x02K\x03"),
    "extension code": b"\x80\x02\x82\x01.",
    "persistent id": b"Pevil\n.",
    "long ago": b"(i__builtin__\neval\n.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_nothing_runs(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PICKLE_ERRORS):
        read_pickled_bytes(HOSTILE[name])
    path = tmp_path / "model.pkl"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(InputError, match="is no usable FLAME file") as caught:
        read_flame(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "HACKED").exists()
    assert MARK not in "".join(capfd.readouterr())


def test_a_hostile_pickle_inside_a_true_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = flame_content() | {"J": Runs(os.system, "touch HACKED")}
    path = tmp_path / "flame.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=r"posix\.system"):
        read_flame(path)
    np.savez(tmp_path / "flame.npz", **{k: np.asarray(v, object) for k, v in content.items()})
    with pytest.raises(InputError, match="is no usable FLAME file"):
        read_flame(tmp_path / "flame.npz")
    assert not (tmp_path / "HACKED").exists()


def array_pickle(shape, code, data):
    """An array of a shape, dtype and bytes of one's choice."""
    state = (1, shape, np.dtype("f8"), False, b"")
    pickled = pickle.dumps(np.zeros(1), 2)
    assert len(pickled) > len(state)
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R("
    body = b"K\x01(" + b"".join(b"J" + struct.pack("<i", n) for n in shape) + b"t"
    dtype = b"cnumpy\ndtype\nU" + bytes([len(code)]) + code + b"K\x00K\x01\x87R"
    return head + body + dtype + b"\x89T" + struct.pack("<i", len(data)) + data + b"tb."


@pytest.mark.parametrize(
    ("shape", "code", "data"),
    [
        ((2, 2), b"f8", b"\0" * 24),
        ((1 << 20, 1 << 20, 1 << 10), b"f8", b"\0" * 8),
        ((-1,), b"f8", b""),
        ((1,), b"O8", b"\0" * 8),
        ((1,), b"V8", b"\0" * 8),
        ((1,), b"f3", b"\0" * 3),
        ((1,), b"M8[s]", b"\0" * 8),
    ],
)
def test_arrays_whose_bytes_do_not_fit_are_refused(shape, code, data):
    with pytest.raises(PICKLE_ERRORS):
        read_pickled_bytes(array_pickle(shape, code, data))


def test_arrays_written_by_hand_are_read():
    found = read_pickled_bytes(array_pickle((2, 1), b"f8", struct.pack("<2d", 1.5, -2)))
    np.testing.assert_array_equal(found, [[1.5], [-2]])


def test_sparse_matrices_with_impossible_indices_are_refused():
    matrix = csc_matrix(np.eye(3))
    np.testing.assert_array_equal(read_pickled_bytes(pickle.dumps(matrix)), np.eye(3))
    matrix.indices[1] = 1 << 20
    with pytest.raises(PICKLE_ERRORS):
        read_pickled_bytes(pickle.dumps(matrix))


def test_a_small_pickle_cannot_become_large():
    nested = [0]
    for _ in range(25):
        nested = [nested] * 100
    assert len(read_pickled_bytes(pickle.dumps(nested))) == 100
    endless = []
    endless.append(endless)
    with pytest.raises(PICKLE_ERRORS, match="nested too deep"):
        read_pickled_bytes(pickle.dumps(endless))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_truncated_files_end_in_one_sentence(tmp_path, share):
    flame = write_flame(tmp_path / "flame.pkl", flame_content(), chumpy=True)
    np.savez_compressed(tmp_path / "gnm.npz", **gnm_content())
    files = {
        "flame": flame,
        "gnm": tmp_path / "gnm.npz",
        "basel": write_basel(tmp_path, "deep3d"),
    }
    files["basel "] = write_basel(tmp_path, "2019")
    for source, path in files.items():
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match="is no usable") as caught:
            read_published(source.strip(), path, None)
        assert "\n" not in str(caught.value)


def test_files_of_another_kind_end_in_one_sentence(tmp_path):
    flame = write_flame(tmp_path / "flame.pkl", flame_content(), chumpy=False)
    np.savez(tmp_path / "gnm.npz", **gnm_content())
    basel = write_basel(tmp_path, "2009")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "numbers.pkl").write_bytes(pickle.dumps([1, 2, 3]))
    wrong = {
        "flame": [tmp_path / "gnm.npz", basel, tmp_path / "photo.png", tmp_path / "numbers.pkl"],
        "gnm": [flame, basel, tmp_path / "photo.png"],
        "basel": [flame, tmp_path / "gnm.npz", tmp_path / "photo.png"],
        "ict": [flame, tmp_path / "gnm.npz", basel, tmp_path],
    }
    for source, paths in wrong.items():
        for path in paths:
            with pytest.raises(InputError, match="is no usable"):
                read_published(source, path, None)
    with pytest.raises(InputError, match="there is no such FLAME file"):
        read_flame(tmp_path / "nothing.pkl")
    with pytest.raises(InputError, match="needs --file"):
        read_published("gnm", None, None)
    with pytest.raises(InputError, match="goes with the head model flame"):
        read_published("gnm", tmp_path / "gnm.npz", flame)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"v_template": np.zeros((5, 2))}, "'v_template' has the shape"),
        ({"weights": np.ones((3, 5))}, "'weights' has the shape"),
        ({"f": np.array([[0, 1, 10**6]])}, "points beyond"),
        ({"posedirs": np.zeros((4, 3, 36))}, "'posedirs' has the shape"),
        ({"kintree_table": np.array([[-1, 0, 0, 0, 0]])}, "joints are not those of a head"),
        ({"shapedirs": np.full((3, 3, 1), np.nan)}, "'shapedirs' has the shape"),
        ({"J_regressor": "none"}, "holds no numbers"),
    ],
)
def test_flame_files_with_wrong_arrays_say_which(tmp_path, change, complaint):
    path = write_flame(tmp_path / "flame.pkl", flame_content() | change, chumpy=False)
    with pytest.raises(InputError, match=complaint):
        read_flame(path)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    content = flame_content()
    content["v_template"][3, 1] = np.inf
    with pytest.raises(InputError, match="not finite"):
        read_flame(write_flame(tmp_path / "flame.pkl", content, chumpy=True))


def test_archives_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    from preprocessing.head_models import model_files

    monkeypatch.setattr(model_files, "MAX_BYTES", 1000)
    np.savez_compressed(tmp_path / "bomb.npz", v_template=np.zeros(10000))
    with pytest.raises(InputError, match="unpacks to more"):
        read_model_file(tmp_path / "bomb.npz", "FLAME")


def test_an_ict_folder_without_its_meshes_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"generic_neutral_mesh\.obj"):
        read_ict(tmp_path)
    (tmp_path / "generic_neutral_mesh.obj").write_text("v 0 0 0\nf 1 2 3\n")
    with pytest.raises(InputError, match="points beyond the vertices"):
        read_ict(tmp_path)
