"""The photometric fit on a filmed synthetic head whose shape, colour, light and motion are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from filmed_head import FOCAL, LIGHT, SIDE, TONE, albedo_of, film_head
from synthetic_head import write_head

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS, MATTE
from artifacts.store import open_artifact, write_artifact
from head_geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from head_geometry.surface_points import spread_points
from preprocessing import face_fit
from preprocessing.fitting.appearance import estimate_appearance
from preprocessing.fitting.clip import (
    FitSettings,
    fit_frames,
    fit_subject,
    improve_frames,
    observe,
    weigh,
)
from preprocessing.fitting.model import FitState, make_landmark_model
from preprocessing.fitting.normal import NormalBuilder
from preprocessing.fitting.outline import OutlineSolver
from preprocessing.fitting.photometric import Skin, explain, linearise, view_points
from preprocessing.fitting.pictures import PictureReader
from preprocessing.fitting.posed_head import Poser, outline_iou
from preprocessing.fitting.refine import PhotometricFit, PhotometricSettings, Track

SETTINGS = FitSettings(identities=8, keyframes=24)
PHOTOMETRIC = PhotometricSettings((64, SIDE), 1500, 12, 1, 64)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return film_head(tmp_path_factory.mktemp("film"))


@pytest.fixture(scope="module")
def pictures(film):
    with open_artifact(film.frames, FRAMES) as frames, open_artifact(film.matte, MATTE) as matte:
        yield frames, matte


def true_state(film, model) -> FitState:
    frame = torch.zeros(len(film.points), model.unknowns, dtype=torch.float64)
    frame[:, : model.expressions] = film.expression
    frame[:, -6:-3], frame[:, -3:] = film.rotation, film.translation
    offset = torch.zeros(len(model.index), 3, dtype=torch.float64)
    return FitState(film.identity.double(), torch.tensor(np.log(FOCAL)), offset, frame)


def skin_of(film, head, model, count=1500) -> Skin:
    face = head.template[head.triangle].mean(1)
    is_eye = (head.vertex_part == 2) | (head.vertex_part == 3)
    chosen = (face[:, 1] > -0.1) & ~is_eye[head.triangle].any(1)
    return Skin.of(head, spread_points(head.template, head.triangle, chosen, count), model)


@pytest.fixture(scope="module")
def at_truth(film, pictures):
    """Everything at the true state: poser, state, skin, views of all frames and the appearance found in them."""
    head = film.head.personal(film.vertex_offset)
    model = weigh(make_landmark_model(head, 8), SETTINGS)
    state, skin = true_state(film, model), skin_of(film, head, model)
    poser = Poser(head, model, film.intrinsics[:2, 2], 1.0)
    reader = PictureReader(*pictures, SIDE)
    views = [
        view_points(head, skin.points, poser.pose(state, frame), reader.read(frame))
        for frame in range(len(film.points))
    ]
    appearance = estimate_appearance(views, torch.ones(len(skin.points.face)))
    return poser, state, skin, views, appearance


def test_colour_and_light_are_told_apart(film, at_truth):
    *_, skin, views, appearance = at_truth
    truth = skin.points.at(albedo_of(film.head.template))
    known = appearance.trust > 0.5
    assert float(known.float().mean()) > 0.3
    # The light is scaled to 1 towards the camera; so is the truth here.
    towards = LIGHT[:, 0] @ _basis_towards_camera()
    relative = appearance.albedo[known] / (truth[known] * towards)
    assert float((relative - 1).abs().median()) < 0.06
    tone = appearance.albedo[known].mean(0) / TONE
    assert float(tone.max() / tone.min()) < 1.05
    errors = [explain(view, appearance).error for view in views]
    assert float(np.median(errors)) < 0.012


@pytest.mark.parametrize("change", ["half", "warm", "mirrored"])
def test_the_light_of_a_frame_may_jump(at_truth, change):
    *_, views, appearance = at_truth
    new = appearance.light.clone()
    if change == "mirrored":
        new[[3, 4, 7]] *= -1
    new = new * {"half": 0.5, "warm": torch.tensor([1.2, 0.8, 0.4])}.get(change, 1.0)
    view = views[5]
    lit = (appearance.albedo * (view.shading @ new)).clamp_min(1e-4) ** (1 / 2.2)
    relit = replace(view, value=torch.cat([lit, view.value[:, 3:]], 1))
    explained = explain(relit, appearance)
    assert explained.error < 0.004
    towards = _basis_towards_camera()
    torch.testing.assert_close(towards @ explained.light, towards @ new, rtol=0.03, atol=0)
    # A tenth of the skin covered by something bright changes little.
    covered = relit.value.clone()
    covered[::10, :3] = 0.95
    again = explain(replace(relit, value=covered), appearance).light
    torch.testing.assert_close(towards @ again, towards @ new, rtol=0.06, atol=0)


def _basis_towards_camera():
    from preprocessing.fitting.appearance import irradiance_towards_camera

    return irradiance_towards_camera()


def test_gradient_matches_finite_differences(film, pictures, at_truth):
    poser, state, skin, _, appearance = at_truth
    reader, frame = PictureReader(*pictures, SIDE), 5
    picture = reader.read(frame)
    moved = replace(state, frame=state.frame.clone())
    moved.frame[frame, -6:] += torch.tensor([0.01, -0.012, 0.008, 0.001, -0.0012, 0.004])
    moved.frame[frame, :3] += 0.05
    posed = poser.pose(moved, frame)
    view = view_points(skin.head, skin.points, posed, picture)
    explained = explain(view, appearance)
    term = linearise(skin, posed, (view, explained), 100.0, shared=True)
    lit = view.value[:, :3] - explained.residual
    total = (view.weight * (explained.weight > 0)).sum()
    weight = explained.weight * 100.0 / total / explained.sigma**2 / 3

    def cost(identity, log_focal, unknown) -> float:
        """Half the weighted squares, colours, light and weights held."""
        state = FitState(identity, log_focal, moved.offset, unknown[None])
        again = poser.pose(state, 0)
        residual = view_points(skin.head, skin.points, again, picture).value[:, :3] - lit
        return 0.5 * float((weight[:, None] * residual.double() ** 2).sum())

    own, n = moved.frame[frame], len(moved.frame[frame])
    steps = {0: 0.01, 1: 0.01, n - 6: 2e-3, n - 5: 2e-3, n - 4: 2e-3, n - 3: 2e-4, n - 2: 2e-4}
    for index, step in steps.items():
        change = torch.zeros(n, dtype=torch.float64)
        change[index] = step
        ends = [cost(moved.identity, moved.log_focal, own + sign * change) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        scale = float(term.matrix[index, index].sqrt())
        assert abs(slope - float(term.gradient[index])) < 0.12 * scale + 0.12 * abs(slope), index
    for component in (0, 3):
        change = torch.zeros(8, dtype=torch.float64)
        change[component] = 0.05
        ends = [cost(moved.identity + s * change, moved.log_focal, own) for s in (1, -1)]
        slope, index = (ends[0] - ends[1]) / 0.1, n + component
        scale = float(term.matrix[index, index].sqrt())
        assert abs(slope - float(term.gradient[index])) < 0.12 * scale + 0.12 * abs(slope)
    # The focal length takes the depth along (dolly zoom).
    change = torch.zeros(n, dtype=torch.float64)
    change[-1] = 0.01 * own[-1]
    ends = [cost(moved.identity, moved.log_focal + s * 0.01, own + s * change) for s in (1, -1)]
    slope = (ends[0] - ends[1]) / 0.02
    scale = float(term.matrix[-1, -1].sqrt())
    assert abs(slope - float(term.gradient[-1])) < 0.12 * scale + 0.12 * abs(slope)


def test_outline_finds_the_hair(film, pictures, at_truth):
    poser, state, *_ = at_truth
    model = weigh(make_landmark_model(film.head, 8), SETTINGS)
    solver = OutlineSolver(film.head, torch.ones(len(film.head.triangle), dtype=torch.bool))
    reader = PictureReader(*pictures, SIDE)
    offset = torch.zeros_like(film.head.template)
    bald = Poser(film.head, model, film.intrinsics[:2, 2], 1.0)
    before = outline_iou(film.head, bald.pose(state, 0), reader.alpha(0))
    for _ in range(4):
        head = film.head.personal(offset)
        poser = Poser(head, model, film.intrinsics[:2, 2], 1.0)
        rows = [
            solver.rim_rows(poser.pose(state, frame), reader.alpha(frame), offset)
            for frame in range(0, 24, 3)
        ]
        offset = solver.solve(rows)
    head = film.head.personal(offset)
    poser = Poser(head, model, film.intrinsics[:2, 2], 1.0)
    after = [outline_iou(head, poser.pose(state, f), reader.alpha(f)) for f in range(24)]
    assert before < 0.95
    assert min(after) > 0.97
    crown = film.head.template[:, 1] > 0.08
    found = torch.linalg.vector_norm(offset[crown], dim=-1).median()
    wanted = torch.linalg.vector_norm(film.vertex_offset[crown], dim=-1).median()
    assert 0.5 * float(wanted) < float(found) < 1.2 * float(wanted)


@pytest.fixture(scope="module")
def refined(film, pictures):
    model = weigh(make_landmark_model(film.head, 8), SETTINGS)
    valid = np.ones(len(film.points), dtype=bool)
    valid[7] = False
    seen = observe(model, film.points, valid, film.intrinsics[:2, 2], SETTINGS)
    builder = NormalBuilder(model)
    subject = fit_subject(builder, seen, FOCAL, SETTINGS)
    state = fit_frames(builder, subject, seen, SETTINGS)
    fit = PhotometricFit(film.head, seen, pictures, (SETTINGS, PHOTOMETRIC))
    return state, *fit.run(model, state)


def pose_error(film, state) -> float:
    """Mean error of the rotation beyond its constant part, degrees."""
    found = matrix_from_axis_angle(state.frame[:, -6:-3])
    wanted = matrix_from_axis_angle(film.rotation.double())
    turned = axis_angle_from_matrix(found @ wanted.mT)
    return float(torch.rad2deg(torch.linalg.vector_norm(turned - turned.mean(0), dim=-1)).mean())


def test_pictures_steady_the_pose_of_a_known_subject(film, pictures, at_truth):
    poser, state, *_ = at_truth
    valid = np.ones(len(film.points), dtype=bool)
    seen = observe(poser.model, film.points, valid, film.intrinsics[:2, 2], SETTINGS)
    start = improve_frames(NormalBuilder(poser.model), state, seen, SETTINGS)
    fit = PhotometricFit(film.head, seen, pictures, (SETTINGS, PHOTOMETRIC))
    track = Track(poser.head, film.vertex_offset, torch.zeros(0, 0, 3), poser.model, start)
    for reader in fit.readers:
        track = fit.improve_frames(track, reader, *fit.appearance(track, reader))
    assert pose_error(film, track.state) < 0.75 * pose_error(film, start)


def test_the_whole_fit_explains_the_frames(film, refined):
    before, track, looks = refined
    assert pose_error(film, track.state) < pose_error(film, before)
    valid = np.arange(len(film.points)) != 7
    assert float(np.median(looks.outline_iou[valid])) > 0.955
    assert float(np.median(looks.photometric_error[valid])) < 0.02
    assert looks.outline_iou[7] == looks.photometric_error[7] == 0
    assert looks.light.shape == (24, 9, 3)


def test_a_matte_of_another_clip_is_refused(film, tmp_path):
    write_head(tmp_path / "head.h5", film.head)
    points = np.concatenate([film.points, np.zeros((len(film.points), 478, 1))], 2)
    valid = np.ones(len(points), dtype=bool)
    arrays = {"points": points.astype(np.float32), "confidence": valid.astype(np.float32)}
    size = np.array([SIDE, SIDE], np.int32)
    landmarks, matte = tmp_path / "landmarks.h5", tmp_path / "matte.h5"
    write_artifact(landmarks, LANDMARKS, {**arrays, "valid": valid, "image_size": size}, {})
    write_artifact(matte, MATTE, {"alpha": np.zeros((len(points), 80, 80), np.uint8)}, {})
    options = face_fit.Options(
        landmarks, tmp_path / "head.h5", tmp_path / "fit.h5", film.frames, matte, identities=8
    )
    with pytest.raises(InputError, match="make the matte of these frames"):
        face_fit.main(replace(options, photometric="light"))
    assert not options.out.exists()


def test_texture_is_the_skins_colour_and_says_what_was_seen(refined):
    *_, looks = refined
    albedo, seen = looks.texture.albedo, looks.texture.seen
    assert albedo.shape == (64, 64, 3)
    middle = albedo[26:38, 26:38].reshape(-1, 3).mean(0) / 255
    towards = float(LIGHT[:, 0] @ _basis_towards_camera())
    expected = (0.875 * TONE.numpy() * towards) ** (1 / 2.2)
    assert np.abs(middle - expected).max() < 0.08
    assert (seen[26:38, 26:38] > 0).mean() > 0.9
    assert (seen[:, :2] == 0).mean() > 0.9
