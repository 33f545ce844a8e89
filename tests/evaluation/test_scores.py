import numpy as np
import pytest
import torch
from lpips_weights import write_weights
from scored_toy import BY_TEST, make_toy_render
from toy import make_toy_subject, with_classic_68

from artifacts.errors import InputError
from artifacts.kinds import AVATAR, LANDMARKS, MATTE, PICTURE_FEATURES, SCORES
from artifacts.store import read_artifact, read_provenance, write_artifact
from evaluation.metric_names import metric_info
from evaluation.regions import MOUTH_PX, view_of_lips
from evaluation.report_subject import telling_frames
from evaluation.score_frames import Scores, score_landmarks
from evaluation.scores import Options, main
from evaluation.tracks import LandmarkTracks
from evaluation.truth import FittedClip
from head_geometry.head_model import HeadModel
from head_geometry.images import resample_area
from head_geometry.landmark_sets import MEDIAPIPE
from image_similarity.lpips import state_shapes


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return make_toy_subject(tmp_path_factory.mktemp("subject"), n_frames=30, size=64)


def score(subject, render, **changes):
    out = render.folder / "scores.h5"
    options = {
        "render": render.render,
        "avatar": render.avatar,
        "frames": subject.frames,
        "matte": subject.matte,
        "landmarks": subject.landmarks,
        "face_fit": subject.face_fit,
        "head_model": subject.head_model,
        "render_landmarks": render.landmarks,
        "render_fit": render.fit,
        "filmed_fit": subject.face_fit,
        "out": out,
    }
    main(Options(**{**options, **changes}))
    return read_artifact(out, SCORES)


def frame_values(scores, metric):
    return scores["frame_value"][scores["frame_metric"].tolist().index(metric)]


def clip_value(scores, metric):
    return scores["clip_value"][scores["clip_metric"].tolist().index(metric)]


def test_a_perfect_render_scores_perfectly(subject, tmp_path):
    scores = score(subject, make_toy_render(subject, tmp_path))
    assert np.all(frame_values(scores, "psnr_full") == 100)
    assert np.all(frame_values(scores, "psnr_mesh") == 100)
    # The person layer of the render is rounded to 8 bits, the truth's is not.
    assert frame_values(scores, "psnr_person").min() > 50
    assert frame_values(scores, "ssim_person").min() > 0.999
    assert frame_values(scores, "ms_ssim_3scale_head").min() > 0.999
    for metric in ("lmd_px", "lmd_mouth_px", "aed_l1_mean", "apd_geodesic_rad"):
        assert np.abs(frame_values(scores, metric)).max() < 1e-6
    assert clip_value(scores, "jitter_error_px") == pytest.approx(0, abs=1e-6)
    assert clip_value(scores, "jitter_render_px") == pytest.approx(
        clip_value(scores, "jitter_truth_px")
    )
    assert clip_value(scores, "frames_per_second") == pytest.approx(20, rel=1e-4)
    assert clip_value(scores, "peak_memory_mb") == 512
    assert scores["driver_frame"].tolist() == list(range(24, 30))


def test_known_disturbances_give_known_scores(subject, tmp_path):
    render = make_toy_render(
        subject, tmp_path, level_shift=-5, landmark_shift_px=2.0, expression_shift=0.25
    )
    scores = score(subject, render)
    expected = 20 * np.log10(255 / 5)
    # Channels at 0..4 cannot sink by 5, hence not exactly.
    np.testing.assert_allclose(frame_values(scores, "psnr_mesh"), expected, atol=0.3)
    np.testing.assert_allclose(frame_values(scores, "psnr_full"), expected, atol=0.3)
    alpha = read_artifact(subject.matte, MATTE)["alpha"][24:] / 255.0
    over_white = expected - 10 * np.log10((alpha**2).mean((1, 2)))
    np.testing.assert_allclose(frame_values(scores, "psnr_person"), over_white, atol=0.3)
    assert np.all(frame_values(scores, "psnr_head") > frame_values(scores, "psnr_person"))
    np.testing.assert_allclose(frame_values(scores, "lmd_px"), 2, rtol=1e-4)
    np.testing.assert_allclose(frame_values(scores, "aed_l1_mean"), 0.25, rtol=1e-4)
    np.testing.assert_allclose(frame_values(scores, "aed_l1_sum"), 1.25, rtol=1e-4)


def test_the_mouth_is_a_crop_around_the_lips():
    column = torch.arange(100.0).expand(80, 100)
    image = torch.stack([column, torch.arange(80.0)[:, None].expand(80, 100)], -1)
    lips = np.array([[30.0, 50.0], [62.0, 50.0], [46.0, 42.0], [46.0, 58.0]])
    view = view_of_lips(lips)
    crop = resample_area(image, view, (MOUTH_PX, MOUTH_PX))
    # 48 px around (46, 50): the crop's edges lie 24 px from there, its first pixel's middle 3/8 px further in.
    np.testing.assert_allclose(crop[0, 0], [46 - 24 + 0.375, 50 - 24 + 0.375], atol=1e-4)
    np.testing.assert_allclose(crop.mean((0, 1)), [46, 50], atol=1e-3)


