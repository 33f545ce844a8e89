import numpy as np
import pytest

from artifacts.errors import InputError
from artifacts.kinds import AUDIO_FEATURES, FRAMES
from artifacts.store import read_artifact, write_artifact
from preprocessing.audio_feature_kinds import (
    FULL_SCALE,
    FeatureTrack,
    LogMel,
    audio_feature,
    frame_windows,
    mel_filters,
    mel_to_hertz,
    resample_track,
)
from preprocessing.audio_features import Options, main

RATE = 16000


def _tone(frequency_hz, seconds=1.0, amplitude=1.0):
    phase = 2 * np.pi * frequency_hz * np.arange(int(seconds * RATE)) / RATE
    return np.round(np.sin(phase) * amplitude * (FULL_SCALE - 1)).astype(np.int16)


def _energy(values):
    """The inverse of LogMel's logarithm, at its 80 dB."""
    return (10.0 ** (8.0 * values.astype(np.float64)) - 1) / 1e8


@pytest.mark.parametrize("frequency_hz", [300.0, 1000.0, 3333.0, 6000.0])
@pytest.mark.parametrize("amplitude", [1.0, 0.1])
def test_bands_of_a_tone_add_up_to_its_power(frequency_hz, amplitude):
    """Closed form: the filters add up to 1 and the spectrum to amplitude squared (Parseval)."""
    values = LogMel().extract(_tone(frequency_hz, amplitude=amplitude), RATE).values
    power = _energy(values).sum(axis=1)
    np.testing.assert_allclose(power, amplitude**2, rtol=0.02)
    loudest_hz = mel_to_hertz(
        np.linspace(*(2595 * np.log10(1 + np.array([50.0, 7600.0]) / 700)), 82)
    )[1:-1][values.mean(axis=0).argmax()]
    assert loudest_hz == pytest.approx(frequency_hz, rel=0.08)


def test_silence_is_zero_and_a_full_scale_tone_about_one():
    assert not LogMel().extract(np.zeros(RATE, np.int16), RATE).values.any()
    assert 0.93 < LogMel().extract(_tone(1000.0), RATE).values.max() <= 1.0


def test_against_sums_written_out():
    """The same numbers from the definition: a Fourier sum, triangles by interpolation, in double precision."""
    audio = np.random.default_rng(0).normal(0, 3000, 1000).astype(np.int16)
    track = LogMel(channels=12).extract(audio, RATE)
    corners_mel = np.linspace(2595 * np.log10(1 + 50 / 700), 2595 * np.log10(1 + 7600 / 700), 14)
    corners_hz = 700 * (10 ** (corners_mel / 2595) - 1)
    n = np.arange(400)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (n + 0.5) / 400)
    for step, value in enumerate(track.values):
        piece = audio[160 * step : 160 * step + 400] / 32768 * window
        for band in range(12):
            energy = 0.0
            for k in range(257):
                weight = np.interp(k * RATE / 512, corners_hz[band : band + 3], [0, 1, 0])
                if weight > 0:
                    fourier = np.sum(piece * np.exp(-2j * np.pi * k * n / 512))
                    energy += weight * abs(fourier) ** 2 * 4 / (512 * np.sum(window**2))
            assert value[band] == pytest.approx(np.log10(1 + energy * 1e8) / 8, abs=1e-6)
    assert len(track.values) == 4


def test_a_click_appears_at_its_time():
    audio = np.zeros(RATE, np.int16)
    audio[8000] = 30000
    track = LogMel().extract(audio, RATE)
    loudness = track.values.sum(axis=1)
    times = track.start_s + np.arange(len(loudness)) / track.rate_hz
    assert np.sum(times * loudness) / loudness.sum() == pytest.approx(0.5, abs=0.005)


def test_long_sound_in_pieces_equals_short_sound():
    audio = np.random.default_rng(1).normal(0, 2000, RATE * 45).astype(np.int16)
    whole = LogMel().extract(audio, RATE).values
    part = LogMel().extract(audio[160 * 4000 : 160 * 4200], RATE).values
    np.testing.assert_array_equal(whole[4000 : 4000 + len(part)], part)


