"""The face fit on a synthetic head whose pose, expression and camera are known."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from synthetic_head import make_synthetic_head, write_head

from artifacts.errors import InputError
from artifacts.kinds import FACE_FIT, FRAMES, LANDMARKS
from artifacts.store import read_artifact, write_artifact
from head_geometry.cameras import project
from head_geometry.rotations import matrix_from_axis_angle
from preprocessing import face_fit
from preprocessing.fitting import clip
from preprocessing.fitting.clip import (
    FitSettings,
    FittedFrames,
    Subject,
    correct_start,
    describe_fit,
    fit_frames,
    fit_subject,
    make_prior,
    observe,
    weigh,
)
from preprocessing.fitting.model import FRONTAL, FitState, left_jacobian, make_landmark_model
from preprocessing.fitting.normal import NormalBuilder, evaluate
from preprocessing.fitting.solve import _free, _next_damping, clamp_frames, solve_frames
from preprocessing.fitting.start import bridge_gaps, source_camera, start_state

FRAMES_IN_CLIP = 90
FOCAL = 900.0
CENTRE = (250.0, 240.0)
SETTINGS = FitSettings(identities=8, keyframes=40)


@dataclass(frozen=True)
class Truth:
    identity: torch.Tensor
    expression: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor
    gaze: torch.Tensor
    points: np.ndarray


def make_truth(head, noise_px=0.3, seed=1):
    generator = np.random.default_rng(seed)
    t = torch.arange(FRAMES_IN_CLIP, dtype=torch.float64) / 25
    names = len(head.expression_name)
    waves = [0.35 - 0.35 * torch.cos(2 * np.pi * t * (0.3 + 0.15 * i)) for i in range(names)]
    expression = torch.stack(waves, 1)
    expression[:, head.expression_name.index("mouthClose")] = 0
    rotation = torch.stack(
        [0.2 * torch.sin(1.1 * t), 0.4 * torch.sin(0.9 * t + 1), 0.1 * torch.sin(t)], 1
    )
    translation = torch.stack(
        [0.02 * torch.sin(t), 0.01 * torch.cos(t), 0.75 + 0.05 * torch.sin(t)], 1
    )
    gaze = torch.stack([0.1 * torch.cos(2 * t), 0.2 * torch.sin(2 * t)], 1)
    joints = torch.zeros(FRAMES_IN_CLIP, 4, 3, dtype=torch.float64)
    joints[:, 2:, :2] = gaze[:, None]
    identity = torch.from_numpy(generator.normal(size=8)) * 0.8
    model = head.to(dtype=torch.float64)
    points = model.mediapipe_points(model.vertices(identity, expression, joints))
    camera = points @ (matrix_from_axis_angle(rotation) @ FRONTAL).mT + translation[:, None]
    intrinsics = torch.tensor([[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1.0]]).double()
    pixels = project(camera, intrinsics).numpy()
    pixels += generator.normal(size=pixels.shape) * noise_px
    return Truth(identity, expression, rotation, translation, gaze, pixels)


@pytest.fixture(scope="module")
def head():
    return make_synthetic_head()


@pytest.fixture(scope="module")
def truth(head):
    return make_truth(head)


@pytest.fixture(scope="module")
def model(head):
    return weigh(make_landmark_model(head, 8), SETTINGS)


def fit(head, model, points, valid=None, settings=SETTINGS, focal=FOCAL):
    valid = np.ones(len(points), dtype=bool) if valid is None else valid
    seen = observe(model, points, valid, torch.tensor(CENTRE), settings)
    subject = fit_subject(NormalBuilder(model), seen, focal, settings)
    state = fit_frames(NormalBuilder(model), subject, seen, settings)
    return subject, state, describe_fit(head, model, state, seen, points)


@pytest.fixture(scope="module")
def fitted(head, model, truth):
    return fit(head, model, truth.points)


def test_left_jacobian_is_the_derivative_of_the_exponential():
    vectors = torch.tensor([[0.3, -0.5, 0.2], [1e-7, 0, 0], [1.5, 1.0, -1.0]], dtype=torch.float64)
    step = torch.tensor([1e-6, -2e-6, 1.5e-6], dtype=torch.float64)
    moved = matrix_from_axis_angle(vectors + step)
    turned = (left_jacobian(vectors) @ step[:, None])[..., 0]
    expected = matrix_from_axis_angle(turned) @ matrix_from_axis_angle(vectors)
    assert torch.allclose(moved, expected, atol=1e-11)


def test_gradients_match_finite_differences(model, truth):
    """The cost's slope along random directions of all unknowns, shared ones included."""
    seen = observe(model, truth.points[:4], np.array([1, 1, 0, 1], bool), torch.tensor(CENTRE), SETTINGS)  # fmt: skip
    # Pairs are linearised at their middle; leave them out of an exact comparison.
    model = replace(model, pair=model.pair[:0], weight=model.weight[: len(model.index)])
    generator = torch.Generator().manual_seed(0)
    frame = torch.cat(
        [truth.expression, truth.gaze, truth.gaze, truth.rotation, truth.translation], 1
    )[:4]
    state = FitState(
        identity=0.2 * truth.identity,
        log_focal=torch.tensor(6.9, dtype=torch.float64),
        offset=0.001 * torch.randn(len(model.index), 3, generator=generator, dtype=torch.float64),
        frame=frame.clone(),
    )
    normal = NormalBuilder(model).build(state, evaluate(model, state, seen), seen, shared=True)
    assert normal.shared is not None
    assert float(normal.gradient[2].abs().max()) == 0
    for _ in range(3):
        by_frame = torch.randn(frame.shape, generator=generator, dtype=torch.float64)
        by_frame[:, -3:] *= 0.1
        shared = torch.randn(len(state.identity) + 1, generator=generator, dtype=torch.float64)
        costs = []
        for size in (1e-6, -1e-6):
            moved = FitState(
                state.identity + size * shared[:-1],
                state.log_focal + size * shared[-1],
                state.offset,
                state.frame + size * by_frame,
            )
            # A step of the focal length moves the heads back in proportion.
            moved.frame[:, -1] += size * shared[-1] * state.frame[:, -1]
            costs.append(float(evaluate(model, moved, seen).cost.sum()))
        slope = (costs[0] - costs[1]) / 2e-6
        analytic = (normal.gradient * by_frame).sum() + (normal.shared.gradient * shared).sum()
        # Neglected: arms of the joints by identity and expression.
        assert slope == pytest.approx(2 * float(analytic), rel=0.003)


