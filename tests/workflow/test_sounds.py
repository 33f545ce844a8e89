"""Which views the plan has of models that are driven by pictures or by sound."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from workflow_project import ROOT, Project

CLIP = {"video": "carphone_pristine.mp4"}
PARTS = ["Snakefile", "rules", "workflow", "profiles", "envs", "artifacts", "assets", "media"]
PARTS += ["head_geometry", "preprocessing", "avatar_models", "evaluation"]


@pytest.fixture(scope="module")
def snakefile(tmp_path_factory) -> Path:
    """The workflow in a copy of the code that has two more models: one follows pictures, one sound."""
    code = tmp_path_factory.mktemp("code")
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, code / name)
    followers = ROOT / "tests/avatar_models/followers"
    shutil.copytree(followers, code / "avatar_models/followers")
    return code / "Snakefile"


@pytest.fixture(scope="module")
def plan(snakefile, tmp_path_factory):
    """Run the plan of a configuration; the process that ended, with the commands in its output."""

    def run(*targets: str, **changes) -> subprocess.CompletedProcess[str]:
        config = {
            "subjects": {"ann": CLIP, "bob": CLIP},
            "drivers": {"phone": {"arkit": "phone.csv"}, "talk": {"wav": "my talk.wav"}},
            "models": ["picture_follower", "sound_follower", "nearest_frame"],
        }
        project = Project(tmp_path_factory.mktemp("project"), {**config, **changes})
        project.write_config()
        for name in ("phone.csv", "my talk.wav"):
            (project.folder / name).write_text("")
        command = project.command("--dry-run", "--printshellcmds", *targets)
        command[command.index(str(ROOT / "Snakefile"))] = str(snakefile)
        return subprocess.run(
            command,
            env={"PATH": "/usr/bin:/bin", "HOME": str(project.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def whole_plan(plan) -> str:
    """All jobs of two subjects, three models, a recording of motion and a sound."""
    done = plan()
    assert done.returncode == 0, done.stdout
    return done.stdout


def views(output: str, model: str) -> set[str]:
    """Views of the subject ann that are planned."""
    return set(re.findall(rf"results/ann/{model}/render_(\w+)\.mp4", output))


def command_of(output: str, step: str, out: str) -> str:
    """The command of a job, by its module and what it writes."""
    (line,) = {x for x in output.splitlines() if f"-m {step} " in x and f"--out {out}" in x}
    return line


def test_the_plan_has_the_views_that_each_model_can_be_driven_by(whole_plan):
    assert views(whole_plan, "nearest_frame") == {"self", "orbit", "cross_bob", "cross_phone"}
    assert views(whole_plan, "picture_follower") == {"self", "orbit", "cross_bob"}
    assert views(whole_plan, "sound_follower") == {"self", "orbit", "cross_bob", "audio_talk"}


def test_each_step_is_given_what_drives_its_model(whole_plan):
    folder, render = "results/ann/", "avatar_models.render"
    for model, train_words, self_words, cross_words in (
        ("nearest_frame", "", "", ""),
        ("picture_follower", "", "--driver-matte results/{}/matte.h5", "results/bob/matte.h5"),
        (
            "sound_follower",
            "--audio-features results/ann/audio_features.h5",
            "--driver-audio results/{}/audio_features.h5",
            "results/bob/audio_features.h5",
        ),
    ):
        train = command_of(whole_plan, "avatar_models.train", f"{folder}{model}/avatar.h5")
        assert train_words in train
        assert ("audio_features" in train) == bool(train_words)
        for view, who, words in (
            ("self", "ann", self_words.format("ann")),
            ("orbit", "ann", self_words.format("ann")),
            ("cross_bob", "bob", cross_words),
        ):
            command = command_of(whole_plan, render, f"{folder}{model}/render_{view}.h5")
            assert f"--driver-frames results/{who}/frames.h5" in command
            assert f"--driver-fit results/{who}/face_fit.h5" in command
            assert words in command
            assert ("--driver-matte" in command) == (model == "picture_follower")
            assert ("--driver-audio" in command) == (model == "sound_follower")


def test_a_sound_becomes_frames_and_features_and_drives(whole_plan):
    folder = "results/drivers/talk"
    step = command_of(whole_plan, "preprocessing.driver_sound", f"{folder}/frames.h5")
    assert "--wav 'my talk.wav' --frame-rate-hz 25" in step
    features = command_of(whole_plan, "preprocessing.audio_features", f"{folder}/audio_features.h5")
    assert "--kind log_mel" in features
    command = command_of(
        whole_plan, "avatar_models.render", "results/ann/sound_follower/render_audio_talk.h5"
    )
    assert "--mode audio" in command
    assert f"--driver-frames {folder}/frames.h5 --driver-audio {folder}/audio_features" in command
    assert "--driver-fit" not in command


def test_ready_features_of_a_sound_are_asked_for_only_where_it_drives(plan, tmp_path):
    for name in ("ann", "bob"):
        (tmp_path / f"{name}.npy").write_bytes(b"")
    ready = {"kind": "file", "path": f"{tmp_path}/{{subject}}.npy"}
    assert plan(models=["nearest_frame"], audio_features=ready).returncode == 0
    done = plan(audio_features=ready)
    assert done.returncode == 1
    assert f"there is no file '{tmp_path}/talk.npy'" in done.stdout


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            "results/ann/picture_follower/render_cross_phone.h5",
            "error: render_cross_phone: picture_follower is driven by picture, and phone has none",
        ),
        (
            "results/ann/nearest_frame/render_audio_talk.h5",
            "error: render_audio_talk: nearest_frame is driven by expression, and talk has none",
        ),
        (
            "results/ann/sound_follower/render_cross_talk.h5",
            "error: render_cross_talk: talk is a sound without motion; ask for render_audio_talk",
        ),
    ],
)
def test_a_view_that_cannot_be_made_is_refused(plan, target, sentence):
    done = plan(target)
    assert done.returncode == 1
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout


def test_a_sound_needs_a_frame_rate(plan):
    done = plan(frame_rate_hz=0)
    assert done.returncode == 1
    assert "error: config: drivers/talk is a sound" in done.stdout
    assert "frame_rate_hz is 0" in done.stdout
