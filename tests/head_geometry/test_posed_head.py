from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from artifacts.errors import InputError
from artifacts.kinds import HEAD_MODEL
from artifacts.store import write_artifact
from head_geometry.head_model import HeadModel
from head_geometry.rotations import matrix_from_axis_angle

VERTICES, IDENTITIES, EXPRESSIONS = 30, 5, 4
# The last joint hangs on a child: chains longer than the default model's must work as well.
PARENTS = (-1, 0, 0, 1)


def random_arrays():
    random = np.random.default_rng(0)

    def normal(*shape):
        return random.normal(size=shape).astype(np.float32)

    def shares(*shape):
        return random.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)

    def indices(*shape, limit=VERTICES):
        return random.integers(0, limit, shape).astype(np.int32)

    basis = np.linalg.qr(normal(VERTICES * 3, IDENTITIES))[0].T.reshape(IDENTITIES, VERTICES, 3)
    return {
        "template": normal(VERTICES, 3) * 0.1,
        "identity_basis": basis.astype(np.float32),
        "identity_std": np.linspace(0.3, 0.1, IDENTITIES, dtype=np.float32),
        "expression_basis": normal(EXPRESSIONS, VERTICES, 3) * 0.01,
        "expression_name": ["jawOpen", "mouthClose", "eyeBlinkLeft", "eyeBlinkRight"],
        "expression_lower": np.zeros(EXPRESSIONS, np.float32),
        "expression_upper": np.ones(EXPRESSIONS, np.float32),
        "joint_name": ["head", "neck", "eye_left", "eye_right"],
        "joint_parent": np.array(PARENTS, np.int32),
        "joint_regressor": shares(4, VERTICES),
        "skin_weight": shares(VERTICES, 4),
        "triangle": indices(20, 3),
        "uv": random.random((VERTICES, 2)).astype(np.float32),
        "triangle_uv": indices(20, 3),
        "vertex_part": indices(VERTICES, limit=2),
        "part_name": ["face", "lips"],
        "mirror_vertex": np.arange(VERTICES, dtype=np.int32),
        "mediapipe_face": indices(478, limit=20),
        "mediapipe_barycentric": shares(478, 3),
        "mediapipe_weight": np.ones(478, np.float32),
        "sparse68_face": indices(68, limit=20),
        "sparse68_barycentric": shares(68, 3),
        "corrective_joint": np.array([1, 3], np.int32),
        "pose_corrective": normal(2, 9, VERTICES, 3) * 0.01,
        "joint_expression": normal(EXPRESSIONS, 4, 3) * 0.01,
        "albedo_mean": random.random((VERTICES, 3)).astype(np.float32),
        "albedo_basis": normal(2, VERTICES, 3),
        "albedo_std": np.ones(2, np.float32),
    }


@pytest.fixture(scope="module")
def arrays():
    return random_arrays()


@pytest.fixture
def model(arrays, tmp_path):
    path = tmp_path / "head.h5"
    write_artifact(path, HEAD_MODEL, arrays, {})
    return HeadModel.load(path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("expression", (2, 99)), ("joint_rotation", (2, 99, 3)), ("identity", (99,))],
)
def test_a_fit_is_that_of_its_head_model(model, name, shape):
    fit = {
        "identity": np.zeros(len(model.identity_std), np.float32),
        "expression": np.zeros((2, len(model.expression_name)), np.float32),
        "joint_rotation": np.zeros((2, len(model.joint_name), 3), np.float32),
        "vertex_offset": np.full(model.template.shape, 0.5, np.float32),
        "expression_offset": np.zeros((0, 0, 3), np.float32),
    }
    ours = model.of_subject(fit, Path("fit.h5"))
    torch.testing.assert_close(ours.template, model.template + 0.5)
    fit[name] = np.zeros(shape, np.float32)
    with pytest.raises(InputError, match=r"fit\.h5: .*99 .*give the head model of the fit"):
        model.of_subject(fit, Path("fit.h5"))