def test_pose_expression_and_gaze_are_recovered(head, truth, fitted):
    _, state, described = fitted
    names = len(head.expression_name)
    assert float((state.frame[:, -6:-3] - truth.rotation).abs().mean()) < np.deg2rad(0.6)
    found = state.frame[:, :names]
    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "browInnerUp"):
        column = head.expression_name.index(name)
        likeness = np.corrcoef(found[:, column], truth.expression[:, column])[0, 1]
        assert likeness > 0.95, name
    gaze = state.frame[:, names : names + 2]
    assert float((gaze - truth.gaze).abs().mean()) < np.deg2rad(3)
    assert np.median(described.nme) < 0.006


def test_focal_length_is_found_when_perspective_shows_it(head, model, truth):
    settings = replace(SETTINGS, focal_std=2.0, offset_std_m=0.0, evidence=400.0)
    subject, _, _ = fit(head, model, truth.points, settings=settings, focal=600.0)
    assert float(torch.exp(subject.log_focal)) == pytest.approx(FOCAL, rel=0.12)


def test_offsets_lower_the_error_of_points_that_sit_elsewhere(head, model, truth):
    generator = np.random.default_rng(0)
    personal = generator.normal(size=(1, 478, 2)) * 2.5
    without = replace(SETTINGS, offset_std_m=0.0)
    plain = np.median(fit(head, model, truth.points + personal, settings=without)[2].nme)
    offset = np.median(fit(head, model, truth.points + personal)[2].nme)
    assert offset < 0.6 * plain


