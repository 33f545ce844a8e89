import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clips import (
    EXACT,
    FACE_CENTER,
    H264,
    detector_path,
    ffmpeg_or_fail,
    gradient_frames,
    paste,
    person,
    person_frames,
    write_clip,
    write_sound,
)
from PIL import Image

from artifacts.errors import InputError
from artifacts.kinds import FRAMES
from artifacts.store import read_artifact, read_provenance
from media.ffmpeg import file_url
from preprocessing.frames import Options, fit_audio, main
from preprocessing.head_crop import MAX_STEP, crop_matrix, follow_faces, head_square


@pytest.fixture(scope="module")
def detector():
    return detector_path()


def _run(clip, detector, **options):
    out = clip.parent / "results of it" / "frames.h5"
    main(Options(video=clip, detector=detector, out=out, **options))
    return read_artifact(out, FRAMES)


def _walk(n_frames, start=(30, 60), stop=(150, 90)):
    return [
        tuple(int(v) for v in np.round(np.array(start) + k * np.subtract(stop, start)))
        for k in np.linspace(0, 1, n_frames)
    ]


def _sees_head(frames, corners, side=200):
    """Whether the crop holds the head (hair to chin, ears) of a person pasted at ``corners``."""
    x0, y0 = frames["source_from_crop"][:2, 2]
    width = frames["image"].shape[2] * frames["source_from_crop"][0, 0]
    xs = np.array([corner[0] for corner in corners if corner]) + FACE_CENTER[0] * side
    ys = np.array([corner[1] for corner in corners if corner]) + FACE_CENTER[1] * side
    reach = 0.35 * side
    return bool(
        x0 <= (xs - reach).min()
        and y0 <= (ys - 0.45 * side).min()
        and (xs + reach).max() <= x0 + width
        and (ys + reach).max() <= y0 + width
    )


def test_crop_pixels_are_source_pixels_and_sound_lies_beside(tmp_path, detector):
    corners = _walk(20)
    source = person_frames(corners, size=(480, 360))
    samples = np.arange(16000).astype(np.int16)
    sound = write_sound(tmp_path / "s.wav", samples)
    clip = write_clip(tmp_path / "a.mkv", source, 25, (*EXACT, "-c:a", "pcm_s16le"), sound)
    frames = _run(clip, detector)
    assert frames["image"].shape[0] == 20
    assert frames["image"].shape[1] % 2 == 0
    assert _sees_head(frames, corners)
    np.testing.assert_array_equal(frames["source_size"], [480, 360])
    matrix, side = frames["source_from_crop"], frames["image"].shape[1]
    assert matrix[0, 0] == matrix[1, 1] == 1.0
    x, y = matrix[:2, 2].astype(int)
    np.testing.assert_array_equal(frames["image"], source[:, y : y + side, x : x + side])
    np.testing.assert_allclose(frames["time_s"], np.arange(20) / 25)
    assert frames["frame_rate_hz"] == 25
    assert frames["has_audio"]
    assert frames["audio_rate_hz"] == 16000
    np.testing.assert_array_equal(frames["audio"], samples[: 20 * 640])
    options = read_provenance(clip.parent / "results of it" / "frames.h5")["options"]
    assert options["video"] == "a.mkv"


def test_large_crops_are_scaled_down_with_a_matching_matrix(tmp_path, detector):
    source = person_frames([(100, 50)] * 5)
    clip = write_clip(tmp_path / "a.mkv", source, codec=EXACT)
    full, small = _run(clip, detector), _run(clip, detector, max_side_px=64)
    assert small["image"].shape[1:3] == (64, 64)
    side = full["image"].shape[1]
    corners_of = {
        name: frames["source_from_crop"] @ np.array([[-0.5, n - 0.5], [-0.5, n - 0.5], [1, 1]])
        for name, frames, n in (("full", full, side), ("small", small, 64))
    }
    np.testing.assert_allclose(corners_of["small"], corners_of["full"])
    reference = np.asarray(Image.fromarray(full["image"][0]).resize((64, 64), Image.Resampling.BOX))
    assert np.abs(small["image"][0].astype(int) - reference).mean() < 2.0


