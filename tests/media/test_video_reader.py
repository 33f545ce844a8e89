import numpy as np
import pytest
from clips import EXACT, H264, ffmpeg_or_fail, gradient_frames, write_clip, write_sound

from artifacts.errors import InputError
from media.ffmpeg import FfmpegProcess
from media.video import PixelRectangle, TimeSpan, decode_audio, decode_frames, probe


@pytest.fixture(scope="module")
def frames():
    return gradient_frames(12, 65, 49)


@pytest.fixture(scope="module")
def exact(tmp_path_factory, frames):
    return probe(write_clip(tmp_path_factory.mktemp("exact") / "a.mkv", frames, codec=EXACT))


def _all(*arguments, **options):
    return np.stack(list(decode_frames(*arguments, **options)))


def test_frames_come_back_exactly(exact, frames):
    np.testing.assert_array_equal(_all(exact), frames)


def test_crop_at_any_offset_is_exact(exact, frames):
    crop = PixelRectangle(11, 7, 31, 23)
    np.testing.assert_array_equal(_all(exact, crop=crop), frames[:, 7:30, 11:42])


def test_outside_the_frame_the_edge_is_repeated(exact, frames):
    crop = PixelRectangle(-5, -3, 80, 60)
    padding = ((0, 0), (3, 60 - 3 - 49), (5, 80 - 5 - 65), (0, 0))
    np.testing.assert_array_equal(_all(exact, crop=crop), np.pad(frames, padding, mode="edge"))


def test_a_crop_that_leaves_on_one_side_only(exact, frames):
    crop = PixelRectangle(40, 10, 40, 30)
    expected = np.pad(frames[:, 10:40, 40:], ((0, 0), (0, 0), (0, 15), (0, 0)), mode="edge")
    np.testing.assert_array_equal(_all(exact, crop=crop), expected)


def test_scaling_down_averages_areas(exact, frames):
    crop = PixelRectangle(4, 2, 60, 44)
    small = _all(exact, crop=crop, size=(30, 22)).astype(float)
    cut = frames[:, 2:46, 4:64].astype(float)
    means = cut.reshape(12, 22, 2, 30, 2, 3).mean(axis=(2, 4))
    assert np.abs(small - means).max() <= 1.0


def test_rotation_metadata(tmp_path, frames):
    clip = write_clip(tmp_path / "a.mkv", frames[:3], codec=(*H264[:-1], "yuv444p"))
    turned = tmp_path / "turned.mp4"
    ffmpeg_or_fail("-display_rotation", "90", "-i", str(clip), "-c", "copy", str(turned))
    upright = np.rot90(_all(probe(clip)), axes=(1, 2))
    assert np.abs(_all(probe(turned)).astype(int) - upright).mean() < 1.0


def test_ten_bit_and_limited_range_colours(tmp_path):
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [128, 128, 128]], np.uint8)
    frames = np.repeat(colours, 16 * 16, axis=0).reshape(4, 16, 16, 3)
    codec = ("-c:v", "libx264", "-crf", "2", "-pix_fmt", "yuv444p10le")
    decoded = _all(probe(write_clip(tmp_path / "a.mp4", frames, codec=codec)))
    assert np.abs(decoded.astype(int) - frames).max() <= 3


def test_hlg_is_brought_to_standard_range(tmp_path):
    """In HLG (ITU-R BT.2100) diffuse white is the signal 0.75; as such it would look grey."""
    signal = round(0.75 * 255)
    frames = np.full((3, 32, 32, 3), signal, np.uint8)
    tags = "setparams=color_trc=arib-std-b67:color_primaries=bt2020:colorspace=bt2020nc:range=tv"
    matrix = "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le"
    codec = ("-vf", f"{matrix},{tags}", "-c:v", "libx265", "-x265-params", "log-level=error")
    info = probe(write_clip(tmp_path / "a.mp4", frames, codec=codec))
    assert info.is_hdr
    decoded = _all(info)
    assert decoded.min() > 225
    assert np.ptp(decoded.reshape(-1, 3).mean(axis=0)) < 4


def test_variable_rate_becomes_even(tmp_path):
    """Frame k is shown from time t(k) on; sampled every 40 ms, the frame nearest in time must come."""
    levels = np.arange(20) * 12
    frames = np.broadcast_to(levels[:, None, None, None], (20, 16, 16, 3)).astype(np.uint8)
    codec = ("-vf", "setpts='if(lt(N,10),N,3*N-20)/25/TB'", "-fps_mode", "vfr", *EXACT)
    info = probe(write_clip(tmp_path / "a.mkv", frames, codec=codec))
    seen = np.round(_all(info, 25.0)[:, 8, 8, 0] / 12).astype(int)
    shown_s = np.array([(k if k < 10 else 3 * k - 20) / 25 for k in range(20)])
    for index, frame in enumerate(seen):
        newest = np.flatnonzero(shown_s <= index / 25 + 1e-3)[-1]
        assert frame == newest
    assert len(seen) >= 38


def test_resampling_keeps_the_length(tmp_path, frames):
    info = probe(write_clip(tmp_path / "a.mp4", gradient_frames(90, 32, 32), 30000 / 1001))
    assert len(_all(info, 25.0)) == 75
    assert len(_all(info, 0.0)) == 90


