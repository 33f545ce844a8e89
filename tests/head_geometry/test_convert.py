"""Conversion between head models: exact where the target is the source in other vertices, axes and size."""

import h5py
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from toy import make_toy_subject

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, HEAD_MODEL
from artifacts.store import read_artifact, write_artifact
from head_geometry.cameras import project, transform
from head_geometry.convert import Options, main
from head_geometry.correspondence import align
from head_geometry.head_model import HeadModel

SCALE = 1.06
TURN = Rotation.from_rotvec([0.05, -0.1, 0.02])


def other_model(arrays):
    """The same head with its vertices renumbered, turned, moved and larger."""
    n = len(arrays["template"])
    order = np.random.default_rng(0).permutation(n)
    number = np.argsort(order)

    def moved(places):
        return (SCALE * places @ TURN.as_matrix().T + [0.01, 0.02, -0.03]).astype(np.float32)

    def turned(basis, scale=1.0):
        return (scale * basis[:, order] @ TURN.as_matrix().T).astype(np.float32)

    return arrays | {
        "template": moved(arrays["template"][order]),
        "identity_basis": turned(arrays["identity_basis"]),
        "identity_std": SCALE * arrays["identity_std"],
        "expression_basis": turned(arrays["expression_basis"], SCALE),
        "joint_regressor": arrays["joint_regressor"][:, order],
        "skin_weight": arrays["skin_weight"][order],
        "vertex_part": arrays["vertex_part"][order],
        "mirror_vertex": number[arrays["mirror_vertex"][order]].astype(np.int32),
        "triangle": number[arrays["triangle"]].astype(np.int32),
        "pose_corrective": np.zeros((0, 9, n, 3), np.float32),
    }


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convert")
    subject = make_toy_subject(folder, n_frames=6)
    arrays = read_artifact(subject.head_model, HEAD_MODEL)
    other = other_model(arrays)
    other["identity_std"] = other["identity_std"].astype(np.float32)
    write_artifact(folder / "other.h5", HEAD_MODEL, other, {})
    there = Options(
        subject.face_fit,
        subject.head_model,
        folder / "other.h5",
        folder / "there.h5",
        folder / "other_fit.h5",
    )
    main(there)
    back = Options(
        folder / "other_fit.h5",
        folder / "other.h5",
        subject.head_model,
        folder / "back.h5",
        folder / "back_fit.h5",
    )
    main(back)
    return there, back


def pixels(model_path, fit_path):
    """Where every frame's face points land in the picture."""
    model, fit = HeadModel.load(model_path), read_artifact(fit_path, FACE_FIT)
    vertices = model.vertices(
        *(torch.from_numpy(fit[name]) for name in ("identity", "expression", "joint_rotation"))
    )
    camera = torch.from_numpy(fit["camera_from_world"] @ fit["world_from_head"])
    points = transform(camera, model.mediapipe_points(vertices).double())
    return project(points, torch.from_numpy(fit["intrinsics"])).numpy()


def test_the_other_model_lands_on_the_same_pixels(converted):
    there, _ = converted
    first = pixels(there.source_model, there.face_fit)
    second = pixels(there.target_model, there.out)
    assert np.linalg.norm(first - second, axis=-1).max() < 0.15


def test_coefficients_and_turns_are_those_of_the_source(converted):
    there, _ = converted
    old, new = (read_artifact(path, FACE_FIT) for path in (there.face_fit, there.out))
    np.testing.assert_allclose(new["identity"], old["identity"], atol=0.15)
    np.testing.assert_allclose(new["expression"], old["expression"], atol=0.08)
    expected = old["joint_rotation"] @ TURN.as_matrix().T
    np.testing.assert_allclose(new["joint_rotation"], expected, atol=2e-3)


def test_there_and_back_is_where_it_started(converted):
    there, back = converted
    old, new = (read_artifact(path, FACE_FIT) for path in (there.face_fit, back.out))
    np.testing.assert_allclose(new["expression"], old["expression"], atol=0.12)
    # Size may have gone over into the scene's scale: the shapes are compared without it.
    model = HeadModel.load(there.source_model)
    first, second = (model.neutral(torch.from_numpy(fit["identity"])).numpy() for fit in (old, new))
    moved = align(second.astype(float), first.astype(float), np.ones(len(first)))(second)
    assert np.linalg.norm(moved - first, axis=1).mean() < 5e-4
    assert (
        np.linalg.norm(
            pixels(there.source_model, there.face_fit) - pixels(back.target_model, back.out),
            axis=-1,
        ).max()
        < 0.3
    )
    np.testing.assert_allclose(new["joint_rotation"], old["joint_rotation"], atol=3e-3)


def test_the_correspondence_is_kept_and_only_for_its_models(converted, tmp_path):
    there, back = converted
    with h5py.File(there.correspondence) as file:
        used = file["weight"][()] > 0
        assert used.sum() > 150
        assert np.median(file["residual_m"][()][used]) < 1e-4
    before = there.correspondence.stat().st_mtime_ns
    main(there)
    assert there.correspondence.stat().st_mtime_ns == before
    swapped = Options(
        there.face_fit,
        there.source_model,
        there.target_model,
        back.correspondence,
        tmp_path / "out.h5",
    )
    with pytest.raises(InputError, match="belongs to other head models"):
        main(swapped)


def test_a_fit_of_another_model_is_refused(converted, tmp_path):
    there, _ = converted
    fit = read_artifact(there.face_fit, FACE_FIT)
    fit["expression"] = fit["expression"][:, :-1]
    write_artifact(tmp_path / "fit.h5", FACE_FIT, fit, {})
    options = Options(
        tmp_path / "fit.h5",
        there.source_model,
        there.target_model,
        there.correspondence,
        tmp_path / "out.h5",
    )
    with pytest.raises(InputError, match="was not made with"):
        main(options)


def test_similarities_are_recovered():
    random = np.random.default_rng(1)
    points = random.normal(size=(30, 3))
    weight = random.random(30)
    wanted = 1.3 * points @ TURN.as_matrix().T + [0.1, 0.2, 0.3]
    found = align(points, wanted, weight)
    assert found.scale == pytest.approx(1.3)
    np.testing.assert_allclose(found.rotation, TURN.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(found(points), wanted, atol=1e-12)