def test_bounds_hold_and_closing_never_exceeds_opening(head, model, fitted):
    _, state, _ = fitted
    expression = state.frame[:, : model.expressions]
    assert float(expression.min()) >= 0
    assert float(expression.max()) <= 1
    jaw, close = (head.expression_name.index(name) for name in ("jawOpen", "mouthClose"))
    assert bool((expression[:, close] <= expression[:, jaw] + 1e-12).all())


def test_active_set_frees_only_what_may_move(model):
    frame = torch.zeros(1, model.unknowns, dtype=torch.float64)
    frame[0, 2] = 1.0
    gradient = torch.zeros_like(frame)
    gradient[0, :4] = torch.tensor([1.0, 1, -1, -1])
    free = _free(model, frame, gradient)
    # 0 at the lower bound and pushed down, 1 tied to jawOpen, 2 at the upper bound and pushed up.
    assert free[0, :4].tolist() == [False, False, False, True]
    beyond = clamp_frames(model, torch.full_like(frame, 3.0))
    assert float(beyond[0, : model.expressions].max()) == 1
    assert float(beyond[0, -1]) == 3


def second_difference(points):
    return float(np.sqrt((np.diff(points, n=2, axis=0) ** 2).sum(-1).mean()))


def reproject(described, head):
    model = head.to(dtype=torch.float64)
    vertices = model.vertices(*(torch.from_numpy(a) for a in (described.identity, described.expression, described.joint_rotation)))  # fmt: skip
    pose = torch.from_numpy(described.camera_from_head)
    camera = model.mediapipe_points(vertices) @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    return project(camera, torch.from_numpy(described.intrinsics)).numpy()


def test_smooth_without_lag(head, model):
    noisy = make_truth(head, noise_px=1.0)
    clean = make_truth(head, noise_px=0.0)
    _, state, described = fit(head, model, noisy.points)
    fitted_points = reproject(described, head)
    assert second_difference(fitted_points) < 0.3 * second_difference(noisy.points)
    jaw = head.expression_name.index("jawOpen")
    found = (state.frame[:, jaw] - state.frame[:, jaw].mean()).numpy()
    wanted = (clean.expression[:, jaw] - clean.expression[:, jaw].mean()).numpy()
    likeness = [np.corrcoef(found[5:-5], np.roll(wanted, lag)[5:-5])[0, 1] for lag in range(-4, 5)]
    assert int(np.argmax(likeness)) == 4
    assert found.std() > 0.85 * wanted.std()


def test_invalid_frames_are_filled_between_their_neighbours(head, model, truth):
    valid = np.ones(FRAMES_IN_CLIP, dtype=bool)
    valid[40:46] = False
    valid[-3:] = False
    points = truth.points.copy()
    points[~valid] = 0
    _, state, described = fit(head, model, points, valid)
    assert float((state.frame[40:46, -6:-3] - truth.rotation[40:46]).abs().max()) < np.deg2rad(2)
    assert float((state.frame[-3:, -6:-3] - truth.rotation[-3:]).abs().max()) < np.deg2rad(4)
    assert bool((described.nme[~valid] == 0).all())
    assert np.isfinite(described.camera_from_head).all()


def test_windows_of_a_long_clip_agree_with_one_solve(model, truth):
    valid = np.ones(FRAMES_IN_CLIP, dtype=bool)
    seen = observe(model, truth.points, valid, torch.tensor(CENTRE), SETTINGS)
    zero = torch.zeros(len(model.index), 3, dtype=torch.float64)
    subject = Subject(truth.identity, torch.tensor(np.log(FOCAL)), zero)
    whole = fit_frames(NormalBuilder(model), subject, seen, SETTINGS)
    parts = fit_frames(NormalBuilder(model), subject, seen, replace(SETTINGS, window=40))
    assert float((whole.frame[:, -6:-3] - parts.frame[:, -6:-3]).abs().max()) < 1e-3


