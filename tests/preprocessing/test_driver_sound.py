"""The step ``driver_sound``: a sound file becomes a driver."""

import logging

import numpy as np
import pytest
from clips import ffmpeg_or_fail, gradient_frames, write_clip, write_sound

from artifacts.errors import InputError
from artifacts.kinds import AUDIO_FEATURES, FRAMES
from artifacts.store import read_artifact, read_provenance
from media.ffmpeg import file_url
from preprocessing import audio_features
from preprocessing.driver_sound import Options, main
from preprocessing.sound.speech_check import loudness, peak_level_db, syllable_modulation
from preprocessing.synthesis.speech import Voice, speak

RATE = 16000


@pytest.fixture(scope="module")
def speech():
    spoken = speak("My mother bought red apples in the park.", Voice("en-us"))
    return spoken.sound, spoken.rate_hz


def tone(rate_hz, seconds, frequency_hz=220.0, amplitude=8000.0):
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.int16)


def run(wav, **options):
    out = wav.parent / "frames.h5"
    main(Options(wav=wav, out=out, **options))
    return read_artifact(out, FRAMES)


@pytest.mark.parametrize("frame_rate_hz", [25.0, 30.0, 30000 / 1001])
def test_as_many_frames_as_the_sound_lasts(tmp_path, frame_rate_hz):
    frames = run(write_sound(tmp_path / "a.wav", tone(RATE, 1.51)), frame_rate_hz=frame_rate_hz)
    count = int(np.ceil(1.51 * frame_rate_hz))
    np.testing.assert_allclose(frames["time_s"], np.arange(count) / frame_rate_hz)
    assert frames["image"].shape == (count, 0, 0, 3)
    assert float(frames["frame_rate_hz"]) == frame_rate_hz
    assert bool(frames["has_audio"])
    assert len(frames["audio"]) == round(count / frame_rate_hz * RATE)
    # What is added at the end is silence.
    assert not frames["audio"][round(1.51 * RATE) + 1 :].any()


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (16000, 2), (44100, 1), (48000, 6)])
def test_any_rate_and_channels_become_16_khz_mono(tmp_path, rate_hz, channels):
    mono = write_sound(tmp_path / "mono.wav", tone(rate_hz, 2.0, 440.0), rate_hz)
    wav = tmp_path / "a b ü.wav"
    ffmpeg_or_fail("-i", file_url(mono), "-ac", str(channels), "-c:a", "pcm_s24le", file_url(wav))
    frames = run(wav)
    assert len(frames["audio"]) == 2 * RATE
    spectrum = np.abs(np.fft.rfft(frames["audio"][:RATE].astype(float)))
    assert int(spectrum.argmax()) == 440
    # Louder than nothing in all layouts; how loud each is mixed is ffmpeg's rule.
    assert np.abs(frames["audio"]).max() > 1000


def test_its_features_are_those_of_a_clip_with_that_sound(tmp_path, speech):
    wav = write_sound(tmp_path / "a.wav", *speech)
    run(wav)
    out = tmp_path / "audio_features.h5"
    audio_features.main(audio_features.Options(frames=tmp_path / "frames.h5", out=out))
    found = read_artifact(out, AUDIO_FEATURES)
    assert found["valid"].all()
    assert found["feature"].shape[1:] == (16, 80)
    assert found["feature"].std() > 0.05


def test_speech_passes_without_a_word(tmp_path, speech, caplog):
    run(write_sound(tmp_path / "a.wav", *speech))
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "warning" not in read_provenance(tmp_path / "frames.h5")


@pytest.mark.parametrize("kind", ["tone", "noise"])
def test_what_is_no_speech_is_said_in_the_log_and_the_result(tmp_path, kind, caplog):
    noise = np.random.default_rng(0).normal(0, 2000, 3 * RATE).astype(np.int16)
    run(write_sound(tmp_path / "a.wav", noise if kind == "noise" else tone(RATE, 3.0)))
    said = read_provenance(tmp_path / "frames.h5")["warning"]
    assert said.startswith("a.wav: does not sound like speech")
    assert said in caplog.text


def test_modulation_is_that_of_the_envelope():
    time_s = np.arange(4 * RATE) / RATE
    carrier = np.sin(2 * np.pi * 1000 * time_s)
    for depth, rate_hz, expected in ((1.0, 4.0, 0.5**0.5), (0.5, 5.0, 0.125**0.5), (1.0, 12.0, 0)):
        envelope = 1 + depth * np.sin(2 * np.pi * rate_hz * time_s)
        sound = (8000 * envelope * carrier).astype(np.int16)
        assert syllable_modulation(sound, RATE) == pytest.approx(expected, abs=0.01)
    assert syllable_modulation(np.zeros(RATE, np.int16), RATE) == 0


def test_level_is_that_of_the_loudest_moment():
    sound = np.zeros(2 * RATE, np.int16)
    sound[RATE : RATE + 800] = 3277 * np.tile([1, -1], 400)
    assert peak_level_db(sound, RATE) == pytest.approx(-20, abs=0.01)
    assert peak_level_db(0 * sound, RATE) == -np.inf
    assert len(loudness(sound[:-7], RATE)) == 199


def broken(tmp_path, case):
    path = tmp_path / "bad.wav"
    if case == "short":
        write_sound(path, tone(RATE, 0.9))
    elif case == "silent":
        write_sound(path, np.zeros(2 * RATE, np.int16))
    elif case == "faint":
        write_sound(path, np.random.default_rng(0).normal(0, 3, 2 * RATE).astype(np.int16))
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "text":
        path.write_text("no sound at all\n" * 100)
    elif case == "header":
        path.write_bytes(write_sound(path, tone(RATE, 2.0)).read_bytes()[:30])
    elif case == "film":
        film = write_clip(tmp_path / "bad.mkv", gradient_frames(5, 32, 32))
        film.rename(path)
    elif case == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("short", r"lasts 0\.90 s, but a sound that drives must last at least 1 s; give a longer"),
        ("silent", "is silent, so there is no speech in it"),
        ("faint", r"reaches only -\d+ dB of full scale, so there is no speech"),
        ("empty", r"is empty \(0 bytes\); copy or download the sound again"),
        ("text", "cannot be read as a sound file"),
        ("header", "cannot be read as a sound file"),
        ("film", "cannot be read as a sound file"),
        ("folder", "is a folder; give the path of a sound file"),
        ("missing", "no such file; check the path of the sound"),
    ],
)
def test_a_bad_sound_is_refused_in_one_sentence(tmp_path, case, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        run(broken(tmp_path, case))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*.h5*"))


def test_an_impossible_frame_rate_is_refused(tmp_path):
    wav = write_sound(tmp_path / "a.wav", tone(RATE, 2.0))
    with pytest.raises(InputError, match="--frame-rate-hz 0 must be above 0"):
        run(wav, frame_rate_hz=0.0)
