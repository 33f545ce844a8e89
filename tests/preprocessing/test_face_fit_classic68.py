"""The face fit on the classic 68 points, which have no irises and whose jaw slides."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic_head import make_synthetic_head
from test_face_fit import CENTRE, FOCAL, Truth, make_truth, write_head, write_inputs

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT
from artifacts.store import read_artifact
from head_geometry.cameras import project
from head_geometry.landmark_sets import MEDIAPIPE, SPARSE68, landmark_set_of
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing import face_fit
from preprocessing.fitting.landmarks import landmark_weights, opening_pairs
from preprocessing.fitting.model import FRONTAL, make_landmark_model


@pytest.fixture(scope="module")
def head():
    return make_synthetic_head()


@pytest.fixture(scope="module")
def truth(head) -> Truth:
    """The motion of the other test, seen as 68 points; the jaw points are anywhere on the jaw."""
    truth = make_truth(head)
    model = head.to(dtype=torch.float64)
    joints = torch.zeros(len(truth.rotation), 4, 3, dtype=torch.float64)
    joints[:, 2:, :2] = truth.gaze[:, None]
    vertices = model.vertices(truth.identity, truth.expression, joints)
    points = model.landmark_points(vertices, SPARSE68)
    generator = np.random.default_rng(3)
    slid = [point for point in SPARSE68.outline if point != SPARSE68.chin]
    points[:, slid] += torch.from_numpy(generator.normal(size=(len(points), len(slid), 3))) * 0.02
    turn = matrix_from_axis_angle(truth.rotation) @ FRONTAL
    camera = points @ turn.mT + truth.translation[:, None]
    intrinsics = torch.tensor([[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1.0]]).double()
    pixels = project(camera, intrinsics).numpy()
    return replace(truth, points=pixels + generator.normal(size=pixels.shape) * 0.3)


@pytest.fixture(scope="module")
def fitted(head, truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classic68")
    write_head(folder / "head.h5", head)
    write_inputs(folder, truth)
    options = face_fit.Options(
        landmarks=folder / "landmarks.h5",
        head_model=folder / "head.h5",
        out=folder / "face_fit.h5",
        frames=folder / "frames.h5",
        identities=8,
    )
    face_fit.main(options)
    return options, read_artifact(options.out, FACE_FIT)


def test_pose_and_expression_are_recovered_and_the_gaze_rests(head, truth, fitted):
    _, fit = fitted
    assert fit["landmark_offset"].shape == (68, 3)
    assert float(np.median(fit["nme"])) < 0.02
    rotation = matrix_from_axis_angle(truth.rotation) @ FRONTAL
    between = rotation.mT @ torch.from_numpy(fit["world_from_head"][:, :3, :3])
    angle = torch.arccos(((torch.einsum("fii->f", between) - 1) / 2).clamp(-1, 1))
    assert float(angle.median()) < np.deg2rad(2)
    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft"):
        column = head.expression_name.index(name)
        likeness = np.corrcoef(fit["expression"][:, column], truth.expression[:, column])[0, 1]
        assert likeness > 0.9, name
    assert not fit["joint_rotation"].any()


def test_only_the_chin_of_the_outline_is_compared(head):
    model = make_landmark_model(head, 8, SPARSE68)
    compared = set(model.index.tolist())
    assert compared & set(SPARSE68.outline) == {SPARSE68.chin}
    assert len(compared) == 52
    assert len(model.pair) == len(SPARSE68.lip_pairs) + len(SPARSE68.eyelid_pairs)


def test_expressions_that_move_the_irises_are_held_whoever_detects(head):
    basis = head.expression_basis.clone()
    eyes = head.part_vertices("eye_left", "eye_right")
    held = head.expression_name.index("cheekPuff")
    basis[held, eyes, 0] = 0.01
    looking = replace(head, expression_basis=basis)
    for landmarks in (MEDIAPIPE, SPARSE68):
        model = make_landmark_model(looking, 8, landmarks)
        assert model.upper[held] == 0
        assert (model.upper > 0).sum() == len(head.expression_name) - 1


def test_a_missing_gaze_is_said(fitted, caplog, tmp_path):
    options, _ = fitted
    with caplog.at_level("INFO"):
        face_fit.main(replace(options, out=tmp_path / "again.h5"))
    assert "these landmarks have no irises, the gaze stays at rest" in caplog.text


def test_renders_need_the_landmarks_of_their_subject(head, fitted, tmp_path):
    options, subject = fitted
    held = replace(options, frames=None, subject_fit=options.out, out=tmp_path / "render.h5")
    face_fit.main(held)
    render = read_artifact(tmp_path / "render.h5", FACE_FIT)
    np.testing.assert_array_equal(render["landmark_offset"], subject["landmark_offset"])
    assert np.abs(render["world_from_head"] - subject["world_from_head"]).max() < 0.02
    write_inputs(tmp_path, make_truth(head))
    with pytest.raises(InputError, match=r"the renders have 478 landmarks, but .* fitted to 68;"):
        face_fit.main(replace(held, landmarks=tmp_path / "landmarks.h5"))


@pytest.mark.parametrize("landmarks", [MEDIAPIPE, SPARSE68])
def test_groups_of_a_set_are_its_own_points(landmarks):
    groups = (landmarks.outline, landmarks.lips, landmarks.eyelids, landmarks.irises)
    points = [point for group in groups for point in group]
    assert len(set(points)) == len(points)
    assert max(points) < landmarks.count
    assert {point for pair in landmarks.lip_pairs for point in pair} <= set(landmarks.lips)
    assert {point for pair in landmarks.eyelid_pairs for point in pair} <= set(landmarks.eyelids)
    assert set(landmarks.eye_corners) <= set(landmarks.eyelids)
    assert landmarks.chin in landmarks.outline
    weights = landmark_weights(landmarks)
    assert weights.shape == (landmarks.count,)
    assert weights[list(landmarks.lips)].min() > weights[list(landmarks.outline)].max()
    pairs, pair_weights = opening_pairs(landmarks)
    assert len(pairs) == len(pair_weights)
    assert landmark_set_of(landmarks.count, "a file") is landmarks


def test_another_number_of_points_is_refused():
    with pytest.raises(
        InputError, match=r"^x\.h5: has 98 landmarks, but only sets of 478 .* or 68"
    ):
        landmark_set_of(98, "x.h5")