def test_a_long_clip_is_described_in_pieces(head, model, truth, fitted, monkeypatch):
    valid = np.arange(FRAMES_IN_CLIP) % 7 > 0
    seen = observe(model, truth.points, valid, torch.tensor(CENTRE), SETTINGS)
    state, points = fitted[1], truth.points
    whole = describe_fit(head, model, state, seen, points)
    monkeypatch.setattr(clip, "_AT_ONCE", 40)
    pieces = describe_fit(head, model, state, seen, points)
    np.testing.assert_allclose(pieces.nme, whole.nme, rtol=1e-12)
    assert (pieces.nme[valid] > 0).all()
    assert (pieces.nme[~valid] == 0).all()


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_clips(model, truth, frames):
    seen = observe(model, truth.points[:frames], np.ones(frames, bool), torch.tensor(CENTRE), SETTINGS)  # fmt: skip
    zero = torch.zeros(len(model.index), 3, dtype=torch.float64)
    subject = Subject(truth.identity, torch.tensor(np.log(FOCAL)), zero)
    state = fit_frames(NormalBuilder(model), subject, seen, SETTINGS)
    assert float((state.frame[:, -6:-3] - truth.rotation[:frames]).abs().max()) < np.deg2rad(1)


def test_solver_lowers_the_cost_to_a_stationary_point(model, truth):
    valid = np.ones(30, dtype=bool)
    seen = observe(model, truth.points[:30], valid, torch.tensor(CENTRE), SETTINGS)
    start = start_state(model, seen.points, seen.valid, seen.centre, torch.tensor(np.log(FOCAL)))
    prior = make_prior(model, SETTINGS, FOCAL)
    once = solve_frames(NormalBuilder(model), start, seen, prior, 15)
    again = solve_frames(NormalBuilder(model), once, seen, prior, 5)
    before, first, second = (
        float(evaluate(model, state, seen).cost.sum()) for state in (start, once, again)
    )
    assert first < 0.3 * before
    assert abs(second - first) < 0.01 * first


def test_bridge_gaps_interpolates():
    rows = torch.tensor([[0.0], [9.0], [9.0], [3.0]], dtype=torch.float64)
    valid = torch.tensor([True, False, False, True])
    assert bridge_gaps(rows, valid)[:, 0].tolist() == [0, 1, 2, 3]


def test_principal_point_is_the_middle_of_the_source():
    source_from_crop = np.array([[2.0, 0, 100], [0, 2.0, 40], [0, 0, 1]])
    centre, focal = source_camera(source_from_crop, (1281, 721))
    assert centre.tolist() == pytest.approx([270, 160])
    assert focal == pytest.approx(1.5 * 1281 / 2)


# ---- the step --------------------------------------------------------------------------------


def write_inputs(folder, truth, valid=None, scale=1.0):
    valid = np.ones(FRAMES_IN_CLIP, dtype=bool) if valid is None else valid
    count, size = len(valid), np.array([500, 480], np.int32)
    points = np.concatenate([truth.points * scale, np.zeros((count, truth.points.shape[1], 1))], 2)
    write_artifact(
        folder / "landmarks.h5",
        LANDMARKS,
        {
            "points": points.astype(np.float32),
            "confidence": valid.astype(np.float32),
            "valid": valid,
            "image_size": (size * scale).astype(np.int32),
        },
        {},
    )
    write_artifact(
        folder / "frames.h5",
        FRAMES,
        {
            "image": np.zeros((count, 8, 8, 3), np.uint8),
            "time_s": np.arange(count) / 25,
            "frame_rate_hz": np.float64(25),
            "source_from_crop": np.eye(3),
            "source_size": np.array([501, 481], np.int32),
            "audio": np.zeros(0, np.int16),
            "audio_rate_hz": np.int32(16000),
            "has_audio": np.bool_(False),
        },
        {},
    )