def test_a_part_of_the_clip(exact, frames):
    part = _all(exact, span=TimeSpan(0.16, 0.2))
    np.testing.assert_array_equal(part, frames[4:9])


def test_a_part_after_the_end_is_refused(exact):
    with pytest.raises(InputError, match="--start-s"):
        _all(exact, span=TimeSpan(100.0))


def test_sound_is_mono_16_bit_at_the_asked_rate(tmp_path, frames):
    tone = (np.sin(2 * np.pi * 440 * np.arange(48000) / 48000) * 8000).astype(np.int16)
    sound = write_sound(tmp_path / "s.wav", tone, 48000)
    codec = (*EXACT, "-c:a", "pcm_s16le", "-ac", "2")
    info = probe(write_clip(tmp_path / "a.mkv", gradient_frames(25, 32, 32), 25, codec, sound))
    decoded = decode_audio(info)
    assert decoded.dtype == np.int16
    assert abs(len(decoded) - 16000) < 40
    spectrum = np.abs(np.fft.rfft(decoded[:16000].astype(float)))
    assert np.argmax(spectrum) == 440
    # Each of the two channels got half the power of the mono tone.
    assert decoded[2000:14000].max() == pytest.approx(8000 / 2**0.5, rel=0.02)


def test_no_sound_is_empty(exact):
    assert decode_audio(exact).shape == (0,)


@pytest.mark.parametrize("late_s", [0.4, -0.4])
def test_picture_and_sound_stay_in_step_when_one_begins_later(tmp_path, late_s):
    """A flash and a click at the same moment of the clip are at the same moment afterwards."""
    dark = np.zeros((50, 32, 32, 3), np.uint8)
    dark[25] = 255
    samples = np.zeros(32000, np.int16)
    # The container delays one of the two streams by late_s, so the click is moved by as much.
    samples[round((1.0 + late_s) * 16000) :][:160] = 20000
    sound = write_sound(tmp_path / "s.wav", samples)
    silent = write_clip(tmp_path / "v.mkv", dark, 25, EXACT)
    delays = (["-itsoffset", str(late_s)], []) if late_s > 0 else ([], ["-itsoffset", str(-late_s)])
    clip = tmp_path / "a.mkv"
    ffmpeg_or_fail(
        *(*delays[0], "-i", str(silent), *delays[1], "-i", str(sound)),
        *("-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "pcm_s16le", str(clip)),
    )
    info = probe(clip)
    flash_s = np.argmax(_all(info, 25.0)[:, 16, 16, 0] > 128) / 25
    click_s = np.argmax(np.abs(decode_audio(info).astype(int)) > 5000) / 16000
    assert flash_s == pytest.approx(1.0 + max(late_s, 0), abs=0.021)
    assert click_s == pytest.approx(flash_s, abs=0.041)


def test_stopping_early_leaves_no_process(exact):
    import psutil

    stream = decode_frames(exact)
    next(stream)
    stream.close()
    running = [p for p in psutil.Process().children(recursive=True) if "ffmpeg" in p.name()]
    assert not running


def test_a_long_log_does_not_block():
    """A pipe holds 64 kB; ffmpeg's log may be longer."""
    noisy = ["-f", "lavfi", "-i", "testsrc=s=32x32:d=60", "-vf", "showinfo", "-f", "null", "-"]
    process = FfmpegProcess(noisy)
    try:
        assert process.wait() == 0
        assert len(process.log()) > 70_000
    finally:
        process.stop()


def test_interlaced_fields_are_not_shown_as_combs(tmp_path):
    """A bar that jumps between the two fields of a frame must not leave teeth in alternate rows."""
    fields = np.zeros((20, 64, 128, 3), np.uint8)
    for index, field in enumerate(fields):
        field[:, 4 * index + 10 : 4 * index + 40] = 255
    codec = ("-vf", "interlace=lowpass=off", "-flags", "+ilme+ildct", "-c:v", "mpeg2video")
    info = probe(
        write_clip(tmp_path / "a.mpg", fields, 50, (*codec, "-q:v", "1", "-pix_fmt", "yuv420p"))
    )
    assert info.is_interlaced
    frame = _all(info)[4, 8:-8, :, 0].astype(int)
    assert np.abs(np.diff(frame, axis=0)).max() < 60


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime")),
        ("a.avi", ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj422p")),
        ("a.ts", H264),
        ("a.gif", ()),
        ("a.mov", ("-c:v", "prores_ks")),
        ("a.mpg", ("-c:v", "mpeg2video", "-bf", "2", "-q:v", "2")),
        ("bare.h264", H264),
        ("a.mkv", ("-c:v", "libx265", "-x265-params", "log-level=error")),
    ],
)
def test_containers_and_codecs(tmp_path, name, codec):
    frames = gradient_frames(1, 64, 48).repeat(10, axis=0)
    info = probe(write_clip(tmp_path / name, frames, 25, codec))
    assert info.size == (64, 48)
    assert info.n_frames == 10
    assert info.frame_rate_hz == 25
    assert abs(len(_all(info)) - 10) <= 1
    assert np.abs(_all(info)[5].astype(int) - frames[5]).mean() < 20  # a GIF has 256 colours
