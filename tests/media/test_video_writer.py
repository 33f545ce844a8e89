import numpy as np
import pytest
from clips import gradient_frames

from artifacts.errors import InputError
from media.video import VideoWriter, decode_audio, decode_frames, probe


def _write(path, frames, rate_hz=25.0, audio=None):
    size = (frames.shape[2], frames.shape[1])
    with VideoWriter(path, rate_hz, size, audio) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def test_frames_and_colours_survive(tmp_path):
    frames = gradient_frames(10, 64, 48)
    info = probe(_write(tmp_path / "a.mp4", frames, 30000 / 1001))
    decoded = np.stack(list(decode_frames(info)))
    assert info.frame_rate_hz == pytest.approx(30000 / 1001)
    assert decoded.shape == frames.shape
    mse = np.mean((decoded.astype(float) - frames) ** 2)
    assert 10 * np.log10(255**2 / mse) > 33
    assert np.abs(decoded.mean(axis=(0, 1, 2)) - frames.mean(axis=(0, 1, 2))).max() < 1.5


def test_odd_sizes_are_made_even(tmp_path):
    assert probe(_write(tmp_path / "a.mp4", gradient_frames(3, 33, 31))).size == (34, 32)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 3.0])
def test_sound_is_as_long_as_the_picture(tmp_path, seconds):
    tone = (np.sin(np.arange(int(16000 * seconds)) * 0.3) * 9000).astype(np.int16)
    info = probe(_write(tmp_path / "a.mp4", gradient_frames(25, 32, 32), audio=(tone, 16000)))
    sound = decode_audio(info)
    assert info.duration_s == pytest.approx(1.0, abs=0.01)
    assert len(sound) == pytest.approx(16000, abs=1100)  # AAC comes in blocks of 1024
    audible = int(min(seconds, 1.0) * 16000)
    assert np.abs(sound[2000 : audible - 1500].astype(int)).max() > 7000 if audible > 5000 else True


def test_no_sound_gives_no_sound_track(tmp_path):
    empty = np.zeros(0, np.int16)
    clip = _write(tmp_path / "a.mp4", gradient_frames(3, 32, 32), audio=(empty, 16000))
    assert not probe(clip).has_audio


def test_equal_input_gives_equal_bytes(tmp_path):
    tone = np.arange(8000).astype(np.int16)
    frames = gradient_frames(8, 48, 48)
    first = _write(tmp_path / "a.mp4", frames, audio=(tone, 16000)).read_bytes()
    second = _write(tmp_path / "b.mp4", frames, audio=(tone, 16000)).read_bytes()
    assert first == second


def _interrupted(path):
    with VideoWriter(path, 25.0, (32, 32)) as writer:
        writer.write(gradient_frames(1, 32, 32)[0])
        raise RuntimeError("interrupted")


def test_an_error_inside_the_block_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="interrupted"):
        _interrupted(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_old_video_stays_until_the_new_one_is_whole(tmp_path):
    clip = _write(tmp_path / "a.mp4", gradient_frames(5, 32, 32))
    before = clip.read_bytes()
    with (
        pytest.raises(ValueError, match="expected 32x32"),
        VideoWriter(clip, 25.0, (32, 32)) as writer,
    ):
        writer.write(gradient_frames(1, 34, 32)[0])
    assert clip.read_bytes() == before


def test_no_frames_is_an_error_not_a_broken_file(tmp_path):
    with (
        pytest.raises(InputError, match="could not write"),
        VideoWriter(tmp_path / "a.mp4", 25.0, (32, 32)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folder_is_made_and_names_are_literal(tmp_path):
    clip = _write(tmp_path / "new folder" / "ö: 100%d.mp4", gradient_frames(3, 32, 32))
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]
