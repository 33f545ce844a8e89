"""The step ``export``: what it refuses, the folder it leaves, and its parts."""

import json
import logging

import numpy as np
import pytest
import torch
from exported import INVALID, SIDE, make_clip
from PIL import Image

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES, HEAD_MODEL
from artifacts.provenance import make_provenance
from artifacts.store import read_artifact, write_artifact
from preprocessing.export import FLAME_FORMATS, FORMATS, Options, main, warn_of_model
from preprocessing.exporting import clip as clip_module
from preprocessing.exporting.canvas import centred_canvas
from preprocessing.exporting.clip import open_clip
from preprocessing.exporting.folder import PictureWriter, new_folder
from preprocessing.exporting.warp import warp

NOTE = {"step": "tests", "options": {}}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip"), flame_like=True)


def export(clip, out, name="arkit", **changes):
    main(Options(**{"format": name, "out": out, **clip.options, **changes}))


def rewritten(clip, name, spec, tmp_path, **changes):
    arrays = read_artifact(clip.options[name], spec) | changes
    path = tmp_path / f"{name}.h5"
    write_artifact(path, spec, arrays, NOTE)
    return path


def test_an_unknown_format(clip, tmp_path):
    with pytest.raises(InputError, match=r"unknown format 'fbx'; choose one of arkit, eg3d"):
        export(clip, tmp_path / "out", "fbx")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty(clip, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not an empty folder"):
        export(clip, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_filled(clip, tmp_path):
    (tmp_path / "out").mkdir()
    export(clip, tmp_path / "out")
    assert (tmp_path / "out/live_link_face.csv").is_file()


def test_a_fit_of_other_frames(clip, tmp_path):
    frames = read_artifact(clip.options["frames"], FRAMES)
    short = {name: frames[name][:-1] for name in ("image", "time_s")}
    path = rewritten(clip, "frames", FRAMES, tmp_path, **short)
    with pytest.raises(InputError, match=r"9 frames of 96x96 pixels, but .* fitted to 10 of 96x96"):
        export(clip, tmp_path / "out", frames=path)
    assert not list(tmp_path.glob("out*"))


def test_a_fit_that_says_it_was_made_of_another_file(clip, tmp_path):
    fit = read_artifact(clip.options["face_fit"], FACE_FIT)
    other = rewritten(clip, "frames", FRAMES, tmp_path, frame_rate_hz=np.array(30.0))
    path = tmp_path / "fit.h5"
    inputs = {"frames": other, "head_model": clip.options["head_model"]}
    write_artifact(path, FACE_FIT, fit, make_provenance("preprocessing.face_fit", NOTE, inputs))
    with pytest.raises(InputError, match=r"is not the frames file that .*fit\.h5 was fitted to"):
        export(clip, tmp_path / "out", face_fit=path)
    export(clip, tmp_path / "out", face_fit=path, frames=other)


def test_a_fit_of_another_head_model(clip, tmp_path):
    head = read_artifact(clip.options["head_model"], HEAD_MODEL)
    fewer = {
        name: head[name][:-1]
        for name in ("expression_basis", "expression_name", "expression_lower", "expression_upper")
    }
    path = rewritten(clip, "head_model", HEAD_MODEL, tmp_path, **fewer)
    with pytest.raises(InputError, match="give the head model of the fit"):
        export(clip, tmp_path / "out", head_model=path)


def test_a_test_without_any_face(clip, tmp_path):
    fit = read_artifact(clip.options["face_fit"], FACE_FIT)
    fit["valid"][8:] = False
    path = rewritten(clip, "face_fit", FACE_FIT, tmp_path, valid=fit["valid"])
    with pytest.raises(InputError, match="no training or in no test frame"):
        export(clip, tmp_path / "out", face_fit=path)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_export_says_where_it_came_from(clip, name):
    folder = clip.write(name)
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["step"] == "preprocessing.export"
    assert set(provenance["inputs"]) == {"frames", "matte", "head_model", "face_fit"}
    assert not list(clip.folder.glob("*.partial"))


def test_frames_that_were_not_fitted_are_left_out(clip):
    entries = json.loads((clip.write("nerface") / "transforms_train.json").read_text())["frames"]
    assert [int(entry["file_path"][-5:]) for entry in entries] == [
        frame for frame in range(8) if frame != INVALID
    ]


@pytest.mark.parametrize("name", FLAME_FORMATS)
def test_other_models_are_named(clip, name, caplog):
    with open_clip(split="tail-20", **clip.options) as opened:
        assert not opened.is_flame
        warn_of_model(opened, name)
        assert "belong to head model flame_like" in caplog.text
        caplog.clear()
        warn_of_model(opened, "gltf")
    assert caplog.text == ""


def test_flame_is_known_by_its_topology(clip, caplog, monkeypatch):
    monkeypatch.setattr(clip_module, "FLAME_VERTICES", len(clip.head.template))
    with open_clip(split="tail-20", **clip.options) as opened:
        assert opened.is_flame
        warn_of_model(opened, "vhap")
    assert caplog.text == ""


def test_missing_expressions_are_said(clip, tmp_path, caplog):
    export(clip, tmp_path / "out")
    assert "has no eyeLookDownLeft" in caplog.text
    assert "jawOpen" not in caplog.text


def test_a_failing_export_leaves_nothing(tmp_path):
    def fail():
        with new_folder(tmp_path / "out") as folder:
            (folder / "half.txt").write_text("half")
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_picture_is_not_passed_over(tmp_path):
    def write():
        with PictureWriter(1) as pictures:
            pictures.write(tmp_path / "file/picture.png", np.zeros((2, 2), np.uint8))

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        write()


def test_pictures_are_lossless(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 255, (5, 7, 3), np.uint8)
    depth = rng.integers(0, 65535, (5, 7), np.uint16)
    with PictureWriter(2) as pictures:
        pictures.write(tmp_path / "colour.png", colour)
        pictures.write(tmp_path / "depth.png", depth)
    for name, expected in (("colour", colour), ("depth", depth)):
        with Image.open(tmp_path / f"{name}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), expected)


@pytest.mark.parametrize(
    ("centre", "size", "offset"),
    [
        ((49.5, 29.5), (100, 60), (0, 0)),
        ((50.5, 28.5), (102, 62), (0, 2)),
        ((49.75, 29.5), (101, 60), (0.25, 0)),
    ],
)
def test_canvases_put_the_principal_point_in_the_middle(centre, size, offset):
    intrinsics = torch.tensor([[80.0, 0, centre[0]], [0, 80, centre[1]], [0, 0, 1]])
    canvas = centred_canvas(intrinsics.double(), (100, 60))
    assert canvas.size == size
    assert canvas.offset == pytest.approx(offset, abs=1e-6)
    picture = np.random.default_rng(1).integers(0, 255, (60, 100, 3), np.uint8)
    placed = canvas.place(picture, 255)
    assert placed.shape == (size[1], size[0], 3)
    if offset[0] == int(offset[0]):
        rows, columns = slice(int(offset[1]), None), slice(int(offset[0]), None)
        np.testing.assert_array_equal(placed[rows, columns][:60, :100], picture)
        assert (placed[:, 100:] == 255).all()


def test_fractional_canvases_move_a_ramp_by_that_fraction():
    ramp = np.tile(np.arange(0, 200, 2, dtype=np.uint8), (60, 1))
    intrinsics = torch.tensor([[80.0, 0, 49.75], [0, 80, 29.5], [0, 0, 1]]).double()
    placed = centred_canvas(intrinsics, (100, 60)).place(ramp, 0)
    inner = placed[5:-5, 5:-5].astype(float)
    expected = 2 * (np.arange(5, 96) - 0.25)
    assert np.abs(inner - expected).max() <= 0.5


def test_warps_follow_a_homography():
    y, x = np.mgrid[:SIDE, :SIDE]
    picture = np.dstack([2 * x, 2 * y, 0 * x]).astype(np.uint8)
    matrix = torch.tensor([[0.9, 0.05, 8.0], [-0.04, 1.1, 3.0], [1e-3, -5e-4, 1]]).double()
    warped = warp(picture, matrix, (60, 50), fill=0).astype(float)
    row, column = np.mgrid[2:48, 2:58]
    u, v, w = matrix.numpy() @ np.stack([column, row, np.ones_like(row)]).reshape(3, -1)
    expected = np.stack([u / w, v / w], 1).reshape(*row.shape, 2)
    inside = ((expected > 3) & (expected < SIDE - 4)).all(-1)
    assert inside.sum() > 1000
    shown = warped[2:48, 2:58, :2] / 2
    # Half a level is 0.25 px; the bicubic kernel follows a ramp to 0.06 px.
    assert np.abs(shown - expected)[inside].max() < 0.32
    assert np.abs((shown - expected)[inside].mean(0)).max() < 0.01


def test_memory_does_not_grow_with_the_clip(clip, tmp_path, monkeypatch):
    """Pictures are read one by one, never more than one at a time."""
    from artifacts.store import ArtifactReader

    rows = []
    read = ArtifactReader.read

    def watched(self, name, rows_=()):
        if name in ("image", "alpha"):
            rows.append(rows_)
        return read(self, name, rows_)

    monkeypatch.setattr(ArtifactReader, "read", watched)
    for name in FORMATS:
        export(clip, tmp_path / name, name)
    assert rows
    assert all(isinstance(row, int) for row in rows)


def test_options_in_the_log(clip, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        export(clip, tmp_path / "out", "obj")
    assert "obj: 7 training and 2 test frames of 10 (head model flame_like)" in caplog.text
