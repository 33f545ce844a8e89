"""Windows from tracks and ready files, and the step with each kind of features."""

import logging

import h5py
import numpy as np
import pytest
from deepspeech_network import SmallDeepSpeech

from artifacts.errors import InputError
from artifacts.kinds import AUDIO_FEATURES, FRAMES
from artifacts.store import read_artifact, read_provenance, write_artifact
from preprocessing.audio_feature_kinds import FeatureTrack, frame_windows
from preprocessing.audio_features import Options, main
from preprocessing.sound.deepspeech import DeepSpeech
from preprocessing.sound.windows import linear_windows

RATE = 16000
FRAMES_25 = np.arange(40) / 25


def _windows(track, time_s, rate_hz, end_s):
    windows = linear_windows(track, time_s, rate_hz, end_s)
    return np.concatenate(list(windows.pieces()))


def _track(n_steps=80, channels=3, rate_hz=50.0):
    values = np.random.default_rng(0).normal(0, 1, (n_steps, channels)).astype(np.float32)
    return FeatureTrack(values, rate_hz, 0.0)


def _interpolate(values, input_rate, output_rate, output_len):
    """The resampling of VOCA and AD-NeRF: np.interp of every channel."""
    given, wanted = np.arange(len(values)) / input_rate, np.arange(output_len) / output_rate
    return np.stack([np.interp(wanted, given, column) for column in values.T], axis=1)


@pytest.mark.parametrize("rate_hz", [25.0, 30.0, 60.0, 24000 / 1001])
@pytest.mark.parametrize("n_steps", [77, 80, 83])
def test_at_the_videos_rate_as_voca_does_it(rate_hz, n_steps):
    """Interpolate to the video's rate, 8 empty vectors before and after, a window of 16 from every place."""
    track, n_frames = _track(n_steps), int(1.6 * rate_hz)
    resampled = _interpolate(track.values, 50.0, rate_hz, n_frames)
    padded = np.pad(resampled, ((8, 8), (0, 0)))
    expected = np.stack([padded[i : i + 16] for i in range(len(padded) - 16)])
    found = _windows(track, np.arange(n_frames) / rate_hz, rate_hz, n_frames / rate_hz)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("n_steps", [79, 80, 82])
def test_at_50_hz_as_adnerf_does_it(n_steps):
    """Stay at 50 Hz, 8 empty vectors before and after, a window of 16 from every second place."""
    track = _track(n_steps, channels=29)
    steps = _interpolate(track.values, 50.0, 50.0, 80)
    padded = np.pad(steps, ((8, 8), (0, 0)))
    expected = np.stack([padded[i : i + 16] for i in range(0, len(padded) - 16, 2)])
    np.testing.assert_allclose(_windows(track, FRAMES_25, 50.0, 1.6), expected, atol=1e-6)


def test_equal_to_the_windows_of_the_default_features():
    values = _track(40, rate_hz=25.0)
    np.testing.assert_array_equal(
        _windows(values, FRAMES_25, 25.0, 1.6), frame_windows(values.values)
    )


def test_an_empty_track_gives_zeros():
    found = _windows(FeatureTrack(np.zeros((0, 2), np.float32), 50.0, 0.0), FRAMES_25, 25.0, 1.6)
    assert found.shape == (40, 16, 2)
    assert not found.any()


# ------------------------------------------------------------------------------- the step


def _clip(folder, n_frames=50, has_audio=True, seed=0):
    rng = np.random.default_rng(seed)
    audio = rng.normal(0, 2000, n_frames * 640).astype(np.int16) if has_audio else np.zeros(0, "i2")
    arrays = {
        "image": np.zeros((n_frames, 4, 4, 3), np.uint8),
        "time_s": np.arange(n_frames) / 25.0,
        "frame_rate_hz": np.float64(25),
        "source_from_crop": np.eye(3),
        "source_size": np.array([4, 4], np.int32),
        "audio": audio,
        "audio_rate_hz": np.int32(RATE),
        "has_audio": np.bool_(has_audio),
    }
    write_artifact(folder / "frames.h5", FRAMES, arrays, {"step": "test", "options": {}})
    return folder / "frames.h5"