def test_never_scaled_up_and_own_rate_kept(tmp_path, detector):
    clip = write_clip(tmp_path / "a.mp4", person_frames([(100, 50)] * 12), 30000 / 1001)
    frames = _run(clip, detector, max_side_px=2048, frame_rate_hz=0.0)
    assert frames["source_from_crop"][0, 0] == 1.0
    assert frames["image"].shape[0] == 12
    assert frames["frame_rate_hz"] == pytest.approx(30000 / 1001)
    assert not frames["has_audio"]
    assert frames["audio"].shape == (0,)


def test_a_part_of_the_clip(tmp_path, detector):
    source = person_frames(_walk(30))
    clip = write_clip(tmp_path / "a.mkv", source, codec=EXACT)
    frames = _run(clip, detector, start_s=0.4, duration_s=0.4)
    x, y = frames["source_from_crop"][:2, 2].astype(int)
    side = frames["image"].shape[1]
    np.testing.assert_array_equal(frames["image"], source[10:20, y : y + side, x : x + side])
    assert frames["time_s"][0] == 0.0


def test_rotated_ten_bit_variable_rate_clip_with_spaces_and_other_letters(tmp_path, detector):
    upright = person_frames([(60, 100)] * 30, size=(300, 400))
    lying = np.ascontiguousarray(np.rot90(upright, k=-1, axes=(1, 2)))
    codec = ("-vf", "setpts='if(lt(N,15),N,2*N-15)/25/TB'", "-fps_mode", "vfr", "-c:v", "libx265")
    codec += ("-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le")
    stored = write_clip(tmp_path / "stored.mp4", lying, codec=codec)
    clip = tmp_path / "Meine Prüfung – 東京 (1).mov"
    ffmpeg_or_fail("-display_rotation", "90", "-i", str(stored), "-c", "copy", file_url(clip))
    frames = _run(clip, detector)
    np.testing.assert_array_equal(frames["source_size"], [300, 400])
    assert abs(len(frames["image"]) - 45) <= 1
    x, y = frames["source_from_crop"][:2, 2].astype(int)
    side = frames["image"].shape[1]
    cut = upright[0, y : y + side, x : x + side]
    assert np.abs(frames["image"][0].astype(int) - cut).mean() < 6.0


def test_two_people_the_larger_and_more_present_one(tmp_path, detector):
    large = [(20 + k, 60) for k in range(20)]
    source = person_frames(large, size=(640, 320))
    for frame in source:
        paste(frame, person(110)[:, ::-1], (480, 40))
    clip = write_clip(tmp_path / "a.mkv", source, codec=EXACT)
    frames = _run(clip, detector)
    assert _sees_head(frames, large)
    assert frames["source_from_crop"][0, 2] + frames["image"].shape[2] < 520


def test_a_face_in_a_third_of_the_frames(tmp_path, detector):
    corners = [(150, 60) if 10 <= k < 20 else None for k in range(30)]
    clip = write_clip(tmp_path / "a.mkv", person_frames(corners), codec=EXACT)
    frames = _run(clip, detector)
    assert len(frames["image"]) == 30
    assert _sees_head(frames, corners)


def test_a_small_face_in_a_wide_shot_is_found(tmp_path, detector):
    source = person_frames([(700, 200)] * 3, size=(1280, 720), side=130)
    frames = _run(write_clip(tmp_path / "a.mkv", source, codec=EXACT), detector)
    assert _sees_head(frames, [(700, 200)], side=130)
    assert frames["image"].shape[1] < 260