def test_the_region_of_the_mouth_sees_a_wrong_render(subject, tmp_path):
    right = score(subject, make_toy_render(subject, tmp_path / "right"))
    wrong = score(subject, make_toy_render(subject, tmp_path / "wrong", level_shift=40))
    assert frame_values(right, "psnr_mouth").min() > 45
    assert frame_values(wrong, "psnr_mouth").max() < 25
    assert frame_values(right, "ssim_mouth").min() > 0.99


def test_a_truth_of_another_size_is_brought_to_the_renders(subject, tmp_path):
    big = make_toy_subject(tmp_path / "big", n_frames=30, size=96)
    scores = score(big, make_toy_render(subject, tmp_path))
    assert frame_values(scores, "psnr_full").min() > 20
    assert frame_values(scores, "lmd_px").max() < 0.5


def test_lpips_is_named_as_missing_with_what_to_fetch_and_there_with_weights(subject, tmp_path):
    render = make_toy_render(subject, tmp_path)
    scores = score(subject, render)
    missing = dict(
        zip(scores["missing_metric"].tolist(), scores["missing_reason"].tolist(), strict=True)
    )
    lpips = {f"lpips_alex_{region}" for region in ("person", "head", "full", "mouth")}
    identity = {"csim_source", "csim_target", "csim_source_truth", "identity_drift"}
    assert set(missing) == {*lpips, "fid_person", *identity, "identity_drift_truth"}
    assert "lpips: [alex]" in missing["lpips_alex_person"]
    assert "fid: true" in missing["fid_person"]
    assert "csim: true" in missing["csim_target"]
    assert not set(missing) & set(scores["frame_metric"].tolist())
    generator = torch.Generator().manual_seed(0)
    state = {n: torch.rand(s, generator=generator) for n, s in state_shapes().items()}
    torch.save(state, tmp_path / "weights.pth")
    _, squeeze = write_weights(tmp_path, "squeeze")
    squeezed = (tmp_path / "squeezenet.pth", squeeze)
    scores = score(subject, render, lpips_alex=(tmp_path / "weights.pth",), lpips_squeeze=squeezed)
    assert np.all(frame_values(scores, "lpips_alex_full") == 0)
    assert np.all(frame_values(scores, "lpips_squeeze_full") == 0)
    assert not [name for name in scores["missing_metric"].tolist() if name.startswith("lpips")]


def write_features(path, inception, identity, valid=None):
    arrays = {
        "image_size": np.array([64, 64], np.int32),
        "inception": np.asarray(inception, np.float32),
        "identity": np.asarray(identity, np.float32),
        "identity_valid": np.ones(len(identity), bool) if valid is None else valid,
    }
    write_artifact(path, PICTURE_FEATURES, arrays, {"step": "tests", "options": {}})
    return path


def made_up_features(folder, shift=0.0):
    """Of 30 filmed frames, whose identity lies on one axis for training and on another for the test, and of 6 rendered ones."""
    filmed = np.random.default_rng(0).standard_normal((30, 5))
    identity = np.repeat([[1.0, 0, 0], [0, 1.0, 0]], [24, 6], axis=0)
    rendered = np.tile([0.6, 0.8, 0.0], (6, 1))
    return (
        write_features(folder / "render.h5", filmed[24:] + shift, rendered),
        write_features(folder / "clip.h5", filmed, identity),
    )


def test_features_become_fid_csim_and_drift(subject, tmp_path):
    render = make_toy_render(subject, tmp_path)
    scores = score(subject, render, features=made_up_features(tmp_path, shift=2.0))
    assert clip_value(scores, "fid_person") == pytest.approx(5 * 4, rel=1e-5)
    np.testing.assert_allclose(frame_values(scores, "csim_source"), 0.6, rtol=1e-5)
    np.testing.assert_allclose(frame_values(scores, "csim_target"), 0.8, rtol=1e-5)
    np.testing.assert_allclose(frame_values(scores, "csim_source_truth"), 0)
    assert clip_value(scores, "identity_drift") == pytest.approx(0, abs=1e-6)
    assert clip_value(scores, "n_test_frames") == 6
    assert clip_value(scores, "image_side_px") == 64


def test_features_that_do_not_fit_the_render_are_refused(subject, tmp_path):
    render = make_toy_render(subject, tmp_path)
    made, clip = made_up_features(tmp_path)
    with pytest.raises(InputError, match="names 1 files"):
        score(subject, render, features=(made,))
    with pytest.raises(InputError, match=r"clip\.h5: has 30 frames, the render 6"):
        score(subject, render, features=(clip, clip))
    other = write_features(tmp_path / "other.h5", np.zeros((30, 7)), np.zeros((30, 3)))
    with pytest.raises(InputError, match="inception is of two networks"):
        score(subject, render, features=(made, other))
    short = write_features(tmp_path / "short.h5", np.zeros((20, 5)), np.zeros((20, 3)))
    with pytest.raises(InputError, match=r"short\.h5: frame 29 is not in it"):
        score(subject, render, features=(made, short))


