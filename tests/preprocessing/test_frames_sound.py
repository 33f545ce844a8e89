"""The sound of the step frames: odd rates and channels, too short, too long, silent, and moved against the picture."""

import logging

import numpy as np
import pytest
from clips import EXACT, detector_path, ffmpeg_or_fail, person_frames, write_clip, write_sound

from artifacts.errors import InputError
from artifacts.kinds import AUDIO_FEATURES, FRAMES
from artifacts.store import read_artifact, read_provenance
from media.ffmpeg import file_url
from preprocessing import audio_features
from preprocessing.frames import Options, main

RATE = 16000
N_FRAMES = 30
PCM = (*EXACT, "-c:a", "pcm_s16le")


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "silent.mkv"
    return write_clip(path, person_frames([(100, 50)] * N_FRAMES, side=160), 25, EXACT)


def _with_sound(picture, sound, *codec):
    clip = sound.with_suffix(".mkv")
    arguments = ["-i", file_url(picture), "-i", file_url(sound), "-map", "0:v", "-map", "1:a"]
    ffmpeg_or_fail(*arguments, "-c:v", "copy", *(codec or ("-c:a", "pcm_s16le")), file_url(clip))
    return clip


def _run(clip, **options):
    out = clip.parent / "frames.h5"
    main(Options(video=clip, detector=detector_path(), out=out, max_side_px=64, **options))
    return read_artifact(out, FRAMES)["audio"]


def _clicks(*times_s, length_s=1.2, rate_hz=RATE):
    """A click of 5 ms at each of the times, louder every time."""
    samples = np.zeros(round(length_s * rate_hz), np.int16)
    for number, time_s in enumerate(times_s, 1):
        samples[round(time_s * rate_hz) :][: round(0.005 * rate_hz)] = 4000 * number
    return samples


def _click_times(audio, *heights):
    return [np.argmax(np.abs(audio.astype(int)) > height) / RATE for height in heights]


def test_sound_of_8_khz(tmp_path, picture):
    tone = np.round(8000 * np.sin(2 * np.pi * 440 * np.arange(9600) / 8000)).astype(np.int16)
    clip = _with_sound(picture, write_sound(tmp_path / "s.wav", tone, 8000))
    audio = _run(clip)
    assert audio.shape == (N_FRAMES * 640,)
    spectrum = np.abs(np.fft.rfft(audio[:RATE].astype(float)))
    assert np.argmax(spectrum) == 440
    assert np.abs(audio[2000:14000]).max() == pytest.approx(8000, rel=0.02)


@pytest.mark.parametrize("codec", [("-c:a", "pcm_s16le"), ("-c:a", "ac3")])
@pytest.mark.parametrize("channel", [0, 2])
def test_sound_in_5_1(tmp_path, picture, channel, codec):
    """A voice in the centre (as in films) or at the left is heard in the one channel, at its time."""
    samples = np.zeros((57600, 6), np.int16)
    time_s = np.arange(57600) / 48000
    samples[:, channel] = 12000 * np.sin(2 * np.pi * 440 * time_s) * (time_s > 0.6)
    raw = ["-f", "s16le", "-ar", "48000", "-ac", "6", "-channel_layout", "5.1", "-i", "pipe:"]
    sound = tmp_path / "s.wav"
    ffmpeg_or_fail(*raw, file_url(sound), given=samples.tobytes())
    audio = _run(_with_sound(picture, sound, *codec))
    assert audio.shape == (N_FRAMES * 640,)
    assert np.argmax(np.abs(audio.astype(int)) > 500) / RATE == pytest.approx(0.6, abs=0.01)
    assert np.argmax(np.abs(np.fft.rfft(audio[9600:17600].astype(float)))) == 220  # 0.5 s
    assert np.abs(audio[11000:18000]).max() > 1500


@pytest.mark.parametrize("length_s", [0.5, 3.0])
def test_sound_shorter_and_longer_than_the_picture(tmp_path, picture, caplog, length_s):
    sound = write_sound(tmp_path / "s.wav", np.full(round(length_s * RATE), 1000, np.int16))
    with caplog.at_level(logging.INFO):
        audio = _run(_with_sound(picture, sound))
    assert audio.shape == (N_FRAMES * 640,)
    end = min(len(audio), round(length_s * RATE))
    assert (audio[:end] == 1000).all()
    assert not audio[end:].any()
    if length_s < 1:
        assert "the sound is 0.7 s shorter than the picture; the rest is silence" in caplog.text
    else:
        assert "the sound is 1.8 s longer than the picture and is cut" in caplog.text


def test_silence_is_said_and_gives_features_of_silence(tmp_path, picture, caplog):
    clip = _with_sound(picture, write_sound(tmp_path / "s.wav", np.zeros(19200, np.int16)))
    assert not _run(clip).any()
    assert "the sound is silent from beginning to end" in caplog.text
    frames, out = tmp_path / "frames.h5", tmp_path / "audio_features.h5"
    audio_features.main(audio_features.Options(frames=frames, out=out))
    found = read_artifact(out, AUDIO_FEATURES)
    assert found["valid"].all()
    assert not found["feature"].any()


@pytest.mark.parametrize("shift_s", [0.16, -0.16, 0.0125])
def test_sound_is_moved_by_the_shift(tmp_path, picture, shift_s):
    """What was heard at t is heard at t + shift; what moves in from beyond the clip is silence."""
    clip = _with_sound(picture, write_sound(tmp_path / "s.wav", _clicks(0.4, 0.8)))
    audio = _run(clip, audio_shift_s=shift_s)
    assert audio.shape == (N_FRAMES * 640,)
    times = _click_times(audio, 3000, 6000)
    np.testing.assert_allclose(times, [0.4 + shift_s, 0.8 + shift_s], atol=2 / RATE)
    options = read_provenance(tmp_path / "frames.h5")["options"]
    assert options["audio_shift_s"] == shift_s


@pytest.mark.parametrize(
    ("shift_s", "expected_s"),
    [(0.0, [0.1, 0.3]), (0.2, [0.1, 0.3, 0.5]), (-0.2, [0.1, 0.3])],
)
def test_sound_beside_the_part_that_is_used_moves_in(tmp_path, picture, shift_s, expected_s):
    """Clicks at 0.3, 0.5, 0.7, 0.9; of the part from 0.4 to 0.8 the sound before and after it exists."""
    samples = _clicks(0.3, 0.5, 0.7, 0.9)
    clip = _with_sound(picture, write_sound(tmp_path / "s.wav", samples))
    audio = _run(clip, audio_shift_s=shift_s, start_s=0.4, duration_s=0.4 if shift_s <= 0 else 0.64)
    starts = np.flatnonzero(np.diff(np.abs(audio.astype(int)) > 2000, prepend=False)) / RATE
    np.testing.assert_allclose(starts[::2][: len(expected_s)], expected_s, atol=0.002)


def test_a_shift_beyond_all_sound_is_silence(tmp_path, picture, caplog):
    clip = _with_sound(picture, write_sound(tmp_path / "s.wav", _clicks(0.4)))
    assert not _run(clip, audio_shift_s=5.0).any()
    assert not _run(clip, audio_shift_s=-5.0).any()
    assert "silent" in caplog.text


def test_a_shift_without_sound_and_impossible_shifts(tmp_path, picture):
    clip = tmp_path / "silent.mkv"
    clip.write_bytes(picture.read_bytes())
    assert _run(clip, audio_shift_s=0.5).shape == (0,)
    for shift_s in (11.0, -11.0, float("nan")):
        with pytest.raises(InputError, match="--audio-shift-s"):
            _run(clip, audio_shift_s=shift_s)
