import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from artifacts.errors import InputError
from benchmarks.synthetic_accuracy import parse_fits, summarise, write_tables
from benchmarks.synthetic_measures import (
    rigid_errors_m,
    rotation_errors_deg,
    shake_permille,
    surface_distances_m,
)
from head_geometry.landmark_sets import MEDIAPIPE
from head_geometry.rotations import matrix_from_axis_angle
from head_geometry.surface import nearest_on_surface


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def rotations(random, count, size=1.0):
    turns = size * torch.randn(count, 3, generator=random, dtype=torch.float64)
    return matrix_from_axis_angle(turns)


def test_rigid_errors_do_not_see_motion_and_with_scale_not_size(random):
    true = torch.randn(4, 30, 3, generator=random, dtype=torch.float64)
    moved = true @ rotations(random, 4).mT + torch.randn(4, 1, 3, generator=random).double()
    assert float(rigid_errors_m(moved, true, scaled=False).max()) < 1e-9
    assert float(rigid_errors_m(1.1 * moved, true, scaled=True).max()) < 1e-9
    assert float(rigid_errors_m(1.1 * moved, true, scaled=False).mean()) > 0.1
    # One factor for all frames: a size that changes from frame to frame is an error.
    breathing = moved * torch.tensor([0.9, 1.1, 0.9, 1.1])[:, None, None].double()
    assert float(rigid_errors_m(breathing, true, scaled=True).mean()) > 0.05


def test_rigid_errors_of_a_mirror_image_are_not_zero(random):
    true = torch.randn(1, 30, 3, generator=random, dtype=torch.float64)
    mirrored = true * torch.tensor([-1.0, 1, 1]).double()
    assert float(rigid_errors_m(mirrored, true, scaled=True).mean()) > 0.1


def test_rotation_errors_are_angles_and_without_the_mean_constant_offsets_vanish(random):
    true = rotations(random, 12)
    offset = matrix_from_axis_angle(torch.tensor([[0.0, np.radians(5), 0]]).double())
    found = true @ offset
    assert rotation_errors_deg(found, true, remove_mean=False).tolist() == pytest.approx([5] * 12)
    assert float(rotation_errors_deg(found, true, remove_mean=True).max()) < 1e-5
    shaken = found @ rotations(random, 12, 0.02)
    assert float(rotation_errors_deg(shaken, true, remove_mean=True).mean()) > 0.5


def test_shake_sees_neither_true_motion_nor_drift_and_skips_lost_frames(random):
    true = torch.randn(10, 478, 2, generator=random, dtype=torch.float64)
    right, left = MEDIAPIPE.eye_corners
    true[:, right], true[:, left] = torch.tensor([0.0, 0]).double(), torch.tensor([100.0, 0])
    usable, valid = torch.ones(478, dtype=torch.bool), torch.ones(10, dtype=torch.bool)
    drift = 0.3 * torch.arange(10).double()[:, None, None]
    assert shake_permille(true + 5 + drift, true, usable, valid) == pytest.approx(0, abs=1e-5)
    # Half a pixel to and fro along x: second differences of 2 px of 100.
    trembling = true.clone()
    trembling[..., 0] += torch.tensor([0.5, -0.5] * 5)[:, None]
    expected = 1e3 * 2 / 100
    assert shake_permille(trembling, true, usable, valid) == pytest.approx(expected)
    once = true.clone()
    once[4] += 50
    valid[4] = False
    assert shake_permille(once, true, usable, valid) == pytest.approx(0, abs=1e-5)


def test_surface_distances_find_the_surface_again(random):
    # A bumpy height field, and points of it that were carried away.
    x, y = torch.meshgrid(*[torch.linspace(-1, 1, 24)] * 2, indexing="ij")
    z = 0.4 * torch.sin(2.5 * x) * torch.cos(3 * y + 1)
    vertices = torch.stack([x, y, z], -1).reshape(-1, 3).double().numpy()
    index = np.arange(24 * 24).reshape(24, 24)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangle = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)]
    )
    points = vertices[triangle[100:900:3]].mean(1)
    landmarks = vertices[[30, 200, 380, 500]]
    turn = rotations(random, 1)[0].numpy()

    def carry(places):
        return places @ turn.T + [3.0, -1, 2]

    start = (carry(landmarks), landmarks + 0.005)
    assert surface_distances_m(carry(points), vertices, triangle, start).mean() < 1e-3
    lifted = surface_distances_m(carry(points * [1, 1, 1.3]), vertices, triangle, start)
    assert lifted.mean() > 5e-3
    assert nearest_on_surface(points, vertices, triangle, np.arange(len(triangle)))[0].min() >= 0


def test_fits_are_named_and_have_options():
    fits = parse_fits(("landmarks=", "rigid=--no-landmark-offsets --identities 10"))
    assert fits == {"landmarks": [], "rigid": ["--no-landmark-offsets", "--identities", "10"]}


@pytest.mark.parametrize("words", [("landmarks",), ("a b=",), ("one=", "one=--x"), ("../up=",)])
def test_fits_without_a_name_are_refused(words):
    with pytest.raises(InputError, match="--fits"):
        parse_fits(words)


def test_tables_have_mean_median_and_p90(tmp_path):
    rows = [
        {"seed": seed, "head model": "anny", "fit": fit, "face mm": float(seed)}
        for fit in ("landmarks", "photometric")
        for seed in range(11)
    ]
    table = pd.DataFrame(rows)
    summary = summarise(table)["face mm"]
    assert summary["anny", "landmarks"].to_dict() == {"mean": 5.0, "median": 5.0, "p90": 9.0}
    write_tables(tmp_path / "accuracy", table)
    assert len(pd.read_csv(tmp_path / "accuracy.csv")) == 22
    text = (tmp_path / "accuracy.md").read_text()
    assert "11 synthetic people" in text
    assert "anny, photometric, p90" in text
