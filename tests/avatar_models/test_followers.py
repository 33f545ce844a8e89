"""Models that are driven by pictures or by sound, trained and rendered by the commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy import make_toy_subject

from artifacts.kinds import AUDIO_FEATURES, AVATAR, FRAMES, RENDER
from artifacts.provenance import file_digest
from artifacts.store import open_artifact, read_artifact, read_provenance, write_artifact
from avatar_models.driver_media import open_pictures
from media.video import decode_audio, probe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROVENANCE = {"step": "tests", "options": {}}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the project with the two models in place."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("artifacts", "assets", "avatar_models", "head_geometry", "media"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    tests = ROOT / "tests/avatar_models"
    shutil.copytree(tests / "followers", copy / "avatar_models/followers")
    (copy / "tests/avatar_models").mkdir(parents=True)
    for name in ("conftest.py", "test_contract.py"):
        shutil.copy(tests / name, copy / "tests/avatar_models" / name)
    for name in ("conftest.py", "toy.py"):
        shutil.copy(ROOT / "tests" / name, copy / "tests" / name)
    # The toy's landmarks are named by the head models' list of points.
    shutil.copytree(ROOT / "preprocessing", copy / "preprocessing")
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return make_toy_subject(tmp_path_factory.mktemp("other"), n_frames=30, seed=5)


@pytest.fixture(scope="module")
def run(checkout):
    """Run a module of the copy."""

    def call(module: str, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
        given = [
            word
            for key, value in options.items()
            for word in (f"--{key.replace('_', '-')}", *([] if value is True else [str(value)]))
        ]
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, words), *given],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def train(run, toy, model, out, **options):
    return run(
        "avatar_models.train",
        model=model,
        frames=toy.frames,
        matte=toy.matte,
        head_model=toy.head_model,
        face_fit=toy.face_fit,
        image_size=64,
        device="cpu",
        out=out,
        **options,
    )


@pytest.fixture(scope="module")
def avatars(run, toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("avatars")
    for signal in ("picture", "sound"):
        out = folder / f"{signal}.h5"
        ended = train(run, toy, f"{signal}_follower", out, audio_features=toy.audio_features)
        assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture
def render(run, toy, avatars, tmp_path):
    def call(signal: str, mode: str, driver, **options):
        out = tmp_path / "render.h5"
        ended = run(
            "avatar_models.render",
            avatar=avatars / f"{signal}.h5",
            mode=mode,
            head_model=toy.head_model,
            face_fit=toy.face_fit,
            driver_frames=driver.frames,
            out=out,
            video=tmp_path / "render.mp4",
            device="cpu",
            **options,
        )
        return ended, out

    return call


def media_options(signal, driver) -> dict[str, Path]:
    if signal == "picture":
        return {"driver_matte": driver.matte}
    return {"driver_audio": driver.audio_features}


def followed(avatar: Path, signal: str, subject, frame: int) -> np.ndarray:
    """What a follower must make of one frame's own signal, from its tensors and the signal's file."""
    with open_artifact(avatar, AVATAR) as reader:
        tensors = reader.tensors()
    if signal == "picture":
        picture = open_pictures(subject.frames, subject.matte).picture(frame)
        features = picture[16::32, 16::32].flatten().numpy() / 8
    else:
        features = read_artifact(subject.audio_features, AUDIO_FEATURES)["feature"][frame, 8]
    assert np.abs(tensors["weight"]).max() > 0.01
    return (tensors["image"] + np.tensordot(features, tensors["weight"], 1)).clip(0, 1)


@pytest.mark.parametrize("signal", ["picture", "sound"])
def test_the_held_out_frames_follow_their_own_signal(render, avatars, toy, signal):
    ended, out = render(signal, "self", toy, **media_options(signal, toy))
    assert ended.returncode == 0, ended.stderr
    stored = read_artifact(out, RENDER)
    assert stored["driver_frame"].tolist() == [16, 17, 18, 19]
    for row, frame in enumerate(range(16, 20)):
        expected = 255 * followed(avatars / f"{signal}.h5", signal, toy, frame)
        np.testing.assert_allclose(stored["image"][row], expected, atol=0.52)
    kind = "driver_matte" if signal == "picture" else "driver_audio"
    digests = read_provenance(out)["inputs"]
    assert digests[kind] == file_digest(next(iter(media_options(signal, toy).values())))
    assert not {"driver_matte", "driver_audio"} - {kind} & digests.keys()


# Which signal each mode gives is tested for both in test_driver_media.py.
def test_another_subject_drives_by_its_sound(render, other):
    media = media_options("sound", other)
    ended, out = render("sound", "cross", other, driver_fit=other.face_fit, **media)
    assert ended.returncode == 0, ended.stderr
    stored = read_artifact(out, RENDER)
    assert stored["driver_frame"].tolist() == list(range(24, 30))
    assert np.abs(np.diff(stored["image"].astype(float), axis=0)).max() > 0


def test_a_camera_orbits_around_one_moment_s_picture(render, toy):
    ended, out = render("picture", "orbit", toy, orbit_frames=3, **media_options("picture", toy))
    assert ended.returncode == 0, ended.stderr
    turned = read_artifact(out, RENDER)["image"]
    # This model does not know the camera.
    np.testing.assert_array_equal(turned[0], turned[2])


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A sound of 45 frames, as its steps write it."""
    folder = tmp_path_factory.mktemp("talk")
    jaw = 0.5 - 0.5 * np.cos(np.arange(45))
    feature = np.broadcast_to(jaw[:, None, None], (45, 16, 29)).astype(np.float32)
    arrays = {
        "image": np.zeros((45, 0, 0, 3), np.uint8),
        "time_s": np.arange(45) / 25,
        "frame_rate_hz": np.array(25.0),
        "source_from_crop": np.eye(3),
        "source_size": np.array([512, 512], np.int32),
        "audio": (8000 * np.sin(2 * np.pi * 300 * np.arange(28800) / 16000)).astype(np.int16),
        "audio_rate_hz": np.array(16000, np.int32),
        "has_audio": np.array(True),
    }
    said = {**PROVENANCE, "warning": "talk.wav: does not sound like speech"}
    write_artifact(folder / "frames.h5", FRAMES, arrays, said)
    features = {"feature": feature, "valid": np.ones(45, bool)}
    write_artifact(folder / "audio_features.h5", AUDIO_FEATURES, features, PROVENANCE)
    return type(
        "Talk",
        (),
        {"frames": folder / "frames.h5", "audio_features": folder / "audio_features.h5"},
    )


