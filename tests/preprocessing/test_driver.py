"""The step ``driver``: recordings of other tools become a motion that drives an avatar."""

import csv
import json

import numpy as np
import pytest
import torch
from exported import INVALID, make_clip
from scipy.spatial.transform import Rotation

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES, HEAD_MODEL
from artifacts.store import read_artifact, write_artifact
from avatar_models.dataset import DrivingClip
from avatar_models.driving import cross_driving
from preprocessing.driver import Options, main
from preprocessing.exporting.arkit import (
    ANGLES,
    EXPRESSIONS,
    angles_from_matrix,
    column,
    matrix_from_angles,
    timecode,
)
from preprocessing.importing.arkit import read_arkit, seconds_from_timecodes
from preprocessing.importing.motion import Motion, resample

HEADER = ["Timecode", "BlendShapeCount", *map(column, EXPRESSIONS), *ANGLES]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip"), flame_like=False)


def make_driver(clip, tmp_path, **changes):
    options = {
        "head_model": clip.options["head_model"],
        "out": tmp_path / "face_fit.h5",
        "frames": tmp_path / "frames.h5",
        **changes,
    }
    main(Options(**options))
    return read_artifact(options["out"], FACE_FIT)


def write_csv(path, rows, header=HEADER):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def rows_at(rate_hz, seconds, value=lambda t: 0.0):
    """Rows of a recording whose every number is ``value`` of the time."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return [[timecode(3600 + t, rate_hz), 61, *[value(t)] * 61] for t in times]


def test_an_export_comes_back_from_live_link_face(clip, tmp_path):
    path = clip.write("arkit") / "live_link_face.csv"
    fit = make_driver(clip, tmp_path, arkit=path, source_rate_hz=25.0)
    assert not fit["identity"].any()
    assert len(fit["valid"]) == len(clip.fit["valid"])
    names = list(clip.head.joint_name)
    camera = clip.fit["camera_from_world"] @ clip.fit["world_from_head"]
    skull = Rotation.from_rotvec(clip.fit["joint_rotation"][:, names.index("head")]).as_matrix()
    for frame in clip.kept:
        np.testing.assert_allclose(
            fit["expression"][frame], clip.fit["expression"][frame], atol=1e-6
        )
        # Live Link Face knows one rotation of the head; ours is that of the root and of the joint.
        np.testing.assert_allclose(
            fit["world_from_head"][frame, :3, :3], camera[frame, :3, :3] @ skull[frame], atol=1e-6
        )
        for eye in ("eye_left", "eye_right"):
            joint = names.index(eye)
            np.testing.assert_allclose(
                fit["joint_rotation"][frame, joint],
                clip.fit["joint_rotation"][frame, joint],
                atol=1e-6,
            )
    before, after = fit["expression"][[INVALID - 1, INVALID + 1]]
    np.testing.assert_allclose(fit["expression"][INVALID], (before + after) / 2, atol=1e-6)


def test_an_export_comes_back_from_nerface(clip, tmp_path):
    path = clip.write("nerface") / "transforms_test.json"
    fit = make_driver(clip, tmp_path, nerface=path)
    camera = clip.fit["camera_from_world"] @ clip.fit["world_from_head"]
    np.testing.assert_allclose(fit["world_from_head"], camera[clip.test], atol=1e-9)
    for name in ("expression", "joint_rotation"):
        np.testing.assert_allclose(fit[name], clip.fit[name][clip.test], atol=1e-6)
    frames = read_artifact(tmp_path / "frames.h5", FRAMES)
    np.testing.assert_allclose(frames["time_s"], np.arange(2) / 25)
    assert frames["image"].shape == (2, 0, 0, 3)


def test_it_drives_another_subject(clip, tmp_path):
    make_driver(clip, tmp_path, nerface=clip.write("nerface") / "transforms_train.json")
    subject = DrivingClip.load(clip.options["head_model"], clip.options["face_fit"], (32, 32))
    driver = DrivingClip.load(clip.options["head_model"], tmp_path / "face_fit.h5", (32, 32))
    driven = list(cross_driving(subject, driver, np.arange(driver.n_frames)))
    moved = torch.stack([signal.vertices for signal in driven])
    assert moved.std(0).max() > 1e-3
    assert torch.isfinite(moved).all()


def test_negative_focal_lengths_mirror_the_motion(clip, tmp_path):
    content = json.loads((clip.write("nerface") / "transforms_test.json").read_text())
    content["intrinsics"][0] *= -1
    path = tmp_path / "mirrored.json"
    path.write_text(json.dumps(content))
    fit = make_driver(clip, tmp_path, nerface=path)
    camera = (clip.fit["camera_from_world"] @ clip.fit["world_from_head"])[clip.test]
    mirror = np.diag([-1.0, 1, 1, 1])
    np.testing.assert_allclose(fit["world_from_head"], mirror @ camera @ mirror, atol=1e-9)


def test_angles_have_the_signs_of_the_app():
    right = Rotation.from_euler("y", -0.3).as_matrix()
    up = Rotation.from_euler("x", -0.2).as_matrix()
    tilted = Rotation.from_euler("z", 0.1).as_matrix()
    angles = angles_from_matrix(torch.from_numpy(np.stack([right, up, tilted])))
    np.testing.assert_allclose(angles, np.diag([0.3, 0.2, 0.1]), atol=1e-12)
    # The nose points to the subject's right (-x), then up (+y); the crown tilts to the right.
    assert (right @ [0, 0, 1])[0] < 0
    assert (up @ [0, 0, 1])[1] > 0
    assert (tilted @ [0, 1, 0])[0] < 0
    given = np.random.default_rng(2).uniform(-1, 1, (20, 3))
    back = angles_from_matrix(torch.from_numpy(matrix_from_angles(given)))
    np.testing.assert_allclose(back, given, atol=1e-12)


@pytest.mark.parametrize(("rate", "wanted"), [(60.0, 25.0), (30.0, 25.0), (24.0, 60.0)])
def test_other_rates_are_resampled(clip, tmp_path, rate, wanted):
    path = write_csv(tmp_path / "a.csv", rows_at(rate, 2.0, lambda t: 0.2 + 0.1 * t))
    fit = make_driver(clip, tmp_path, arkit=path, frame_rate_hz=wanted)
    count = int((2.0 - 1 / rate) * wanted + 1e-6) + 1
    jaw = list(clip.head.expression_name).index("jawOpen")
    np.testing.assert_allclose(
        fit["expression"][:, jaw], 0.2 + 0.1 * np.arange(count) / wanted, atol=1e-5
    )
    assert fit["valid"].all()


def test_the_recordings_own_rate(clip, tmp_path):
    path = write_csv(tmp_path / "a.csv", rows_at(50.0, 1.5))
    make_driver(clip, tmp_path, arkit=path, frame_rate_hz=0.0)
    frames = read_artifact(tmp_path / "frames.h5", FRAMES)
    assert float(frames["frame_rate_hz"]) == pytest.approx(50)
    assert len(frames["time_s"]) == 75


def test_lost_faces_are_bridged_and_marked(clip, tmp_path):
    rows = rows_at(60.0, 2.0, lambda t: t / 4)
    for row in rows[30:60]:
        row[1:] = ["0"]
    fit = make_driver(clip, tmp_path, arkit=write_csv(tmp_path / "a.csv", rows))
    jaw = list(clip.head.expression_name).index("jawOpen")
    np.testing.assert_allclose(
        fit["expression"][:, jaw], np.arange(len(fit["valid"])) / 100, atol=1e-5
    )
    assert 10 <= (~fit["valid"]).sum() <= 13
    assert fit["valid"][[0, 11, 26, -1]].all()


def test_midnight_and_tracks_of_half_turns(tmp_path):
    codes = ["23:59:59:58.000", "23:59:59:59.500", "00:00:00:00.000", "00:00:00:02.000"]
    seconds = seconds_from_timecodes(tmp_path, codes, 0.0)
    np.testing.assert_allclose(seconds, np.array([0, 1.5, 2, 4]) / 60, atol=1e-6)
    path = write_csv(tmp_path / "a.csv", rows_at(60.0, 1.5, lambda t: 0.1))
    motion = read_arkit(path, 0.0, np.pi)
    expected = matrix_from_angles(np.full((1, 3), 0.1 * np.pi))[0]
    np.testing.assert_allclose(motion.joint_rotation["eye_left"][0], expected)


def test_columns_in_any_order_and_case(clip, tmp_path):
    order = np.random.default_rng(3).permutation(len(HEADER))
    row = dict(zip(HEADER, range(len(HEADER)), strict=True)) | {"BlendShapeCount": 61}
    rows = []
    for code in ("00:00:00:29.0", "00:00:01:00.0"):
        values = row | {"Timecode": code, "JawOpen": 0.25}
        values |= dict.fromkeys(ANGLES, 0.0)
        rows.append([values[HEADER[i]] for i in order])
    path = write_csv(tmp_path / "a.csv", rows, [HEADER[i].upper() for i in order])
    motion = read_arkit(path, 0.0, 1.0)
    assert motion.expression[:, EXPRESSIONS.index("jawOpen")].tolist() == [0.25, 0.25]


def test_resampling_turns_the_short_way():
    turns = Rotation.from_euler("y", [[3.0], [-3.0]]).as_matrix().reshape(2, 3, 3)
    motion = Motion(
        np.array([0.0, 0.2]), np.ones(2, bool), (), np.zeros((2, 0)), turns, np.zeros((2, 3)), {}
    )
    halfway = Rotation.from_matrix(resample(motion, 10.0).rotation[1])
    assert abs(halfway.as_rotvec()[1]) == pytest.approx(np.pi, abs=1e-6)


# --- bad input ----------------------------------------------------------------------------------


def test_one_recording_is_wanted(clip, tmp_path):
    with pytest.raises(InputError, match="give one recording"):
        make_driver(clip, tmp_path)
    with pytest.raises(InputError, match="give one recording"):
        make_driver(clip, tmp_path, arkit=tmp_path, nerface=tmp_path)
    with pytest.raises(InputError, match="must be 0 or more"):
        make_driver(clip, tmp_path, arkit=tmp_path, frame_rate_hz=-1.0)


def with_cell(rows, line, place, text):
    rows[line][place] = text
    return rows


# Case to the lines of a table, from those of a good one.
BAD_ROWS = {
    "columns": lambda rows: [HEADER[:-9], *(row[:-9] for row in rows)],
    "rows": lambda rows: [HEADER],
    "words": lambda rows: [HEADER, *with_cell(rows, 4, 9, "wide open")],
    "infinite": lambda rows: [HEADER, *with_cell(rows, 4, 9, "inf")],
    "code": lambda rows: [HEADER, *with_cell(rows, 4, 0, "12.5 s")],
    "short": lambda rows: [HEADER, *rows[:20]],
    "backwards": lambda rows: [HEADER, rows[80], rows[3], rows[70]],
    "faceless": lambda rows: [HEADER, *([row[0], 0] for row in rows)],
}
BAD_BYTES = {"empty": b"", "binary": bytes(range(256))}


def bad_csv(tmp_path, case):
    path = tmp_path / "bad.csv"
    if case in BAD_ROWS:
        header, *rows = BAD_ROWS[case](rows_at(60.0, 1.5))
        write_csv(path, rows, header)
    elif case in BAD_BYTES:
        path.write_bytes(BAD_BYTES[case])
    return path


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("columns", r"has no column HeadYaw, HeadPitch, .* and others"),
        ("rows", "has no rows below its header"),
        ("words", r"line 6 holds no number .*wide open"),
        ("infinite", "line 6 holds a number that is not finite"),
        ("code", r"line 6 has the time code '12.5 s', expected HH:MM:SS:FF"),
        ("short", "do not tell the frame rate; give it with --source-rate-hz"),
        ("backwards", "times do not increase"),
        ("faceless", "only 0 frames of the recording show a tracked face"),
        ("empty", "is empty"),
        ("binary", "is no CSV text"),
        ("missing", "no such file"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(clip, tmp_path, case, sentence):
    with pytest.raises(InputError, match=sentence):
        make_driver(clip, tmp_path, arkit=bad_csv(tmp_path, case))
    assert not list(tmp_path.glob("*.h5*"))


def each_frame(content, **changes):
    return content | {"frames": [frame | changes for frame in content["frames"]]}


def without(content, key, frames):
    for frame in content["frames"][frames]:
        del frame[key]
    return content


def ragged(content):
    content["frames"][1]["expression"].pop()
    return content


BAD_CONTENT = {
    "kind": lambda content: {"labels": [["a.png", [0] * 25]]},
    "list": lambda content: [1, 2],
    "key": lambda content: without(content, "transform_matrix", slice(1, 2)),
    "ragged": ragged,
    "shape": lambda content: each_frame(content, transform_matrix=[[1.0]]),
    "scaled": lambda content: each_frame(content, transform_matrix=(3 * np.eye(4)).tolist()),
    "rate": lambda content: {"frames": without(content, "time_s", slice(None))["frames"]},
    "names": lambda content: content | {"expression_name": [f"blend{i}" for i in range(5)]},
}


def bad_json(clip, tmp_path, case):
    path = tmp_path / "bad.json"
    content = json.loads((clip.write("nerface") / "transforms_test.json").read_text())
    if case in BAD_CONTENT:
        path.write_text(json.dumps(BAD_CONTENT[case](content)))
    elif case == "text":
        path.write_text("{frames: }")
    return path


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("kind", "holds no list of frames"),
        ("list", "holds no list of frames"),
        ("key", "a frame has no transform_matrix"),
        ("ragged", "expression does not hold equally many numbers"),
        ("shape", "transform_matrix holds other numbers"),
        ("scaled", "is no rigid motion"),
        ("rate", "does not say its frame rate"),
        ("names", "has none of the recording's 5 expressions"),
        ("text", "is no JSON text"),
        ("missing", "no such file"),
    ],
)
def test_bad_transforms_are_refused_in_one_sentence(clip, tmp_path, case, sentence):
    with pytest.raises(InputError, match=sentence):
        make_driver(clip, tmp_path, nerface=bad_json(clip, tmp_path, case))


def test_motion_without_expressions(clip, tmp_path):
    path = bad_json(clip, tmp_path, "names")
    fit = make_driver(clip, tmp_path, nerface=path, expressions=False)
    assert not fit["expression"].any()
    assert fit["joint_rotation"].any()


def test_lost_expressions_are_said(clip, tmp_path, caplog):
    make_driver(clip, tmp_path, arkit=write_csv(tmp_path / "a.csv", rows_at(60.0, 1.5)))
    assert "has no eyeLookDownLeft" in caplog.text


def test_coefficients_stay_within_the_head_models_limits(clip, tmp_path):
    arrays = read_artifact(clip.options["head_model"], HEAD_MODEL)
    arrays["expression_upper"] = np.full_like(arrays["expression_upper"], 0.5)
    path = tmp_path / "head.h5"
    write_artifact(path, HEAD_MODEL, arrays, {"step": "tests", "options": {}})
    table = write_csv(tmp_path / "a.csv", rows_at(60.0, 1.5, lambda t: 0.9))
    fit = make_driver(clip, tmp_path, arkit=table, head_model=path)
    assert fit["expression"].max() == 0.5
