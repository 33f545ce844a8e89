"""What moving along a direction changes: closed forms on points that are moved on purpose."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from artifacts.errors import InputError
from artifacts.kinds import LANDMARKS, RENDER
from artifacts.store import write_artifact
from evaluation.navigation import COLUMNS, Options, align, displacements, main
from head_geometry.landmark_sets import MEDIAPIPE

SIDE = 32
AMOUNTS = (-1.0, 0.0, 1.0)


def face(seed=0):
    points = np.random.default_rng(seed).uniform(4, 28, (478, 2))
    points[[33, 263]] = [[8, 12], [24, 12]]
    return points


def test_a_similarity_is_undone():
    rest = face()
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    moved = 1.3 * rest @ turn.T + [5, -2]
    assert np.allclose(align(moved, rest, list(range(478))), rest, atol=1e-9)
    assert displacements(moved, rest, MEDIAPIPE) == pytest.approx((0, 0), abs=1e-9)


def test_lips_are_expression_and_the_rest_is_identity():
    rest = face()
    spoken = rest.copy()
    spoken[list(MEDIAPIPE.lips)] += [0, 1.6]
    change, drift = displacements(spoken, rest, MEDIAPIPE)
    moving = len({*MEDIAPIPE.lips, *MEDIAPIPE.eyelids})
    assert change == pytest.approx(0.1 * np.sqrt(len(MEDIAPIPE.lips) / moving))
    assert drift == pytest.approx(0, abs=1e-9)
    other = rest.copy()
    cheek = 50
    assert cheek not in {*MEDIAPIPE.lips, *MEDIAPIPE.eyelids, *MEDIAPIPE.outline}
    other[cheek] += 3
    assert displacements(other, rest, MEDIAPIPE)[1] > 0.005


def write_sweep(folder, n_valid=6):
    count = 2 * len(AMOUNTS)
    head = np.full((count, SIDE, SIDE, 3), 100, np.uint8)
    head[2, ..., 0] += 51
    opacity = np.full((count, SIDE, SIDE), 255, np.uint8)
    arrays = {
        "image": head,
        "person": head,
        "head": head,
        "person_alpha": opacity,
        "head_alpha": opacity,
        "driver_frame": np.zeros(count, np.int32),
        "time_s": np.arange(count) / 25,
        "render_time_s": np.zeros(count, np.float32),
        "direction": np.repeat([0, 1], len(AMOUNTS)).astype(np.int32),
        "amount": np.tile(AMOUNTS, 2).astype(np.float32),
    }
    write_artifact(folder / "render.h5", RENDER, arrays, {"step": "test"})
    points = np.zeros((count, 478, 3), np.float32)
    points[..., :2] = face()
    points[0, list(MEDIAPIPE.lips), 1] += 2
    landmarks = {
        "points": points,
        "confidence": np.ones(count, np.float32),
        "valid": np.arange(count) < n_valid,
        "image_size": np.array([SIDE, SIDE], np.int32),
    }
    write_artifact(folder / "landmarks.h5", LANDMARKS, landmarks, {"step": "test"})
    return arrays


def options(folder):
    return Options(
        folder / "render.h5", folder / "landmarks.h5", folder / "n.csv", folder / "n.png"
    )


def test_the_step_writes_a_row_per_picture_and_a_grid(tmp_path):
    write_sweep(tmp_path, n_valid=5)
    main(options(tmp_path))
    with (tmp_path / "n.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [(int(r["direction"]), float(r["amount"])) for r in rows] == [
        (0, -1),
        (0, 1),
        (1, -1),
        (1, 1),
    ]
    assert float(rows[0]["expression_change"]) > 0.05
    assert float(rows[0]["identity_drift"]) == pytest.approx(0, abs=1e-5)
    # A third of the numbers of a pixel differ by a fifth: their median does not.
    assert float(rows[1]["colour_drift"]) == 0
    assert rows[3]["identity_drift"] == ""
    grid = np.asarray(Image.open(tmp_path / "n.png"))
    assert grid.shape[1] > 3 * 96
    assert grid.shape[0] > 2 * 96


def test_no_face_at_all_is_a_result(tmp_path):
    write_sweep(tmp_path, n_valid=0)
    main(options(tmp_path))
    with (tmp_path / "n.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["expression_change"] for row in rows] == [""] * 4
    assert all(row["colour_drift"] for row in rows)


def test_a_render_of_another_mode_is_refused(tmp_path):
    arrays = write_sweep(tmp_path)
    arrays |= {"direction": np.zeros(0, np.int32), "amount": np.zeros(0, np.float32)}
    write_artifact(tmp_path / "render.h5", RENDER, arrays, {"step": "test"})
    with pytest.raises(InputError, match="moves along no direction"):
        main(options(tmp_path))
