"""A subject's own expressions, found from a head whose smile and jaw differ from the model's by a known field."""

import numpy as np
import pytest
import torch
from synthetic_head import make_synthetic_head

from artifacts.errors import InputError
from head_geometry.cameras import project
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing.fitting.clip import FitSettings, landmark_nme, observe, offset_precision, weigh
from preprocessing.fitting.expressions import find_own_expressions, spread_over_mesh
from preprocessing.fitting.landmarks import eye_corner_distance_px
from preprocessing.fitting.model import FRONTAL, FitState, make_landmark_model

SETTINGS = FitSettings(identities=8)
CENTRE = torch.tensor([250.0, 240.0], dtype=torch.float64)
FRAMES = 80


@pytest.fixture(scope="module")
def head():
    return make_synthetic_head()


def own_field(head) -> torch.Tensor:
    """A smooth change of two expressions: a bump of 2 mm on either cheek; eyes and teeth stay."""
    field = torch.zeros_like(head.expression_basis)
    for which, side in ((0, -1.0), (2, 1.0)):
        centre = torch.tensor([side * 0.03, -0.02, 0.08])
        reach = torch.exp(-(head.template - centre).square().sum(1) / 0.04**2)
        field[which] = 0.002 * reach[:, None] * torch.tensor([0.3, 1.0, 0.2])
    inner = [part for part in ("eye_left", "eye_right", "teeth") if part in head.part_name]
    field[:, head.part_vertices(*inner)] = 0
    return field


@pytest.fixture(scope="module")
def clip(head):
    """The true state and points of a subject with expressions of its own, and the model that does not know them."""
    generator = torch.Generator().manual_seed(3)
    own = head.personal(torch.zeros(0, 3), own_field(head)).to(dtype=torch.float64)
    model = weigh(make_landmark_model(head, 8), SETTINGS)
    frame = torch.zeros(FRAMES, model.unknowns, dtype=torch.float64)
    n = model.expressions
    frame[:, :n] = torch.rand(FRAMES, n, generator=generator, dtype=torch.float64)
    frame[:, -6:-3] = 0.25 * torch.randn(FRAMES, 3, generator=generator, dtype=torch.float64)
    frame[:, -1] = 0.8
    identity = 0.5 * torch.randn(8, generator=generator, dtype=torch.float64)
    joints = torch.zeros(FRAMES, len(head.joint_name), 3, dtype=torch.float64)
    points = own.mediapipe_points(own.vertices(identity, frame[:, :n], joints))
    camera = points @ (matrix_from_axis_angle(frame[:, -6:-3]) @ FRONTAL).mT + frame[:, None, -3:]
    intrinsics = torch.diag(torch.tensor([900.0, 900.0, 1.0], dtype=torch.float64))
    intrinsics[:2, 2] = CENTRE
    pixels = project(camera, intrinsics)
    offset = torch.zeros(len(model.index), 3, dtype=torch.float64)
    return model, FitState(identity, torch.tensor(np.log(900.0)), offset, frame), pixels.numpy()


def found_from(clip, valid=None):
    model, state, pixels = clip
    valid = np.ones(FRAMES, dtype=bool) if valid is None else valid
    seen = observe(model, pixels, valid, CENTRE, SETTINGS)
    precision = offset_precision(model, SETTINGS)
    return seen, *find_own_expressions(model, state, seen, precision)


def test_the_difference_is_found_where_it_is_and_nowhere_else(head, clip):
    model, *_ = clip
    _, own, state = found_from(clip)
    found = torch.zeros(model.expressions, len(model.index), 3, dtype=torch.float64)
    found[own.expression] = own.difference
    wanted = make_landmark_model(head.personal(torch.zeros(0, 3), own_field(head)), 8).expression
    wanted = wanted - model.expression
    # Openings are held and the outline hardly counts: compare elsewhere, with what the ridge leaves.
    free = offset_precision(model, SETTINGS) == offset_precision(model, SETTINGS).min()
    free &= model.weight[: len(free)] > 0.5 * model.weight[: len(free)].median()
    size = torch.linalg.vector_norm(wanted[[0, 2]][:, free], dim=-1).max()
    error = torch.linalg.vector_norm((found - wanted)[:, free], dim=-1)
    assert size > 0.0015
    assert error.max() < 0.4 * size
    others = [i for i in range(model.expressions) if i not in (0, 2)]
    assert error[others].max() < 0.1 * size
    assert state.offset[free].norm(dim=-1).mean() < 0.05 * size


def test_the_mesh_carries_the_landmarks_and_the_eyes_stay(head, clip):
    model, state, pixels = clip
    seen, own, solved = found_from(clip)
    field = spread_over_mesh(head, model, own)
    personal = head.personal(torch.zeros(0, 3), field)
    known = weigh(make_landmark_model(personal, 8), SETTINGS)
    corner = torch.from_numpy(eye_corner_distance_px(pixels, model.landmarks))
    before = landmark_nme(model, state, seen, corner).median()
    after = landmark_nme(known, solved, seen, corner).median()
    assert after < 0.35 * before
    assert field[:, head.part_vertices("eye_left", "eye_right")].abs().max() < 1e-4
    skin = own_field(head)[0].norm(dim=-1) > 0.001
    assert (field[0] - own_field(head)[0])[skin].norm(dim=-1).mean() < 0.0007


def test_frames_without_a_face_say_nothing(clip):
    model, state, pixels = clip
    valid = np.arange(FRAMES) % 10 != 0
    damaged = pixels.copy()
    damaged[~valid] = 1e4
    _, damaged_own, _ = found_from((model, state, damaged), valid)
    _, own, _ = found_from(clip, valid)
    torch.testing.assert_close(damaged_own.difference, own.difference)


def test_expressions_of_another_head_model_are_refused(head):
    with pytest.raises(InputError, match="own expressions"):
        head.personal(torch.zeros(0, 3), torch.zeros(2, 7, 3))