def _run(folder, frames, **options):
    out = folder / "audio_features.h5"
    main(Options(frames=frames, out=out, **options))
    return read_artifact(out, AUDIO_FEATURES)


def _refusal(folder, frames, **options):
    with pytest.raises(InputError) as caught:
        _run(folder, frames, **options)
    assert not (folder / "audio_features.h5").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_both_names_of_the_default(tmp_path):
    frames = _clip(tmp_path)
    first, second = (_run(tmp_path, frames, kind=kind) for kind in ("log_mel", "logmel"))
    np.testing.assert_array_equal(first["feature"], second["feature"])


@pytest.mark.parametrize("window_rate_hz", [0.0, 50.0])
def test_deepspeech_and_its_aud_npy(tmp_path, window_rate_hz):
    frames = _clip(tmp_path)
    network = SmallDeepSpeech().write(tmp_path / "small.tflite")
    options = {"kind": "deepspeech", "path": network, "window_rate_hz": window_rate_hz}
    found = _run(tmp_path, frames, also_npy=True, **options)
    assert found["feature"].shape == (50, 16, 29)
    assert found["valid"].all()
    track = DeepSpeech(network).extract(read_artifact(frames, FRAMES)["audio"], RATE)
    time_s = np.arange(50) / 25
    expected = _windows(track, time_s, window_rate_hz or 25.0, 2.0)
    np.testing.assert_array_equal(found["feature"], expected)
    assert found["feature"][0, :8].any() == False  # noqa: E712  (nothing before the clip)
    saved = np.load(tmp_path / "aud.npy")
    assert saved.dtype == np.float32
    np.testing.assert_array_equal(saved, found["feature"])
    inputs = read_provenance(tmp_path / "audio_features.h5")["inputs"]
    assert set(inputs) == {"frames", "path"}
    # What was written is read again, and gives the same.
    again = _run(tmp_path, frames, kind="file", path=tmp_path / "aud.npy")
    np.testing.assert_array_equal(again["feature"], found["feature"])
    assert not list(tmp_path.glob("*.partial"))


def test_deepspeech_without_sound_and_with_silence(tmp_path, caplog):
    network = SmallDeepSpeech().write(tmp_path / "small.tflite")
    frames = _clip(tmp_path, has_audio=False)
    found = _run(tmp_path, frames, kind="deepspeech", path=network)
    assert found["feature"].shape == (50, 16, 29)
    assert not found["valid"].any()
    assert not found["feature"].any()


def test_an_aud_npy_as_adnerf_saves_it(tmp_path):
    """Double precision, (frame, 16, 29); a clip without sound may have features too."""
    frames = _clip(tmp_path, has_audio=False)
    features = np.random.default_rng(1).normal(0, 3, (50, 16, 29))
    np.save(tmp_path / "aud.npy", features)
    found = _run(tmp_path, frames, kind="file", path=tmp_path / "aud.npy")
    np.testing.assert_array_equal(found["feature"], features.astype(np.float32))
    assert found["valid"].all()


@pytest.mark.parametrize("difference", [-5, -1, 2, 5])
def test_a_few_frames_more_or_less_are_said(tmp_path, caplog, difference):
    frames = _clip(tmp_path)
    features = np.random.default_rng(1).normal(0, 3, (50 + difference, 16, 29)).astype(np.float32)
    np.save(tmp_path / "aud.npy", features)
    with caplog.at_level(logging.WARNING):
        found = _run(tmp_path, frames, kind="file", path=tmp_path / "aud.npy")
    assert f"has {50 + difference} frames, the clip 50" in caplog.text
    shared = min(50, 50 + difference)
    np.testing.assert_array_equal(found["feature"][:shared], features[:shared])
    np.testing.assert_array_equal(found["valid"], np.arange(50) < 50 + difference)
    assert not found["feature"][shared:].any()


def test_steps_of_hubert_become_windows(tmp_path):
    frames = _clip(tmp_path)
    values = np.random.default_rng(2).normal(0, 1, (99, 64)).astype(np.float16)
    with h5py.File(tmp_path / "hubert.h5", "w") as file:
        file["feature"] = values
        file["time"] = np.arange(99)
    options = {"kind": "file", "path": tmp_path / "hubert.h5", "file_rate_hz": 50.0}
    found = _run(tmp_path, frames, window_rate_hz=50.0, **options)
    track = FeatureTrack(values.astype(np.float32), 50.0, 0.0)
    np.testing.assert_array_equal(found["feature"], _windows(track, np.arange(50) / 25, 50.0, 2.0))
    assert found["feature"].shape == (50, 16, 64)