def test_a_close_up_in_a_tall_frame_reaches_outside_and_repeats_the_edge(tmp_path, detector):
    source = person_frames([(-30, 60)] * 3, size=(200, 420), side=260)
    frames = _run(write_clip(tmp_path / "a.mkv", source, codec=EXACT), detector)
    side, x = frames["image"].shape[1], frames["source_from_crop"][0, 2]
    assert x < 0
    assert x + side > 200
    image = frames["image"][0]
    inside = round(-x)
    np.testing.assert_array_equal(
        image[:, :inside], image[:, inside : inside + 1].repeat(inside, 1)
    )


# ------------------------------------------------------------------------------- refusals


def _refusal(clip, detector, **options):
    with pytest.raises(InputError) as caught:
        _run(clip, detector, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert not list(clip.parent.rglob("frames.h5*"))
    return sentence


def test_no_face(tmp_path, detector):
    clip = write_clip(tmp_path / "a.mp4", gradient_frames(5, 160, 120))
    sentence = _refusal(clip, detector)
    assert str(clip) in sentence
    assert "no face was found" in sentence


def test_a_face_that_is_hardly_ever_there(tmp_path, detector):
    corners = [(150, 60) if k < 2 else None for k in range(40)]
    clip = write_clip(tmp_path / "a.mp4", person_frames(corners))
    assert "in only 5 % of the clip" in _refusal(clip, detector)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"frame_rate_hz": -1.0}, "--frame-rate-hz"),
        ({"frame_rate_hz": 1000.0}, "--frame-rate-hz"),
        ({"max_side_px": 127}, "--max-side-px"),
        ({"max_side_px": 2}, "--max-side-px"),
        ({"start_s": -1.0}, "--start-s"),
        ({"start_s": 99.0}, "--start-s"),
    ],
)
def test_impossible_options(tmp_path, detector, options, named):
    clip = write_clip(tmp_path / "a.mp4", person_frames([(100, 50)] * 3))
    assert named in _refusal(clip, detector, **options)