@pytest.mark.parametrize("n_samples", [0, 1, 399, 400])
def test_sound_shorter_than_a_window(n_samples):
    track = LogMel().extract(np.ones(n_samples, np.int16), RATE)
    assert track.values.shape == (1 if n_samples == 400 else 0, 80)


def test_filters_add_up_to_one_between_the_outer_centres():
    filters = mel_filters(20, 2048, RATE, 100.0, 7000.0)
    peaks = filters.argmax(axis=0)
    np.testing.assert_allclose(filters[peaks[0] + 1 : peaks[-1]].sum(axis=1), 1.0)
    assert filters.min() == 0.0


def test_resampling_keeps_a_straight_line():
    """Linear interpolation and symmetric averaging both reproduce a line exactly, away from the ends."""
    values = np.stack([np.arange(100), 5 - 2 * np.arange(100)], axis=1).astype(np.float32)
    track = FeatureTrack(values, 100.0, 0.0125)
    for frame_rate_hz in (25.0, 30.0, 240.0):
        times = np.arange(int(0.9 * frame_rate_hz)) / frame_rate_hz
        inner = (times > 0.07) & (times < 0.9)
        result = resample_track(track, times, frame_rate_hz)[inner]
        expected = (times[inner] - 0.0125) * 100
        np.testing.assert_allclose(result[:, 0], expected, rtol=0, atol=0.06)
        np.testing.assert_allclose(result[:, 1], 5 - 2 * expected, rtol=0, atol=0.12)


def test_resampling_to_a_lower_rate_loses_no_click():
    values = np.zeros((100, 1), np.float32)
    for click in range(10, 90):
        values[:] = 0
        values[click] = 1
        track = FeatureTrack(values, 100.0, 0.0)
        assert resample_track(track, np.arange(25) / 25, 25.0).sum() == pytest.approx(
            0.25, rel=0.05
        )


def test_frames_far_from_the_track_are_zero():
    track = FeatureTrack(np.ones((10, 3), np.float32), 100.0, 0.0)
    result = resample_track(track, np.array([0.05, 0.1, 2.0]), 25.0)
    np.testing.assert_allclose(result, [[1, 1, 1], [1, 1, 1], [0, 0, 0]])
    nothing = FeatureTrack(np.zeros((0, 3), np.float32), 100.0, 0.0)
    assert not resample_track(nothing, np.array([0.0, 1.0]), 25.0).any()


def test_windows_lie_around_their_frame_with_zeros_beyond():
    """As AD-NeRF cuts them: 8 vectors of padding before and after, window i = entries i ... i + 15."""
    features = np.arange(1, 31, dtype=np.float32)[:, None] * np.array([1, 100], np.float32)
    windows = frame_windows(features)
    padded = np.concatenate([np.zeros((8, 2)), features, np.zeros((8, 2))])
    expected = np.stack([padded[i : i + 16] for i in range(30)])
    np.testing.assert_array_equal(windows, expected)
    np.testing.assert_array_equal(windows[:, 8], features)


def _frames_artifact(path, audio, has_audio, n_frames=25):
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
    write_artifact(path, FRAMES, arrays, {"step": "test"})
    return path


def test_step_with_sound(tmp_path):
    audio = np.concatenate([np.zeros(8000, np.int16), _tone(1000.0, 0.5)])
    frames = _frames_artifact(tmp_path / "frames.h5", audio, True)
    main(Options(frames=frames, out=tmp_path / "audio_features.h5"))
    result = read_artifact(tmp_path / "audio_features.h5", AUDIO_FEATURES)
    assert result["feature"].shape == (25, 16, 80)
    assert result["valid"].all()
    own = result["feature"][:, 8].max(axis=1)
    assert own[:11].max() == 0
    assert own[14:].min() > 0.9
    np.testing.assert_array_equal(result["feature"][20, 4], result["feature"][16, 8])


def test_step_without_sound(tmp_path):
    frames = _frames_artifact(tmp_path / "frames.h5", np.zeros(0, np.int16), False)
    main(Options(frames=frames, out=tmp_path / "audio_features.h5"))
    result = read_artifact(tmp_path / "audio_features.h5", AUDIO_FEATURES)
    assert result["feature"].shape == (25, 16, 80)
    assert not result["valid"].any()
    assert not result["feature"].any()


def test_unknown_kind_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="log_mel"):
        audio_feature("telepathy")
