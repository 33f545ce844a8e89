"""Heads drawn for a generative prior: cameras, light, what is known, and the step."""

import numpy as np
import pytest
import torch

from artifacts.errors import InputError
from artifacts.kinds import PRIOR_PICTURES
from artifacts.store import read_artifact
from head_geometry.cameras import project, transform
from head_geometry.head_model import HeadModel
from head_geometry.spherical_harmonics import irradiance_basis
from preprocessing.prior_pictures import PIVOT_M, Options, main
from preprocessing.synthesis.moments import (
    VIEW_WIDTH_M,
    describe,
    light_of,
    make_moment,
    make_view,
    pose_of,
)
from preprocessing.synthesis.person import make_person

NECK = torch.tensor([0.0, -0.08, -0.01])


@pytest.fixture(scope="module")
def model(small_head):
    return HeadModel.load(small_head)


def draw(folder, head_model, **changes):
    given = {"people": 2, "moments": 2, "views": 2, "size_px": 48} | changes
    options = Options(head_model=head_model, out=folder / "pictures.h5", **given)
    main(options)
    return read_artifact(options.out, PRIOR_PICTURES)


@pytest.fixture(scope="module")
def drawn(small_head, tmp_path_factory):
    return draw(tmp_path_factory.mktemp("drawn"), small_head)


def test_every_camera_looks_at_the_head_from_its_own_side():
    random, pivot = np.random.default_rng(0), np.array(PIVOT_M)
    views = [make_view(random, pivot) for _ in range(200)]
    intrinsics = torch.eye(3, dtype=torch.float64)
    for view in views:
        seen = transform(view.world_from_head, torch.from_numpy(pivot)[None])
        assert float(seen[0, 2]) > 0.5
        width_m = float(seen[0, 2]) / view.focal
        assert VIEW_WIDTH_M[0] <= width_m <= VIEW_WIDTH_M[1]
        assert float((project(seen, intrinsics) * view.focal).abs().max()) < 0.06
    forward = torch.stack([view.world_from_head[:3, 2] for view in views])
    yaw = torch.rad2deg(torch.atan2(forward[:, 0], -forward[:, 2]))
    assert 20 < float(yaw.std()) < 45
    assert 60 < float(yaw.abs().max()) <= 90


def test_expressions_are_varied_and_within_their_bounds(model):
    random = np.random.default_rng(0)
    moments = [make_moment(random, model, NECK) for _ in range(300)]
    expressions = torch.stack([moment.expression for moment in moments])
    assert float(expressions.min()) >= 0
    assert float(expressions.max()) <= 1
    shut = expressions[:, model.expression_name.index("eyeBlinkLeft")] > 0.9
    assert 0.05 < float(shut.float().mean()) < 0.3
    assert float(expressions[:, model.expression_name.index("jawOpen")].max()) > 0.6
    # Every action that is named appears.
    assert int((expressions.amax(0) > 0.1).sum()) > 35


def test_the_light_stands_still_against_the_head(model):
    random = np.random.default_rng(0)
    moment = make_moment(random, model, NECK)
    normals = torch.nn.functional.normalize(torch.randn(20, 3), dim=1)
    expected = irradiance_basis(normals) @ moment.light
    for _ in range(3):
        view = make_view(random, np.array(PIVOT_M))
        turned = normals @ view.world_from_head[:3, :3].float().mT
        found = irradiance_basis(turned) @ light_of(moment, view)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_torso_stays_where_the_neck_leaves_it(model):
    random = np.random.default_rng(0)
    moment, view = make_moment(random, model, NECK), make_view(random, np.array(PIVOT_M))
    pose = pose_of(moment, view)
    joint = torch.cat([NECK, torch.ones(1)]).double()
    torch.testing.assert_close(pose.world_from_torso @ joint, pose.world_from_head @ joint)
    assert not torch.allclose(pose.world_from_torso, pose.world_from_head)


def test_what_is_known_tells_moments_apart(model):
    random = np.random.default_rng(0)
    person = make_person(random, 12)
    known = [describe(person, make_moment(random, model, NECK)) for _ in range(2)]
    assert list(known[0]) == list(known[1])
    looks = [name for name in known[0] if not name.startswith(("expression", "joint", "light"))]
    assert all(known[0][name] == known[1][name] for name in looks)
    assert known[0] != known[1]
    assert all(np.isfinite(value) for value in known[0].values())


def test_pictures_show_a_head_over_black_where_the_camera_says(drawn):
    assert drawn["image"].shape == (8, 48, 48, 3)
    np.testing.assert_array_equal(drawn["moment"], [0, 0, 1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(drawn["person_seed"], [0, 0, 1, 1])
    alpha = drawn["alpha"].astype(float) / 255
    assert ((alpha.mean((1, 2)) > 0.15) & (alpha.mean((1, 2)) < 0.8)).all()
    assert (drawn["image"].max(-1) <= drawn["alpha"].astype(int) + 1).all()
    assert not drawn["image"][drawn["alpha"] == 0].any()
    row, column = np.mgrid[:48, :48]
    for own, camera, intrinsics in zip(
        alpha, drawn["camera_from_head"], drawn["intrinsics"], strict=True
    ):
        seen = camera[:3, :3] @ drawn["pivot"] + camera[:3, 3]
        pixel = intrinsics @ seen / seen[2]
        middle = [(own * axis).sum() / own.sum() for axis in (column, row)]
        assert np.abs(middle - pixel[:2]).max() < 6


def test_equal_seeds_draw_equal_people_whatever_is_drawn_beside_them(drawn, small_head, tmp_path):
    second = draw(tmp_path, small_head, people=1, first_seed=1)
    np.testing.assert_array_equal(second["image"], drawn["image"][4:])
    np.testing.assert_array_equal(second["known"], drawn["known"][2:])


@pytest.mark.parametrize(
    ("changes", "words"), [({"people": 0}, "--people 0"), ({"size_px": 8}, "--size-px 8")]
)
def test_impossible_options_are_refused(changes, words, small_head, tmp_path):
    with pytest.raises(InputError, match=words):
        draw(tmp_path, small_head, **changes)
    assert not (tmp_path / "pictures.h5").exists()
