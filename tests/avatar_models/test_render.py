"""Rendering modes, their videos, and pasting back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import make_toy_subject

from artifacts.kinds import FRAMES, RENDER
from artifacts.store import open_artifact, read_artifact
from avatar_models.dataset import DrivingClip
from avatar_models.driving import cross_driving, orbit_driving, rest_pose
from avatar_models.paste import CropPlace
from head_geometry.cameras import project, transform
from media.video import VideoWriter, decode_audio, decode_frames, probe
from preprocessing.exporting.arkit import ANGLES, EXPRESSIONS, column


def run(module, **options) -> subprocess.CompletedProcess:
    words = [
        word
        for key, value in options.items()
        for word in (f"--{key.replace('_', '-')}", *([] if value is True else [str(value)]))
    ]
    return subprocess.run(
        [sys.executable, "-m", f"avatar_models.{module}", *words],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def avatar(toy, tmp_path_factory):
    path = tmp_path_factory.mktemp("avatar") / "avatar.h5"
    ended = run(
        "train",
        model="nearest_frame",
        frames=toy.frames,
        matte=toy.matte,
        head_model=toy.head_model,
        face_fit=toy.face_fit,
        image_size=64,
        out=path,
        set="steps=1",
    )
    assert ended.returncode == 0, ended.stderr
    return path


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return make_toy_subject(tmp_path_factory.mktemp("other"), n_frames=30, seed=5)


def render(avatar, toy, driver, mode, folder, **options):
    out, video = folder / "render.h5", folder / "render.mp4"
    ended = run(
        "render",
        avatar=avatar,
        mode=mode,
        head_model=toy.head_model,
        face_fit=toy.face_fit,
        driver_frames=driver.frames,
        driver_fit=driver.face_fit,
        out=out,
        video=video,
        device="cpu",
        **options,
    )
    return ended, out, video


def test_self_renders_the_held_out_frames_with_their_sound(avatar, toy, tmp_path):
    ended, out, video = render(avatar, toy, toy, "self", tmp_path)
    assert ended.returncode == 0, ended.stderr
    stored = read_artifact(out, RENDER)
    assert stored["driver_frame"].tolist() == [16, 17, 18, 19]
    np.testing.assert_allclose(stored["time_s"], np.arange(16, 20) / 25)
    truth = read_artifact(toy.frames, FRAMES)["image"][16:]
    error = (stored["image"].astype(float) - truth) / 255
    assert -10 * np.log10((error**2).mean()) > 17
    info = probe(video)
    assert info.n_frames == 4
    sound = decode_audio(info).astype(float)
    # A tone of 220 Hz, as in the driver's clip.
    spectrum = np.abs(np.fft.rfft(sound[: 16000 // 25 * 3], 16000))
    assert abs(int(spectrum.argmax()) - 220) < 10


def test_orbit_shows_the_head_alone_over_white(avatar, toy, tmp_path):
    ended, out, video = render(avatar, toy, toy, "orbit", tmp_path, orbit_frames=6)
    assert ended.returncode == 0, ended.stderr
    stored = read_artifact(out, RENDER)
    assert len(stored["image"]) == 6
    np.testing.assert_array_equal(stored["image"], stored["head"])
    np.testing.assert_array_equal(stored["person_alpha"], stored["head_alpha"])
    assert (stored["image"][:, 0] == 255).all()
    assert not probe(video).has_audio


def test_cross_is_driven_by_another_subject(avatar, toy, other, tmp_path):
    ended, out, _ = render(avatar, toy, other, "cross", tmp_path)
    assert ended.returncode == 0, ended.stderr
    stored = read_artifact(out, RENDER)
    assert stored["driver_frame"].tolist() == list(range(24, 30))


def test_a_recording_drives_with_all_its_frames(avatar, toy, tmp_path):
    # Only as a command: steps meet only through files.
    table, fit, frames = (tmp_path / name for name in ("a.csv", "fit.h5", "frames.h5"))
    names = [*map(column, EXPRESSIONS), *ANGLES]
    rows = [
        ",".join([f"00:00:{i // 25:02d}:{i % 25:02d}.0", "61", *[f"{0.02 * i}"] * 52, *["0"] * 9])
        for i in range(28)
    ]
    table.write_text("\n".join([",".join(["Timecode", "BlendShapeCount", *names]), *rows]))
    words = ["--arkit", table, "--head-model", toy.head_model, "--out", fit, "--frames", frames]
    subprocess.run([sys.executable, "-m", "preprocessing.driver", *map(str, words)], check=True)
    driver = replace(toy, frames=frames, face_fit=fit)
    ended, out, video = render(avatar, toy, driver, "cross", tmp_path, whole_driver=True)
    assert ended.returncode == 0, ended.stderr
    stored = read_artifact(out, RENDER)
    assert stored["driver_frame"].tolist() == list(range(28))
    assert not np.array_equal(stored["image"][0], stored["image"][-1])
    assert not probe(video).has_audio


def test_frames_of_another_clip_are_refused(avatar, toy, other, tmp_path):
    ended, out, video = render(
        avatar,
        toy,
        type("Mixed", (), {"frames": other.frames, "face_fit": toy.face_fit}),
        "self",
        tmp_path,
    )
    assert ended.returncode == 1
    assert "30 frames, but the driver's fit has 20" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not out.exists()
    assert not video.exists()


@pytest.fixture
def clips(toy, other):
    return (
        DrivingClip.load(toy.head_model, toy.face_fit, (64, 64)),
        DrivingClip.load(other.head_model, other.face_fit, (64, 64)),
    )


def test_rest_pose_is_a_rotation_in_the_middle(clips):
    clip = clips[0]
    rest = rest_pose(clip)
    rotation = rest.camera_from_head[:3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotation) > 0.999
    torch.testing.assert_close(rest.expression, clip.expression.median(0).values)


def test_camera_orbits_around_a_still_head(clips):
    clip = clips[0]
    signals = list(orbit_driving(clip, 40))
    rest, middle = rest_pose(clip), clip.neutral.mean(0, keepdim=True)
    yaws = []
    for driving in signals:
        torch.testing.assert_close(driving.code, signals[0].code)
        place = transform(driving.camera_from_head, middle)
        torch.testing.assert_close(place, transform(rest.camera_from_head, middle))
        # The camera's direction in head axes.
        towards = -driving.camera_from_head[:3, :3].mT @ driving.camera_from_head[:3, 3]
        yaws.append(float(torch.rad2deg(torch.atan2(towards[0], towards[2]))))
    centre = yaws[0]
    assert max(yaws) - centre == pytest.approx(30, abs=4)
    assert centre - min(yaws) == pytest.approx(30, abs=4)


def test_own_motion_crosses_over_unchanged(clips):
    clip = clips[0]
    frames = np.array([3, 11])
    for driving, frame in zip(cross_driving(clip, clip, frames), frames, strict=True):
        own = clip.driving(int(frame))
        torch.testing.assert_close(driving.vertices, own.vertices, atol=1e-5, rtol=0)
        torch.testing.assert_close(driving.landmarks, own.landmarks, atol=0.01, rtol=0)
        torch.testing.assert_close(
            driving.torso_from_reference, own.torso_from_reference, atol=1e-4, rtol=0
        )


def test_only_changes_cross_over(clips):
    subject, driver = clips
    rest = rest_pose(driver)
    # A driver that rests leaves the subject at rest.
    driver.expression[:], driver.joint_rotation[:] = rest.expression, rest.joint_rotation
    driver.camera_from_head[:] = rest.camera_from_head
    driving = next(iter(cross_driving(subject, driver, np.array([0]))))
    own = rest_pose(subject)
    torch.testing.assert_close(driving.code[:5], own.expression)
    torch.testing.assert_close(driving.camera_from_head, own.camera_from_head, atol=1e-5, rtol=0)
    points = transform(own.camera_from_head, subject.head_model.mediapipe_points(driving.vertices))
    torch.testing.assert_close(
        driving.landmarks, project(points, subject.intrinsics), atol=1e-3, rtol=0
    )


def _smooth(pixels) -> np.ndarray:
    x, y = pixels[..., 0], pixels[..., 1]
    return np.stack([100 + 60 * np.sin(x / 15), 100 + 60 * np.cos(y / 12), 50 + x + 0 * y], -1)


@pytest.mark.parametrize("render_side", [48, 32, 96])
@pytest.mark.parametrize("feather", [0.0, 0.1])
def test_a_crop_pasted_back_restores_the_source(render_side, feather):
    rows, columns = np.mgrid[:90, :120]
    source = _smooth(np.stack([columns, rows], -1)).round().clip(0, 255).astype(np.uint8)
    angle = 0.05
    turn = 1.25 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source_from_crop = np.array([[*turn[0], 30.2], [*turn[1], 8.7], [0, 0, 1]])
    scale = 48 / render_side
    rows, columns = np.mgrid[:render_side, :render_side]
    crop = (np.stack([columns, rows], -1) + 0.5) * scale - 0.5
    picture = _smooth(crop @ turn.T + source_from_crop[:2, 2]) / 255
    place = CropPlace(source_from_crop, 48, render_side)
    opacity = torch.ones(render_side, render_side)
    blank = np.full_like(source, 255)
    restored = place.paste(source, torch.from_numpy(picture).float(), opacity, feather)
    assert np.abs(restored.astype(float) - source).max() < 6
    assert np.abs(restored.astype(float) - source).mean() < 1
    # And it is really the picture that is there, and only inside the crop.
    pasted = place.paste(blank, torch.from_numpy(picture).float(), opacity, feather)
    assert np.abs(pasted[38, 58].astype(float) - source[38, 58]).max() < 3
    assert (pasted[:, :20] == 255).all()


def test_paste_command(avatar, toy, tmp_path):
    _, out, _ = render(avatar, toy, toy, "self", tmp_path)
    with open_artifact(toy.frames, FRAMES) as reader:
        width, height = reader.read("source_size").tolist()
    video = tmp_path / "ä source.mp4"
    with VideoWriter(video, 25.0, (width, height)) as writer:
        for frame in range(20):
            writer.write(np.full((height, width, 3), 10 * frame, np.uint8))
    ended = run(
        "paste",
        render=out,
        frames=toy.frames,
        video=video,
        out=tmp_path / "pasted.mp4",
        feather=0.0,
    )
    assert ended.returncode == 0, ended.stderr
    info = probe(tmp_path / "pasted.mp4")
    assert info.has_audio
    pasted = list(decode_frames(info))
    assert len(pasted) == 4
    images = read_artifact(out, RENDER)["image"]
    for index, frame in enumerate(pasted):
        # The corner is the source's own frame; the middle of the crop is the render.
        assert np.abs(frame[2, 2].astype(float) - 10 * (16 + index)).max() < 4
        inside = frame[6 : 6 + 96, 10 : 10 + 96].astype(float)
        small = inside.reshape(32, 3, 32, 3, 3).mean((1, 3))
        truth = images[index].astype(float).reshape(32, 2, 32, 2, 3).mean((1, 3))
        assert np.abs(small - truth)[2:-2, 2:-2].mean() < 4

    short = tmp_path / "short.mp4"
    with VideoWriter(short, 25.0, (width, height)) as writer:
        for _ in range(10):
            writer.write(np.zeros((height, width, 3), np.uint8))
    ended = run("paste", render=out, frames=toy.frames, video=short, out=tmp_path / "x.mp4")
    assert ended.returncode == 1
    assert "short.mp4: ends before frame 16" in ended.stderr
    assert not (tmp_path / "x.mp4").exists()
