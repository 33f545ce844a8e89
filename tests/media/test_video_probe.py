import re
from pathlib import Path

import numpy as np
import pytest
from clips import EXACT, H264, ffmpeg_or_fail, gradient_frames, write_clip, write_sound
from PIL import Image

from artifacts.errors import InputError
from media.ffmpeg import file_url
from media.video import probe


def test_size_rate_length_and_sound(tmp_path):
    sound = write_sound(tmp_path / "s.wav", np.zeros(16000, np.int16))
    clip = write_clip(tmp_path / "a.mp4", gradient_frames(30, 64, 48), 30, sound=sound)
    info = probe(clip)
    assert info.size == info.stored_size == (64, 48)
    assert info.frame_rate_hz == 30
    assert info.n_frames == 30
    assert info.duration_s == pytest.approx(1.0, abs=0.01)
    assert info.has_audio
    assert not info.is_variable_rate


@pytest.mark.parametrize("name", ["a.mkv", "a.mov", "a.avi"])
def test_ntsc_rate_is_exact_whatever_the_container_rounds(tmp_path, name):
    clip = write_clip(tmp_path / name, gradient_frames(40, 32, 32), 30000 / 1001)
    info = probe(clip)
    assert info.frame_rate_hz == pytest.approx(30000 / 1001, abs=1e-9)
    assert not info.is_variable_rate
    assert not info.has_audio


def test_rotation_is_applied_to_the_size(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", gradient_frames(5, 64, 48))
    turned = tmp_path / "turned.mp4"
    ffmpeg_or_fail("-display_rotation", "90", "-i", str(clip), "-c", "copy", str(turned))
    assert probe(turned).size == (48, 64)


@pytest.mark.parametrize(("aspect", "size"), [("12/11", (70, 48)), ("8/9", (64, 54))])
def test_pixels_become_square_without_losing_any(tmp_path, aspect, size):
    codec = ("-vf", f"setsar={aspect}", *H264)
    clip = write_clip(tmp_path / "a.mp4", gradient_frames(3, 64, 48), codec=codec)
    assert probe(clip).size == size
    assert probe(clip).stored_size == (64, 48)


def test_odd_size(tmp_path):
    assert probe(write_clip(tmp_path / "a.mkv", gradient_frames(3, 65, 49), codec=EXACT)).size == (
        65,
        49,
    )


def test_variable_rate(tmp_path):
    codec = ("-vf", "setpts='if(lt(N,10),N,2*N-10)/25/TB'", "-fps_mode", "vfr", *H264)
    info = probe(write_clip(tmp_path / "a.mp4", gradient_frames(20, 32, 32), codec=codec))
    assert info.is_variable_rate
    assert info.n_frames == 20


@pytest.mark.parametrize("name", ["with space.mp4", "Прüfung 東京.mp4", "-dash: 100%d.mp4"])
def test_names_are_taken_literally(tmp_path, name):
    clip = write_clip(tmp_path / name, gradient_frames(3, 32, 32))
    assert probe(clip).n_frames == 3


def _refusal(path):
    with pytest.raises(InputError) as caught:
        probe(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


def test_missing_file(tmp_path):
    assert "no such file" in _refusal(tmp_path / "no.mp4")


def test_folder(tmp_path):
    assert "is a folder" in _refusal(tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert "is empty" in _refusal(tmp_path / "a.mp4")


def test_no_video_at_all(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"I am a letter, not a film. " * 200)
    assert "cannot be read as a video" in _refusal(tmp_path / "a.mp4")


def test_sound_only(tmp_path):
    sound = write_sound(tmp_path / "a.m4a", np.zeros(16000, np.int16))
    assert "only sound" in _refusal(sound)


def test_sound_with_cover_art(tmp_path):
    wav = write_sound(tmp_path / "a.wav", np.zeros(16000, np.int16))
    Image.new("RGB", (32, 32)).save(tmp_path / "cover.png")
    song = tmp_path / "a.mp3"
    ffmpeg_or_fail(
        *("-i", str(wav), "-i", str(tmp_path / "cover.png"), "-map", "0:a", "-map", "1:v"),
        *("-c:v", "copy", "-disposition:v", "attached_pic", str(song)),
    )
    assert "only sound" in _refusal(song)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_image(tmp_path, name):
    Image.new("RGB", (32, 32)).save(tmp_path / name)
    assert "still image" in _refusal(tmp_path / name)


def test_truncated_at_its_end(tmp_path):
    """The index comes last in this file, so nothing can be read."""
    clip = write_clip(tmp_path / "a.mp4", gradient_frames(50, 64, 64))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert "cut off" in _refusal(clip)


def test_truncated_with_a_readable_beginning(tmp_path):
    clip = write_clip(
        tmp_path / "a.mp4", gradient_frames(100, 64, 64), codec=(*H264, "-movflags", "+faststart")
    )
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    sentence = _refusal(clip)
    assert "of 4.0 s" in sentence
    assert "--duration-s" in sentence
    readable_s = float(re.search(r"at most ([\d.]+)", sentence).group(1))
    assert 0.8 <= readable_s < 3.2
    assert probe(clip, needed_s=readable_s).duration_s >= readable_s
    with pytest.raises(InputError, match=r"of 4\.0 s"):
        probe(clip, needed_s=readable_s + 0.2)


def test_a_playlist_cannot_open_a_connection(tmp_path):
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    _refusal(playlist)


def test_file_url_keeps_the_name():
    assert file_url(Path("a:b.mp4")) == "file:a:b.mp4"