def test_a_sound_alone_drives_for_as_long_as_it_lasts(render, talk, tmp_path):
    ended, out = render("sound", "audio", talk, driver_audio=talk.audio_features)
    assert ended.returncode == 0, ended.stderr
    stored = read_artifact(out, RENDER)
    assert stored["driver_frame"].tolist() == list(range(45))
    np.testing.assert_allclose(stored["time_s"], np.arange(45) / 25)
    # A louder moment opens the mouth: the picture moves with the feature.
    jaw = 0.5 - 0.5 * np.cos(np.arange(45))
    moves = stored["image"].astype(float) - stored["image"].mean(0)
    along = np.linalg.svd(moves.reshape(45, -1), full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(along, jaw)[0, 1]) > 0.95
    info = probe(tmp_path / "render.mp4")
    assert info.n_frames == 45
    spectrum = np.abs(np.fft.rfft(decode_audio(info)[:16000].astype(float)))
    assert abs(int(spectrum.argmax()) - 300) < 3
    # What was amiss with the sound stays with the result.
    assert read_provenance(out)["warning"] == "talk.wav: does not sound like speech"
    assert "does not sound like speech" in ended.stderr


def test_training_by_sound_needs_the_sound(run, toy, tmp_path):
    ended = train(run, toy, "sound_follower", tmp_path / "avatar.h5")
    assert ended.returncode == 1
    assert "give them with --audio-features" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("signal", "mode", "options", "sentence"),
    [
        ("picture", "self", {}, "give the matte of the driver's clip with --driver-matte"),
        ("sound", "self", {}, "give the driver's audio features with --driver-audio"),
        ("picture", "cross", {"driver_matte": "matte"}, "give its face_fit with --driver-fit"),
        ("picture", "audio", {}, "'picture_follower' is driven by picture; choose --mode self"),
    ],
)
def test_what_cannot_drive_is_refused(render, toy, signal, mode, options, sentence):
    given = {option: getattr(toy, name) for option, name in options.items()}
    ended, out = render(signal, mode, toy, **given)
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if sentence in line]
    assert line.startswith("error: ")
    assert "Traceback" not in ended.stderr
    assert not out.exists()


def test_the_models_keep_the_contract(run, toy):
    ended = run("pytest", "-q", "tests/avatar_models/test_contract.py", "-k", "follower")
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "passed" in ended.stdout