def reference_vertices(arrays, identity, expression, turns):
    """One posed head by 4x4 matrices, vertex by vertex, in float64."""
    a = {k: np.asarray(v, np.float64) for k, v in arrays.items() if not isinstance(v, list)}
    n = len(identity)
    neutral = a["template"].copy()
    for amount, std, direction in zip(
        identity, a["identity_std"][:n], a["identity_basis"][:n], strict=True
    ):
        neutral += amount * std * direction
    shaped = neutral + sum(e * b for e, b in zip(expression, a["expression_basis"], strict=True))
    for joint, nine in zip(arrays["corrective_joint"], a["pose_corrective"], strict=True):
        feature = Rotation.from_rotvec(turns[joint]).as_matrix() - np.eye(3)
        shaped += sum(f * d for f, d in zip(feature.ravel(), nine, strict=True))
    world = []
    for joint, parent in enumerate(PARENTS):
        centre = a["joint_regressor"][joint] @ neutral
        centre = centre + expression @ a["joint_expression"][:, joint]
        there, turn, back = np.eye(4), np.eye(4), np.eye(4)
        there[:3, 3], back[:3, 3] = centre, -centre
        turn[:3, :3] = Rotation.from_rotvec(turns[joint]).as_matrix()
        own = there @ turn @ back
        world.append(own if parent < 0 else world[parent] @ own)
    posed = np.empty_like(shaped)
    for vertex, weights in enumerate(a["skin_weight"]):
        blended = sum(w * m for w, m in zip(weights, world, strict=True))
        posed[vertex] = (blended @ np.append(shaped[vertex], 1))[:3]
    return posed


def test_posed_vertices_equal_a_double_precision_reference(arrays, model):
    random = np.random.default_rng(1)
    identity = random.normal(size=IDENTITIES)
    expression = random.random((3, EXPRESSIONS))
    turns = random.normal(size=(3, 4, 3)) * 0.4
    posed = model.to(dtype=torch.float64).vertices(
        torch.tensor(identity), torch.tensor(expression), torch.tensor(turns)
    )
    for frame in range(3):
        expected = reference_vertices(arrays, identity, expression[frame], turns[frame])
        np.testing.assert_allclose(posed[frame], expected, atol=1e-12)


def test_files_of_version_1_0_read_as_models_without_correctives():
    from tests.frozen_artifacts import FOLDER

    model = HeadModel.load(FOLDER / "head_model.h5")
    assert model.pose_corrective.shape == (0, 9, len(model.template), 3)
    assert model.joint_expression.shape[0] == model.albedo_mean.shape[0] == 0


def test_fewer_identity_coefficients_mean_zeros(model):
    few = torch.tensor([1.0, -2.0])
    torch.testing.assert_close(
        model.neutral(few), model.neutral(torch.tensor([1.0, -2.0, 0, 0, 0]))
    )
    both = torch.stack([few, -few])
    torch.testing.assert_close(model.neutral(both)[1], model.neutral(-few))


def test_turning_the_root_turns_the_whole_head_about_it(model):
    turn = torch.tensor([0.2, -0.4, 0.1])
    rotation = torch.zeros(1, 4, 3)
    rotation[0, 0] = turn
    posed = model.vertices(torch.zeros(1), torch.zeros(1, EXPRESSIONS), rotation)[0]
    centre = model.joint_regressor[0] @ model.template
    expected = (model.template - centre) @ matrix_from_axis_angle(turn).T + centre
    torch.testing.assert_close(posed, expected, atol=1e-6, rtol=0)


def test_landmarks_are_barycentric_means_of_their_corners(arrays, model):
    points = model.mediapipe_points(model.template)
    face = arrays["triangle"][arrays["mediapipe_face"]]
    expected = np.einsum("pc,pcx->px", arrays["mediapipe_barycentric"], arrays["template"][face])
    np.testing.assert_allclose(points, expected, atol=1e-6)


def test_parts_are_found_by_name_and_unknown_ones_are_refused(arrays, model):
    np.testing.assert_array_equal(
        model.part_vertices("lips"), np.flatnonzero(arrays["vertex_part"] == 1)
    )
    assert len(model.part_vertices("lips", "face")) == VERTICES
    with pytest.raises(ValueError, match="not in tuple"):
        model.part_vertices("nose")