def test_long_files_are_read_in_pieces(tmp_path):
    frames = _clip(tmp_path, n_frames=1203)
    features = np.random.default_rng(1).normal(0, 3, (1200, 16, 2)).astype(np.float32)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["wav2vec"] = features
    found = _run(tmp_path, frames, kind="file", path=tmp_path / "f.h5")
    np.testing.assert_array_equal(found["feature"][:1200], features)


BAD_ARRAYS = {
    "too short": (np.zeros((40, 16, 29)), "has 40 frames, but the clip has 50"),
    "too long": (np.zeros((56, 16, 29)), "has 56 frames, but the clip has 50"),
    "other windows": (np.zeros((50, 8, 29)), r"has the shape (50, 8, 29), expected (frame, 16"),
    "one number": (np.zeros(()), "has the shape ()"),
    "no channel": (np.zeros((50, 16, 0)), "has the shape (50, 16, 0)"),
    "text": (np.array(["a"] * 50), "holds values of type <U1"),
    "not finite": (np.full((50, 16, 29), np.nan), "not finite"),
    "steps without a rate": (np.zeros((100, 29)), "say how many steps a second"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_ready_files_of_another_layout(tmp_path, name):
    array, sentence = BAD_ARRAYS[name]
    np.save(tmp_path / "aud.npy", array)
    refusal = _refusal(tmp_path, _clip(tmp_path), kind="file", path=tmp_path / "aud.npy")
    assert sentence in refusal
    assert str(tmp_path / "aud.npy") in refusal


def test_files_that_are_no_features(tmp_path):
    frames = _clip(tmp_path)
    path = tmp_path / "f.npy"
    with path.open("wb") as file:  # a pickle inside, which is not opened
        np.lib.format.write_array(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "plain numbers" in _refusal(tmp_path, frames, kind="file", path=path)
    path.write_bytes(b"\x93NUMPY\x01\x00")
    assert "plain numbers" in _refusal(tmp_path, frames, kind="file", path=path)
    path.write_bytes(b"")
    assert "plain numbers" in _refusal(tmp_path, frames, kind="file", path=path)
    np.savez(tmp_path / "f.npz", a=np.zeros(3), b=np.zeros(3))
    assert "archive" in _refusal(tmp_path, frames, kind="file", path=tmp_path / "f.npz")
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["a"], file["b"] = np.zeros((50, 16, 2)), np.zeros(3)
    refusal = _refusal(tmp_path, frames, kind="file", path=tmp_path / "f.h5")
    assert "no dataset 'feature' (its datasets: a, b)" in refusal
    assert "no such file" in _refusal(tmp_path, frames, kind="file", path=tmp_path / "none.npy")
    steps = tmp_path / "steps.npy"
    np.save(steps, np.zeros((120, 3), np.float32))
    refusal = _refusal(tmp_path, frames, kind="file", path=steps, file_rate_hz=50.0)
    assert "has 120 steps, but the clip has 100" in refusal


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kind": "telepathy"}, "log_mel, logmel, deepspeech, file"),
        ({"kind": "deepspeech"}, "--path"),
        ({"kind": "file"}, "--path"),
        ({"kind": "deepspeech", "mfcc": "librosa"}, "--mfcc"),
        ({"window_rate_hz": -1.0}, "--window-rate-hz"),
        ({"file_rate_hz": float("nan")}, "--file-rate-hz"),
    ],
)
def test_impossible_options(tmp_path, options, named):
    if options.get("mfcc"):
        options = options | {"path": SmallDeepSpeech().write(tmp_path / "small.tflite")}
    assert named in _refusal(tmp_path, _clip(tmp_path), **options)


def test_a_file_for_a_kind_that_reads_none(tmp_path):
    assert "leave out --path" in _refusal(tmp_path, _clip(tmp_path), path=tmp_path / "aud.npy")
