"""The lag between sound and mouth: closed forms, made-up speech with a known lag, real clips moved by known amounts."""

import logging
import tracemalloc

import numpy as np
import pytest
from clips import detector_path

from artifacts.errors import InputError
from artifacts.kinds import FRAMES, LANDMARKS, SYNC
from artifacts.store import read_artifact, write_artifact
from assets.fetch import fetch_asset
from preprocessing import frames as frames_step
from preprocessing import landmarks as landmarks_step
from preprocessing.sound.lag import (
    BLOCKS,
    MAX_LAG,
    RIDGE,
    _block_sums,
    _correlation,
    _predict,
    _without_drift,
    estimate_lag,
    peak_of,
)
from preprocessing.sound.mouth import EYE_CORNERS, INNER_LIPS, mouth_opening
from preprocessing.sync import Options, main

RATE = 16000
FPS = 25.0


# --------------------------------------------------------------------------------- parts


def test_peak_of_a_parabola_lies_between_the_samples():
    x = np.arange(31.0)
    for place in (3.0, 14.3, 20.75):
        assert peak_of(1 - 0.01 * (x - place) ** 2) == pytest.approx(place, abs=1e-9)
    assert peak_of(x) == 30.0
    assert peak_of(np.zeros(5)) == 0.0


def test_correlation_from_block_sums_is_the_usual_one():
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(0, 1, (95, 4)), rng.normal(0, 1, (95, 4))
    scores = _correlation(_block_sums(prediction, target).sum(axis=0))
    for series in range(4):
        pair = prediction[:, series], target[:, series]
        assert scores[series] == pytest.approx(np.corrcoef(*pair)[0, 1], abs=1e-9)


def test_each_block_is_predicted_by_ridge_regression_on_the_others():
    """Ridge regression as least squares with a row per coefficient that pulls it to zero."""
    rng = np.random.default_rng(1)
    features, targets = rng.normal(2, 3, (103, 5)), rng.normal(0, 1, (103, 2))
    found = _predict(features, targets)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    blocks = np.arange(103) * BLOCKS // 103
    for block in range(BLOCKS):
        train, test = blocks != block, blocks == block
        mean = targets[train].mean(axis=0)
        pull = np.sqrt(RIDGE * train.sum()) * np.eye(5)
        matrix = np.concatenate([scaled[train], pull])
        wanted = np.concatenate([targets[train] - mean, np.zeros((5, 2))])
        weights = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
        np.testing.assert_allclose(found[test], scaled[test] @ weights + mean, atol=1e-9)


def test_drift_is_removed_and_gaps_do_not_disturb_it():
    steady = np.full((200, 1), 3.0)
    valid = np.ones(200, dtype=bool)
    valid[60:120] = False
    gappy = np.where(valid[:, None], steady, 99.0)
    assert np.abs(_without_drift(gappy, valid, FPS)).max() < 1e-9
    slow = np.sin(np.arange(200) / 200 * 2 * np.pi)[:, None]
    fast = np.sin(np.arange(200) * 1.3)[:, None]
    left = _without_drift(slow + fast, np.ones(200, dtype=bool), FPS)
    assert np.corrcoef(left[:, 0], fast[:, 0])[0, 1] > 0.97


@pytest.mark.parametrize("n_points", [478, 68])
def test_mouth_opening_is_relative_to_the_face_and_blind_to_turns(n_points):
    points = np.zeros((3, n_points, 3), np.float32)
    left, right = EYE_CORNERS[n_points]
    points[:, left], points[:, right] = (-50, 0, 0), (50, 0, 0)
    for upper, lower in INNER_LIPS[n_points]:
        points[:, upper, 1], points[:, lower, 1] = 40, 60
    points[1] *= 2.5  # filmed nearer
    angle = np.radians(40)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    points[2] = points[2] @ turn.T.astype(np.float32)
    np.testing.assert_allclose(mouth_opening(points), 0.2, rtol=1e-5)
    np.testing.assert_array_equal(mouth_opening(np.zeros((4, n_points, 3), np.float32)), 0)


def test_unknown_landmarks_are_refused():
    with pytest.raises(InputError, match="98 landmarks"):
        mouth_opening(np.zeros((4, 98, 3), np.float32))


# -------------------------------------------------------------------------- made-up speech