def test_step_writes_the_artifact_and_a_render_is_fitted_with_the_subject_held(tmp_path, head, truth):  # fmt: skip
    write_head(tmp_path / "head.h5", head)
    write_inputs(tmp_path, truth)
    options = face_fit.Options(
        landmarks=tmp_path / "landmarks.h5",
        head_model=tmp_path / "head.h5",
        out=tmp_path / "face_fit.h5",
        frames=tmp_path / "frames.h5",
        identities=8,
    )
    face_fit.main(options)
    subject = read_artifact(tmp_path / "face_fit.h5", FACE_FIT)
    assert subject["intrinsics"][:2, 2].tolist() == [250, 240]
    assert not subject["torso_valid"].any()
    assert float(np.median(subject["nme"])) < 0.01

    # The same frames at half the size, as if rendered.
    half = replace(truth, points=(truth.points + 0.5) * 0.5 - 0.5)
    (tmp_path / "render").mkdir()
    write_inputs(tmp_path / "render", replace(half, points=half.points * 2), scale=0.5)
    face_fit.main(
        replace(
            options,
            landmarks=tmp_path / "render/landmarks.h5",
            out=tmp_path / "render_fit.h5",
            frames=None,
            subject_fit=tmp_path / "face_fit.h5",
        )
    )
    render = read_artifact(tmp_path / "render_fit.h5", FACE_FIT)
    assert np.array_equal(render["identity"], subject["identity"])
    assert np.array_equal(render["landmark_offset"], subject["landmark_offset"])
    assert render["intrinsics"][0, 0] == pytest.approx(subject["intrinsics"][0, 0] / 2)
    assert np.abs(render["world_from_head"] - subject["world_from_head"]).max() < 0.02
    assert np.abs(render["expression"] - subject["expression"]).max() < 0.15


def test_step_is_reproducible(tmp_path, head, truth):
    write_head(tmp_path / "head.h5", head)
    write_inputs(tmp_path, truth)
    digests = []
    for name in ("a.h5", "b.h5"):
        face_fit.main(
            face_fit.Options(
                landmarks=tmp_path / "landmarks.h5",
                head_model=tmp_path / "head.h5",
                out=tmp_path / "out.h5",
                frames=tmp_path / "frames.h5",
                identities=8,
            )
        )
        digests.append((tmp_path / "out.h5").read_bytes())
        (tmp_path / "out.h5").rename(tmp_path / name)
    assert digests[0] == digests[1]


def test_a_clip_without_a_face_is_refused(tmp_path, head, truth):
    write_head(tmp_path / "head.h5", head)
    write_inputs(tmp_path, truth, valid=np.zeros(FRAMES_IN_CLIP, dtype=bool))
    options = face_fit.Options(tmp_path / "landmarks.h5", tmp_path / "head.h5", tmp_path / "o.h5", tmp_path / "frames.h5")  # fmt: skip
    with pytest.raises(InputError, match=r"landmarks\.h5: no frame shows a face"):
        face_fit.main(options)
    assert not (tmp_path / "o.h5").exists()


def test_frames_are_asked_for(tmp_path, head, truth):
    write_head(tmp_path / "head.h5", head)
    write_inputs(tmp_path, truth)
    with pytest.raises(InputError, match="--frames"):
        face_fit.main(face_fit.Options(tmp_path / "landmarks.h5", tmp_path / "head.h5", tmp_path / "o.h5"))  # fmt: skip


def test_the_start_passes_through_the_keyframes_and_keeps_the_motion_between_them():
    start = torch.tensor([[0.0], [5.0], [1.0], [7.0], [0.0]], dtype=torch.float64)
    known = FittedFrames(torch.tensor([0, 2]), torch.tensor([[1.0], [4.0]], dtype=torch.float64))
    assert correct_start(start, known)[:, 0].tolist() == [1, 7, 4, 10, 3]


def test_damping_is_felt_after_one_bad_step_and_rests_after_a_rescued_one():
    after_bad = _next_damping(1e-7, accepted=False, rejected=False)
    assert after_bad > 1e-3
    assert _next_damping(after_bad, accepted=True, rejected=True) == after_bad
    assert _next_damping(after_bad, accepted=True, rejected=False) < after_bad