def test_frames_without_a_face_are_masked_and_counted(subject, tmp_path):
    valid = np.array([True, True, False, True, True, True])
    scores = score(subject, make_toy_render(subject, tmp_path, landmark_shift_px=1.0, valid=valid))
    row = scores["frame_metric"].tolist().index("lmd_px")
    assert scores["frame_valid"][row].tolist() == valid.tolist()
    assert scores["frame_value"][row][2] == 0
    assert clip_value(scores, "landmark_detected_share") == pytest.approx(5 / 6)
    none = make_toy_render(subject, tmp_path / "none", valid=np.zeros(6, bool))
    scores = score(subject, none)
    assert {"lmd_px", "aed_l1_mean", "jitter_render_px"} <= set(scores["missing_metric"].tolist())
    assert "lmd_px" not in scores["frame_metric"].tolist()


def test_the_split_stands_in_the_provenance(subject, tmp_path):
    render = make_toy_render(subject, tmp_path)
    avatar = read_artifact(render.avatar, AVATAR)
    made = {**BY_TEST, "split": "insta-350@1"}
    write_artifact(render.avatar, AVATAR, avatar, made, {})
    score(subject, render)
    assert read_provenance(tmp_path / "scores.h5")["split"] == "insta-350@1"


def test_a_frame_that_was_trained_on_is_refused(subject, tmp_path):
    render = make_toy_render(subject, tmp_path, train_frame=np.arange(26))
    with pytest.raises(InputError, match=r"frame 24 was trained on by .*avatar\.h5"):
        score(subject, render)


def test_a_matte_of_another_clip_is_refused(subject, tmp_path):
    other = make_toy_subject(tmp_path / "other", n_frames=20, size=64)
    with pytest.raises(InputError, match="does not fit the frames"):
        score(subject, make_toy_render(subject, tmp_path), matte=other.matte)


def test_every_metric_has_a_unit_and_a_definition(subject, tmp_path):
    scores = score(subject, make_toy_render(subject, tmp_path))
    for names in ("frame_metric", "clip_metric", "missing_metric"):
        for name in scores[names].tolist():
            assert len(metric_info(name).definition) > 10


def test_equal_input_gives_equal_bytes(subject, tmp_path):
    render = make_toy_render(subject, tmp_path)
    score(subject, render)
    first = (tmp_path / "scores.h5").read_bytes()
    score(subject, render)
    assert (tmp_path / "scores.h5").read_bytes() == first


def test_the_classic_68_are_scored_by_the_same_rules(subject, tmp_path):
    classic = with_classic_68(subject, tmp_path)
    render = make_toy_render(classic, tmp_path / "render", landmark_shift_px=2.0)
    scores = score(classic, render)
    for metric in ("lmd_px", "lmd_mouth_px"):
        np.testing.assert_allclose(frame_values(scores, metric), 2, atol=1e-4)
    points = read_artifact(classic.landmarks, LANDMARKS)["points"][scores["driver_frame"], :, :2]
    span = np.linalg.norm(points[:, 36] - points[:, 45], axis=-1)
    np.testing.assert_allclose(frame_values(scores, "nme_outer_eye"), 2 / span, rtol=1e-4)
    assert np.abs(frame_values(scores, "aed_l1_mean")).max() < 1e-6


def test_landmarks_of_two_detectors_are_not_compared(subject, tmp_path):
    classic = with_classic_68(subject, tmp_path)
    render = make_toy_render(subject, tmp_path / "render")
    with pytest.raises(InputError, match="classic 68 ones; find both with the same"):
        score(subject, render, landmarks=classic.landmarks)


def test_the_report_draws_the_classic_68(subject, tmp_path):
    classic = with_classic_68(subject, tmp_path)
    clip = FittedClip(HeadModel.load(classic.head_model), classic.face_fit, (64, 64))
    assert clip.landmarks(0).shape == (68, 2)
    points = read_artifact(classic.landmarks, LANDMARKS)["points"]
    assert telling_frames(clip.fit, points, np.arange(clip.n_frames))


def test_auc_is_over_the_frames_in_which_the_filmed_face_was_found():
    points = np.random.default_rng(0).random((4, 478, 2)) * 100
    seen = np.array([True, True, True, False])
    truth = LandmarkTracks(MEDIAPIPE, points, seen)
    render = LandmarkTracks(MEDIAPIPE, points, np.array([True, True, False, True]))
    scores = Scores(4)
    score_landmarks(scores, render, truth, np.arange(4))
    assert scores.clip["auc_8pct_nme_outer_eye"] == pytest.approx(2 / 3)
    nothing = Scores(4)
    score_landmarks(
        nothing, render, LandmarkTracks(MEDIAPIPE, points, ~np.ones(4, bool)), np.arange(4)
    )
    assert "no face was found in any filmed frame" in nothing.missing["auc_8pct_nme_outer_eye"]