def _speech(n_frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise that is as loud as a mouth is open; the opening of every frame."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(0, 1, n_frames // 3 + 3)
    time = np.arange(n_frames * 640) / RATE
    opening = np.interp(time * FPS / 3, np.arange(len(knots)), knots) ** 2
    audio = np.round(rng.normal(0, 4000, len(time)) * opening).clip(-32768, 32767).astype(np.int16)
    return audio, 0.2 * opening[::640]


def _moved(audio: np.ndarray, shift_s: float) -> np.ndarray:
    """The sound later by ``shift_s``, as long as before, silence where nothing is known."""
    shift = round(shift_s * RATE)
    silence = np.zeros(abs(shift), np.int16)
    if shift >= 0:
        return np.concatenate([silence, audio])[: len(audio)]
    return np.concatenate([audio[-shift:], silence])


@pytest.mark.parametrize("n_frames", [130, 500])
@pytest.mark.parametrize("lag", [-8.0, -2.5, 0.0, 0.4, 3.25, 8.0])
def test_a_known_lag_is_found(n_frames, lag):
    audio, opening = _speech(n_frames)
    valid = np.ones(n_frames, dtype=bool)
    found = estimate_lag(opening, valid, _moved(audio, lag / FPS), RATE, FPS)
    assert found.is_found
    assert found.confidence > 0.98
    assert found.lag_frames == pytest.approx(lag, abs=0.15)
    assert found.lag_std_frames < 0.3
    inside = found.is_used
    assert np.corrcoef(found.predicted[inside], opening[inside])[0, 1] > 0.7


def test_frames_without_a_face_do_not_count():
    audio, opening = _speech(300)
    valid = np.ones(300, dtype=bool)
    valid[100:160] = False
    opening = np.where(valid, opening, 7.0)
    found = estimate_lag(opening, valid, _moved(audio, 0.16), RATE, FPS)
    assert found.lag_frames == pytest.approx(4.0, abs=0.2)
    assert not found.is_used[100:160].any()


def test_a_long_clip_takes_the_memory_of_one_lag():
    n_frames = 4000
    audio, opening = _speech(n_frames)
    valid = np.ones(n_frames, dtype=bool)
    tracemalloc.start()
    found = estimate_lag(opening, valid, audio, RATE, FPS)
    peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    assert found.is_found
    # The predictions of all 31 lags together are 99 MB.
    assert peak_mb < 75


def test_at_another_frame_rate():
    audio, opening = _speech(500)
    at_30 = np.interp(np.arange(600) / 30, np.arange(500) / FPS, opening)
    found = estimate_lag(at_30, np.ones(600, dtype=bool), _moved(audio, 0.1), RATE, 30.0)
    assert found.lag_frames == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize(("n_frames", "most"), [(125, 2), (500, 0)])
def test_sound_of_another_clip_is_no_lag(n_frames, most):
    """Chance is taken for a lag about as often as said (one in twenty) in short clips, and never in longer ones."""
    taken = 0
    for seed in range(12):
        audio, _ = _speech(n_frames, seed)
        _, opening = _speech(n_frames, seed + 1000)
        found = estimate_lag(opening, np.ones(n_frames, dtype=bool), audio, RATE, FPS)
        assert found.is_found or found.lag_frames == 0.0
        taken += found.is_found
    assert taken <= most


def test_a_lag_outside_of_what_is_tried_is_not_found():
    audio, opening = _speech(500)
    for lag in (-30, 30):
        found = estimate_lag(opening, np.ones(500, dtype=bool), _moved(audio, lag / FPS), RATE, FPS)
        assert not found.is_found


@pytest.mark.parametrize("case", ["silence", "no sound", "still mouth", "short", "no face"])
def test_nothing_to_compare(case):
    n_frames = 60 if case == "short" else 300
    audio, opening = _speech(n_frames)
    valid = np.ones(n_frames, dtype=bool)
    if case == "silence":
        audio[:] = 0
    if case == "no sound":
        audio = audio[:0]
    if case == "still mouth":
        opening = np.full(n_frames, 0.1)
    if case == "no face":
        valid[:] = False
    found = estimate_lag(opening, valid, audio, RATE, FPS)
    assert (found.is_found, found.confidence, found.lag_frames) == (False, 0.0, 0.0)
    assert found.score.shape == found.lag.shape == (31,)
    assert not found.score.any()


# ------------------------------------------------------------------------------- the step


def _artifacts(folder, audio, opening, applied_s=0.0, valid=None):
    n_frames = len(opening)
    arrays = {
        "image": np.zeros((n_frames, 4, 4, 3), np.uint8),
        "time_s": np.arange(n_frames) / FPS,
        "frame_rate_hz": np.float64(FPS),
        "source_from_crop": np.eye(3),
        "source_size": np.array([4, 4], np.int32),
        "audio": audio,
        "audio_rate_hz": np.int32(RATE),
        "has_audio": np.bool_(len(audio) > 0),
    }
    options = {"step": "test", "options": {"audio_shift_s": applied_s}}
    write_artifact(folder / "frames.h5", FRAMES, arrays, options)
    points = np.zeros((n_frames, 478, 3), np.float32)
    points[:, 33, 0], points[:, 263, 0] = -50, 50
    for upper, lower in ((13, 14), (82, 87), (312, 317)):
        points[:, lower, 1] = 100 * opening
        points[:, upper, 1] = 0
    valid = np.ones(n_frames, dtype=bool) if valid is None else valid
    arrays = {
        "points": points,
        "confidence": valid.astype(np.float32),
        "valid": valid,
        "image_size": np.array([4, 4], np.int32),
    }
    write_artifact(folder / "landmarks.h5", LANDMARKS, arrays, {"step": "test"})
    return Options(folder / "frames.h5", folder / "landmarks.h5", folder / "sync.h5")


def test_the_step_warns_and_says_the_shift_that_mends_it(tmp_path, caplog):
    audio, opening = _speech(500)
    options = _artifacts(tmp_path, _moved(audio, 0.2), opening, applied_s=0.04)
    main(options)
    found = read_artifact(options.out, SYNC)
    assert found["is_found"]
    assert found["is_out_of_step"]
    assert found["lag_frames"] == pytest.approx(5.0, abs=0.1)
    # 0.2 s too late although moved by 0.04 already: -0.16 in all.
    assert found["audio_shift_s"] == pytest.approx(-0.16, abs=0.005)
    sentence = f"audio_shift_s: {found['audio_shift_s']:.3f} would mend it"
    assert sentence in str(found["verdict"])
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert sentence in caplog.text
    np.testing.assert_allclose(found["mouth_opening"], opening, atol=1e-6)
    # The shift it names mends it.
    mended = _moved(audio, 0.2 + float(found["audio_shift_s"]) - 0.04)
    options = _artifacts(tmp_path, mended, opening, float(found["audio_shift_s"]))
    caplog.clear()
    main(options)
    found = read_artifact(options.out, SYNC)
    assert abs(found["lag_frames"]) < 0.1
    assert str(found["verdict"]).startswith("in step")
    assert not found["is_out_of_step"]
    assert not caplog.records


@pytest.mark.parametrize("case", ["no sound", "silence", "another clip's sound"])
def test_the_step_says_that_it_cannot_tell(tmp_path, caplog, capsys, case):
    audio, opening = _speech(300)
    if case == "another clip's sound":
        _, opening = _speech(300, 100)
    audio = {"no sound": audio[:0], "silence": audio * 0}.get(case, audio)
    options = _artifacts(tmp_path, audio, opening, applied_s=0.08)
    main(options)
    found = read_artifact(options.out, SYNC)
    assert str(found["verdict"]).startswith("cannot tell")
    assert not found["is_found"]
    assert found["audio_shift_s"] == 0.08
    assert str(found["verdict"]) in capsys.readouterr().out
    assert not caplog.records


def test_landmarks_of_another_clip_are_refused(tmp_path):
    audio, opening = _speech(300)
    options = _artifacts(tmp_path, audio, opening)
    (tmp_path / "other").mkdir()
    other = _artifacts(tmp_path / "other", *_speech(200))
    with pytest.raises(InputError, match=r"has 200 frames, but .* has 300"):
        main(Options(options.frames, other.landmarks, options.out))


# ----------------------------------------------------------------------------- real clips


@pytest.mark.slow
@pytest.mark.parametrize("name", ["obama_20s", "may_5s"])
def test_real_speech_moved_by_known_amounts(shared_data, tmp_path, name):
    """The peak follows the shift; the first clip is known to be in step.

    The other is 5 s long, which is at the edge of what can be told from chance (confidence 0.94 to 0.97).
    """
    clip, detector = shared_data / "clips" / f"{name}.mp4", detector_path()
    frames, landmarks = tmp_path / "frames.h5", tmp_path / "landmarks.h5"
    frames_step.main(frames_step.Options(clip, detector, frames, max_side_px=256))
    mesh = fetch_asset("face_landmark_with_attention.tflite")
    landmarks_step.main(
        landmarks_step.Options(images=frames, detector=detector, mesh=mesh, out=landmarks)
    )
    found = read_artifact(landmarks, LANDMARKS)
    audio, opening = read_artifact(frames, FRAMES)["audio"], mouth_opening(found["points"])

    def lag(shift_frames: float) -> float:
        moved = _moved(audio, shift_frames / FPS)
        estimate = estimate_lag(opening, found["valid"], moved, RATE, FPS)
        assert estimate.confidence > (0.99 if name == "obama_20s" else 0.85)
        place = peak_of(estimate.score.astype(np.float64)) - MAX_LAG
        assert estimate.lag_frames == (pytest.approx(place, abs=1e-4) if estimate.is_found else 0)
        return place

    own = lag(0.0)
    if name == "obama_20s":
        assert abs(own) < 2.0
    for shift in (-8, -5, -3, -1.5, -1, 0.4, 1, 2, 4.7, 8):
        assert lag(shift) - own == pytest.approx(shift, abs=0.25)
