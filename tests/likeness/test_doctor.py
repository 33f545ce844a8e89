"""The doctor finds what is wrong and says what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import yaml
from clips import person_frames, write_clip, write_sound

from artifacts.errors import InputError
from assets.fetch import fetch_asset
from likeness import doctor, machine, project, run

ROOT = Path(__file__).resolve().parents[2]


def one(findings):
    (found,) = findings
    return found


@pytest.fixture
def clips(tmp_path):
    """A clip of a face with sound, one of no face, and one of a face without sound."""
    sound = write_sound(tmp_path / "a.wav", np.arange(32000) % 200 * 50)
    face = person_frames([(100, 50)] * 12)
    return {
        "good": write_clip(tmp_path / "good ü.mp4", face, sound=sound),
        "faceless": write_clip(tmp_path / "faceless.mp4", person_frames([None] * 12)),
        "silent": write_clip(tmp_path / "silent.mp4", face),
        "gone": tmp_path / "gone.mp4",
    }


def looked_at(clips, **more):
    fetch_asset(project.DETECTOR)
    config = {"subjects": {name: {"video": str(path)} for name, path in clips.items()}, **more}
    return {finding.what: finding for finding in project.subjects(config, Path())}


def test_clips_are_opened_and_looked_at(clips):
    found = looked_at(clips, models=["nearest_frame"])
    assert {name: finding.status for name, finding in found.items()} == {
        "good": "ok",
        "faceless": "warning",
        "silent": "ok",
        "gone": "error",
    }
    assert "400x300" in found["good"].text
    assert "with sound" in found["good"].text
    assert "no face in the first 4 s" in found["faceless"].text
    assert "no such file" in found["gone"].text


def test_a_model_that_is_driven_by_sound_needs_some(clips):
    found = looked_at(clips, models=["nearest_frame", "hfa_gp_audio"])
    assert found["good"].status == "ok"
    assert found["silent"].status == "error"
    assert "which hfa_gp_audio needs" in found["silent"].text


def test_who_only_drives_needs_no_sound(clips):
    fetch_asset(project.DETECTOR)
    subjects = {"silent": {"video": str(clips["silent"]), "role": "driver"}}
    config = {"subjects": subjects, "models": ["hfa_gp_audio"]}
    assert one(project.subjects(config, Path())).status == "ok"


def test_people_without_consent_are_named_and_nothing_fails(tmp_path):
    (tmp_path / "people.tsv").write_text("name\tclip\tconsent\nbob\tb.mp4\t\ncid\tc.mp4\tform 2\n")
    config = {
        "subject_sheet": "people.tsv",
        "subjects": {"ann": {"video": "a.mp4", "consent": "form 1"}, "una": {"synthetic": {}}},
    }
    found = one(project.consents(config, tmp_path))
    assert (found.status, found.what) == ("warning", "consent")
    assert found.text.startswith("no reference for bob; ")
    config.pop("subject_sheet")
    assert one(project.consents(config, tmp_path)).status == "ok"
    config["drivers"] = {"song": {"wav": "s.wav"}, "wave": {"arkit": "w.csv", "consent": "form 3"}}
    assert one(project.consents(config, tmp_path)).text.startswith("no reference for song; ")


def test_other_and_missing_packages_are_named(tmp_path, monkeypatch):
    installed = metadata.version("numpy")
    pins = tmp_path / "constraints.txt"
    pins.write_text(f"# tested\nNumPy=={installed}\npyyaml==0.1\n")
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy", "PyYAML"])
    found = one(machine.packages(pins))
    assert found.status == "warning"
    assert f"pyyaml {metadata.version('pyyaml')} instead of 0.1" in found.text
    assert "numpy" not in found.text
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy", "no-such-package"])
    found = one(machine.packages(pins))
    assert found.status == "error"
    assert "no-such-package" in found.text
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy", "gone; extra == 'dev'"])
    assert one(machine.packages(pins)).status == "ok"


def test_a_gpu_that_is_asked_for_must_be_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert {finding.status for finding in machine.devices("auto")} == {"ok"}
    for program, status in ((None, "error"), ("/usr/bin/sinfo", "warning")):
        monkeypatch.setattr(machine.shutil, "which", lambda _, found=program: found)
        (gpu,) = [finding for finding in machine.devices("cuda") if finding.what == "GPU"]
        assert gpu.status == status
        assert "device is cuda" in gpu.text


def test_little_space_and_no_right_to_write_are_told(tmp_path, monkeypatch):
    assert one(machine.disk(tmp_path)).status == "ok"
    monkeypatch.setattr(machine, "LITTLE_DISK_GB", 1e9)
    assert one(machine.disk(tmp_path)).status == "warning"
    assert one(machine.disk(tmp_path / "nowhere")).status == "error"


def test_third_party_files(tmp_path, monkeypatch):
    monkeypatch.setenv("LIKENESS_CACHE", str(tmp_path / "cache"))
    assets = tmp_path / "results/assets"
    assets.mkdir(parents=True)
    names = ("selfie_segmentation.tflite", "flame.pkl", "carphone_pristine.mp4")
    (assets / names[0]).write_bytes(b"something else")
    plan = project.Plan("", tuple(f"results/assets/{name}" for name in names))
    changed, by_hand, download = project.third_party_files(plan, tmp_path)
    assert changed.status == "error"
    assert "is not the file of assets/registry.yaml" in changed.text
    assert by_hand.status == "error"
    assert "https://" in by_hand.text
    assert "licence" in by_hand.text
    assert download.status == "ok"
    assert "downloads 0.6 MB" in download.text


@pytest.mark.parametrize(
    ("name", "level", "what"),
    [
        ("w600k_r50.onnx", "error", "put the right one there"),
        ("selfie_segmentation.tflite", "warning", "the run downloads it anew"),
    ],
)
def test_a_file_with_another_digest_is_not_called_missing(tmp_path, monkeypatch, name, level, what):
    monkeypatch.setenv("LIKENESS_CACHE", str(tmp_path))
    (tmp_path / name).write_bytes(b"half a file")
    plan = project.Plan("", (f"results/assets/{name}",))
    found = one(project.third_party_files(plan, tmp_path / "elsewhere"))
    assert found.status == level
    assert "another digest" in found.text
    assert what in found.text


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "likeness.cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_configuration_that_is_refused(tmp_path, clips):
    config = {"subjects": {"a": {"video": str(clips["good"])}}, "models": ["nearest_frame"]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | {"splt": 1}))
    done = command("doctor", folder=tmp_path)
    assert done.returncode == 1
    assert "configuration: config: unknown key splt" in done.stdout
    assert done.stderr.strip().startswith("error: 1 of these must be mended")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done = command("doctor", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       a: 400x300" in done.stdout
    done = command("run", "--dry-run", "results/a/frames.h5", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rule frames" in done.stdout
    assert not (tmp_path / "results").exists()
    # A configuration of another name stands alone, whatever config.yaml lies beside it.
    other = config | {"subjects": {"b": {"video": clips["good"].name}}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    words = ("--config", "other.yaml", "--dry-run", "--snakemake=--quiet", "--snakemake=rules")
    done = command("run", *words, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^frames +1$", done.stdout, re.MULTILINE), done.stdout
    done = command("doctor", "--config", "work/other.yaml", "--folder", "work", folder=tmp_path)
    assert "no such file" in done.stderr.lower()
    done = command(
        "doctor",
        "--config",
        str(tmp_path / "other.yaml"),
        "--folder",
        str(tmp_path),
        folder=tmp_path.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       b: 400x300" in done.stdout


def test_sentences_of_the_command(tmp_path):
    with pytest.raises(InputError, match="there is no such profile"):
        run.main(run.Options(config=ROOT / "config.yaml", profile="moon"))
    with pytest.raises(InputError, match="no such file"):
        run.main(run.Options(config=tmp_path / "no.yaml"))
    with pytest.raises(InputError, match="No such file"):
        list(doctor.look(doctor.Options(config=tmp_path / "no.yaml")))
    (tmp_path / "clip.mp4").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="is no text; name a configuration"):
        list(doctor.look(doctor.Options(config=tmp_path / "clip.mp4")))
    done = command("dance", folder=tmp_path)
    assert done.returncode == 1
    assert "there is no command 'dance'" in done.stderr
    assert "usage: likeness COMMAND" in command(folder=tmp_path).stdout