def test_too_little_space_is_refused_before_the_work(tmp_path, detector, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    clip = write_clip(tmp_path / "a.mp4", person_frames([(100, 50)] * 3))
    assert "GB are free" in _refusal(clip, detector)


def _step(*arguments):
    command = [sys.executable, "-m", "preprocessing.frames", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_ends_with_one_sentence(tmp_path, detector):
    done = _step("--video", tmp_path / "no.mp4", "--detector", detector, "--out", tmp_path / "o.h5")
    assert done.returncode == 1
    assert (
        done.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path}/no.mp4: no such file")
    )
    assert "Traceback" not in done.stderr


FULL_DISK = """
import sys
from preprocessing import frames
frames.check_space = lambda options, n_bytes: None  # the disk fills up while the step runs
sys.argv[0] = "frames"
frames.run_step(frames.Options, frames.main)
"""


def test_a_disk_that_fills_up_meanwhile(tmp_path, detector):
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size=2m tmpfs {disk}"
    if (
        not shutil.which("unshare")
        or subprocess.run([*inside, "sh", "-c", mount], check=False).returncode
    ):
        pytest.skip("this system lets no test mount a small disk of its own")
    clip = write_clip(tmp_path / "a.mp4", person_frames([(100, 50)] * 30))
    arguments = ["--video", clip, "--detector", detector, "--out", disk / "frames.h5"]
    script = f'{mount} && "$0" "$@"; status=$?; ls -A {disk}; exit $status'
    command = [*inside, "sh", "-c", script, sys.executable, "-c", FULL_DISK, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 1
    assert "error: the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""  # no partial file stays


# --------------------------------------------------------------------------------- memory


def test_memory_does_not_grow_with_the_clip(tmp_path, detector):
    """Twelve seconds of 720p are 0.8 GB of raw frames; the step may hold a small part of them."""
    clip = tmp_path / "long.mp4"
    still = tmp_path / "still.png"
    Image.fromarray(person_frames([(500, 200)], size=(1280, 720), side=400)[0]).save(still)
    ffmpeg_or_fail("-loop", "1", "-framerate", "25", "-t", "12", "-i", str(still), *H264, str(clip))
    limit = 3_000_000_000

    def limit_memory():
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    command = [sys.executable, "-c", MEASURE, "--video", str(clip), "--detector", str(detector)]
    command += ["--out", str(tmp_path / "frames.h5"), "--max-side-px", "128"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit_memory,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    own_kb, ffmpeg_kb = map(int, done.stdout.split())
    assert max(own_kb, ffmpeg_kb) < 450_000
    assert len(read_artifact(tmp_path / "frames.h5", FRAMES)["image"]) == 300


# ru_maxrss of a process starts at what its parent held when it forked, so the step's own peak is VmHWM.
MEASURE = """
import resource
from pathlib import Path
from preprocessing import frames
frames.run_step(frames.Options, frames.main)
status = Path("/proc/self/status").read_text().split()
print(status[status.index("VmHWM:") + 1])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


# ------------------------------------------------------------------------------ geometry


def _box(x, y, side):
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dtype=np.float64)


def test_crop_matrix_maps_corners_to_corners():
    from media.video import PixelRectangle

    matrix = crop_matrix(PixelRectangle(-6, 10, 300, 300), 100)
    corner = np.array([-0.5, -0.5, 1.0])
    np.testing.assert_allclose(matrix @ corner, [-6.5, 9.5, 1.0])
    np.testing.assert_allclose(matrix @ np.array([99.5, 99.5, 1.0]), [293.5, 309.5, 1.0])


def test_square_is_even_inside_and_follows_the_face():
    for x in (60, 400, 1000, 1250):
        crop = head_square(np.stack([_box(x, 300, 100)] * 5), (1280, 720))
        assert crop.width == crop.height
        assert crop.width % 2 == 0
        assert 0 <= crop.x <= 1280 - crop.width
        assert 0 <= crop.y <= 720 - crop.height
        assert crop.x <= x <= crop.x + crop.width
        assert 230 <= crop.width <= 270


def test_one_wrong_detection_does_not_stretch_the_square():
    boxes = [_box(400, 300, 100)] * 400
    usual = head_square(np.stack(boxes), (1280, 720))
    assert head_square(np.stack([*boxes, _box(900, 100, 130)]), (1280, 720)) == usual


def test_square_gives_up_air_before_it_leaves_the_frame():
    crop = head_square(np.stack([_box(256, 256, 215)] * 3), (512, 512))
    assert (crop.x, crop.y, crop.width) == (0, 0, 512)


def test_persons_are_kept_apart_and_joined_over_gaps():
    left, right = _box(100, 100, 50), _box(300, 100, 60)
    looks = [[left, right], [right + 10], [], [left + 5, right + 20]]
    arrays = [np.array(look, dtype=np.float64).reshape(-1, 4) for look in looks]
    tracks = follow_faces(arrays)
    assert [track.samples for track in tracks] == [[0, 1, 3], [0, 3]]
    assert tracks[0].boxes[0][0] == right[0]
    assert MAX_STEP < 4.0  # else the two above could be exchanged


def test_sound_is_cut_or_padded_to_the_frames():
    sound = np.ones(1000, np.int16)
    np.testing.assert_array_equal(fit_audio(sound, 1, 25.0), np.ones(640, np.int16))
    padded = fit_audio(sound, 2, 25.0)
    assert padded.shape == (1280,)
    assert padded[:1000].all()
    assert not padded[1000:].any()


def test_real_clips_keep_their_hair(shared_data, detector, tmp_path):
    """In these three clips the head never touches the crop's border where the frame's border is not the same."""
    for name, tightest in (("obama_20s", 450), ("wojtek_16s", 500)):
        out = tmp_path / f"{name}.h5"
        clip = shared_data / "clips" / f"{name}.mp4"
        main(Options(video=clip, detector=detector, out=out, frame_rate_hz=5.0))
        frames = read_artifact(out, FRAMES)
        assert 400 <= frames["image"].shape[1] <= tightest
