"""config.yaml: what is wrong is refused before any job, in one sentence that names the key."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from workflow_project import ROOT, TOY_CONFIG, Project

import avatar_models.render
import avatar_models.train
import preprocessing.audio_features
import preprocessing.face_fit
import preprocessing.frames
import preprocessing.synthesize
from artifacts.splits import split_names
from avatar_models.registry import PRESETS

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
CLIP = {"video": "carphone_pristine.mp4"}

# What is wrong: (changes of the configuration, what the sentence must name).
FAULTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key": ({"image_sise": 64}, ["image_sise", "image_size"]),
    "unknown key of a subject": (
        {"subjects": {"anna": CLIP | {"start": 1}}},
        ["subjects/anna/start", "start_s"],
    ),
    "unknown option of a step": ({"face_fit": {"identity": 3}}, ["face_fit/identity"]),
    "wrong type": ({"image_size": "big"}, ["image_size", '"big"', "integer"]),
    "truth as a number": ({"seed": True}, ["seed", "true", "integer"]),
    "impossible value": ({"image_size": -3}, ["image_size", "-3", "at least 32"]),
    "negative time": (
        {"subjects": {"anna": CLIP | {"start_s": -1}}},
        ["subjects/anna/start_s", "-1", "at least 0"],
    ),
    "not a number": ({"frame_rate_hz": float("nan")}, ["frame_rate_hz", "finite"]),
    "unknown choice": ({"device": "gpu"}, ["device", "gpu", "auto, cpu, cuda"]),
    "unknown split": ({"split": "tail-30"}, ["split", "tail-30", "tail-20"]),
    "unknown mode": ({"modes": ["self", "round"]}, ["modes/1", "round"]),
    "nothing to do": ({"models": []}, ["models", "empty"]),
    "twice the same": ({"models": ["nearest_frame"] * 2}, ["models", "twice"]),
    "unknown model": ({"models": ["gaussian"]}, ["models", "gaussian", "nearest_frame"]),
    "unknown option of a model": (
        {"model_options": {"nearest_frame": {"step": 3}}},
        ["nearest_frame", "step", "steps"],
    ),
    "wrong type of a model's option": (
        {"model_options": {"nearest_frame": {"steps": "many"}}},
        ["nearest_frame", "steps", "many", "int"],
    ),
    "options of an unknown model": ({"model_options": {"nerf": {}}}, ["model_options", "nerf"]),
    "unknown landmark detector": (
        {"landmarks": {"detector": "dlib"}},
        ["landmarks/detector", "dlib", "mediapipe, face_alignment"],
    ),
    "head model without its file": (
        {"head_model": "flame", "head_model_file": "no such/flame.pkl"},
        ["flame", "no such/flame.pkl", "https://flame.is.tue.mpg.de", "licence"],
    ),
    "head model that is not in the cache": (
        {"head_model": "basel"},
        ["basel.mat", "https://faces.dmi.unibas.ch/bfm/"],
    ),
    "two clips of a subject": (
        {"subjects": {"anna": CLIP | {"synthetic": {"seed": 1}}}},
        ["subjects/anna", "video", "synthetic"],
    ),
    "unknown key of a synthetic subject": (
        {"subjects": {"anna": {"synthetic": {"sed": 1}}}},
        ["subjects/anna/synthetic/sed", "seed"],
    ),
    "synthetic clip without length": (
        {"subjects": {"anna": {"synthetic": {"duration_s": 0}}}},
        ["subjects/anna/synthetic/duration_s", "more than 0"],
    ),
    "synthetic clip of odd size": (
        {"subjects": {"anna": {"synthetic": {"size_px": 129}}}},
        ["subjects/anna/synthetic/size_px", "129", "multiple of 2"],
    ),
    "missing key": ({"subjects": {"anna": {"start_s": 1}}}, ["subjects/anna/video", "missing"]),
    "missing clip": (
        {"subjects": {"anna": {"video": "clips/anna é.mp4"}}},
        ["subjects/anna/video", "clips/anna é.mp4", "give the path"],
    ),
    "deepspeech without its network": (
        {"audio_features": {"kind": "deepspeech"}},
        ["audio_features/path", "deepspeech"],
    ),
    "a path for features that need none": (
        {"audio_features": {"path": "aud.npy"}},
        ["audio_features/path", "log_mel"],
    ),
    "missing audio features": (
        {"audio_features": {"kind": "file", "path": "made elsewhere/{subject}.npy"}},
        ["audio_features/path", "made elsewhere/toy.npy", "docs/audio.md"],
    ),
    "unknown kind of audio features": (
        {"audio_features": {"kind": "hubert"}},
        ["audio_features/kind", "hubert", "log_mel, logmel, deepspeech, file"],
    ),
    "a shift in frames": (
        {"subjects": {"anna": CLIP | {"audio_shift_s": -25}}},
        ["subjects/anna/audio_shift_s", "-25", "at least -10"],
    ),
    "folder as a clip": ({"subjects": {"anna": {"video": "."}}}, ["subjects/anna/video", "'.'"]),
    "subject with a space": ({"subjects": {"anna b": CLIP}}, ["subjects", "anna b", "letters"]),
    "subject that leaves results": ({"subjects": {"../anna": CLIP}}, ["subjects", "../anna"]),
    "subject named as a folder of results": ({"subjects": {"tables": CLIP}}, ["tables"]),
    "driver without a recording": (
        {"drivers": {"phone": {}}},
        ["drivers/phone", "arkit, nerface or wav", "names 0"],
    ),
    "driver of two recordings": (
        {"drivers": {"phone": {"arkit": "a.csv", "nerface": "b.json"}}},
        ["drivers/phone", "names 2"],
    ),
    "missing recording": (
        {"drivers": {"phone": {"arkit": "nowhere.csv"}}},
        ["drivers/phone", "nowhere.csv", "give the path"],
    ),
    "driver named as a subject": (
        {"subjects": {"anna": CLIP}, "drivers": {"anna": {"arkit": str(ROOT / "README.md")}}},
        ["drivers/anna", "name of a subject"],
    ),
    "driver with a space": ({"drivers": {"a b": {"arkit": "a.csv"}}}, ["drivers", "a b"]),
    "sheet that is not there": (
        {"subject_sheet": "nobody.tsv"},
        ["subject_sheet", "nobody.tsv", "No such file", "give the path"],
    ),
    "subject with an unknown role": (
        {"subjects": {"anna": CLIP | {"role": "star"}}},
        ["subjects/anna/role", "star", "avatar, driver"],
    ),
    "nobody to make an avatar of": (
        {"subjects": {"anna": CLIP | {"role": "driver"}}},
        ["subjects", "drivers", "subject_sheet"],
    ),
    "nobody at all": ({"subjects": {}}, ["subjects", "empty", "subject_sheet"]),
    "own head model without its file": (
        {"subjects": {"anna": CLIP | {"head_model": "basel"}}},
        ["basel.mat", "https://faces.dmi.unibas.ch/bfm/"],
    ),
    "table that is not there": ({"tables": ["mine.yaml"]}, ["tables", "mine.yaml", "No such file"]),
    "table in the place of another": (
        {"tables": ["own/scores.yaml"]},
        ["results/tables/scores", "call the file otherwise"],
    ),
    "subject that is a number": ({"subjects": {3: CLIP}}, ["subjects", "3", "quotes"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named_in_one_sentence(new_project: Callable[..., Project], fault: str):
    changes, words = FAULTS[fault]
    project = new_project(**changes)
    done = project.run("--cores", "1")
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1
    assert len(errors) == 1, done.stdout
    for word in words:
        assert word in errors[0]
    assert "Traceback" not in done.stdout
    assert not (project.folder / "results").exists()


def test_a_landmark_detector_without_its_package_is_refused_before_any_job(new_project, tmp_path):
    # Python runs sitecustomize.py at its start: here it hides the package.
    hiding = "import sys\nsys.modules['face_alignment'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hiding)
    project = new_project(landmarks={"detector": "face_alignment"})
    done = project.run("--cores", "1", PYTHONPATH=str(tmp_path))
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1
    assert len(errors) == 1, done.stdout
    assert "landmarks/detector" in errors[0]
    assert "pip install '.[face_alignment]'" in errors[0]
    assert not (project.folder / "results").exists()


def test_the_landmark_detector_is_the_same_for_clips_and_renders(new_project):
    project = new_project(landmarks={"detector": "face_alignment"})
    agreement = "results/toy/agree.md"
    done = project.run("--dry-run", "--printshellcmds", "all", agreement)
    assert done.returncode == 0, done.stdout
    commands = [line for line in done.stdout.splitlines() if "-m preprocessing.landmarks" in line]
    kinds = {
        line.split("--out ")[1].split()[0]: line.split("--landmark-detector ")[1].split()[0]
        for line in commands
    }
    assert kinds.pop("results/toy/other_landmarks.h5") == "mediapipe"
    assert set(kinds.values()) == {"face_alignment"}
    assert any("render_self_landmarks" in out for out in kinds)
    assert "--second results/toy/other_landmarks.h5" in done.stdout


def test_the_projects_own_configuration_is_accepted():
    done = Project(ROOT).run("--dry-run", "--quiet")
    assert done.returncode == 0, done.stdout


def test_a_quiet_dry_run_counts_the_jobs_and_prints_none(new_project):
    printed = new_project().run("--dry-run").stdout
    counted = new_project().run("--dry-run", "--quiet").stdout
    (total,) = re.findall(r"^total +(\d+)", counted, re.MULTILINE)
    assert printed.count("rule ") == int(total)
    assert "rule " not in counted


def test_what_config_yaml_leaves_out_has_the_schemas_default(new_project):
    project = new_project()
    project.config = {"subjects": {"anna": CLIP}, "models": ["nearest_frame"]}
    project.write_config()
    done = project.run("--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stdout
    for words in ("--image-size 128", "--split tail-20", "--frame-rate-hz 25", "--max-side-px 512"):
        assert words in done.stdout


def test_ready_audio_features_of_each_subject_are_its_inputs(new_project):
    """{subject} in the path stands for the name; the step gets the file, its options and the shift of the sound."""
    subjects = {"anna": CLIP | {"audio_shift_s": -0.04}, "ben": CLIP}
    options = {"kind": "file", "path": "ready made/{subject}.npy", "also_npy": True}
    project = new_project(subjects=subjects, audio_features=options)
    (project.folder / "ready made").mkdir()
    for name in subjects:
        (project.folder / f"ready made/{name}.npy").write_bytes(b"")
    done = project.run("--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stdout
    for name in subjects:
        assert f"--path 'ready made/{name}.npy'" in done.stdout
        assert f"results/{name}/aud.npy" in done.stdout
    for words in ("--kind file", "--also-npy", "--mfcc auto", "--audio-shift-s -0.04"):
        assert words in done.stdout


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(TOY_CONFIG, SCHEMA)


def entries(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every key the schema describes, with its description."""
    found = []
    for name, entry in schema.get("properties", {}).items():
        found += [(f"{path}{name}", entry), *entries(entry, f"{path}{name}/")]
    extra = schema.get("additionalProperties")
    return found + (entries(extra, f"{path}*/") if isinstance(extra, dict) else [])


@pytest.mark.parametrize(("key", "entry"), entries(SCHEMA))
def test_every_key_says_what_it_is(key: str, entry: dict[str, Any]):
    assert entry["description"]
    assert entry["type"]
    if entry["type"] in ("integer", "number"):
        assert ";" in entry["description"], "a number names its unit after a semicolon"
    if entry["type"] == "object":
        assert "additionalProperties" in entry
    # A subject has one of video and synthetic: neither has a default.
    required = key in SCHEMA["required"] or key.endswith(("/video", "/synthetic"))
    assert required != ("default" in entry)


def test_every_key_of_config_yaml_is_commented():
    lines = (ROOT / "config.yaml").read_text().splitlines()
    keys = [i for i, line in enumerate(lines) if line and line[0] not in "# "]
    assert {lines[i].split(":")[0] for i in keys} == SCHEMA["properties"].keys()
    for i in keys:
        assert lines[i - 1].startswith("#"), lines[i]


def test_the_schema_knows_the_splits_and_presets():
    assert sorted(SCHEMA["properties"]["split"]["enum"]) == split_names()
    subject = SCHEMA["properties"]["subjects"]["additionalProperties"]["properties"]
    for key in ("split", "head_model"):
        assert subject[key]["enum"] == ["", *SCHEMA["properties"][key]["enum"]]
    assert set(SCHEMA["properties"]["preset"]["enum"]) == set(PRESETS)


STEPS = {
    "frames": preprocessing.frames.Options,
    "face_fit": preprocessing.face_fit.Options,
    "audio_features": preprocessing.audio_features.Options,
    "train_avatar": avatar_models.train.Options,
    "render_avatar": avatar_models.render.Options,
}


@pytest.mark.parametrize("step", STEPS)
def test_defaults_of_a_section_are_those_of_its_step(step: str):
    fields = {field.name: field.default for field in dataclasses.fields(STEPS[step])}
    for key, entry in SCHEMA["properties"][step]["properties"].items():
        if (step, key) == ("face_fit", "photometric"):
            assert entry["default"] == "auto"  # chosen by the preset: see the test below
        else:
            assert fields[key] == entry["default"]


@pytest.mark.parametrize(("preset", "level"), [("tiny", "light"), ("fast", "full")])
def test_the_preset_says_how_much_the_pictures_say_in_the_fit(new_project, preset, level):
    project = new_project(preset=preset)
    done = project.run("--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stdout
    assert f"--photometric {level}" in done.stdout


def test_defaults_of_a_synthetic_subject_are_those_of_its_step():
    fields = {f.name: f.default for f in dataclasses.fields(preprocessing.synthesize.Options)}
    subject = SCHEMA["properties"]["subjects"]["additionalProperties"]["properties"]
    for key, entry in subject["synthetic"]["properties"].items():
        assert fields[key] == entry["default"]


def test_a_synthetic_subject_is_made_before_its_frames(new_project):
    project = new_project(subjects={"nobody": {"synthetic": {"seed": 3, "text": "Hello you."}}})
    done = project.run("--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stdout
    assert "--video results/synthetic/nobody.mp4" in done.stdout
    assert "--seed 3" in done.stdout
    assert "--text 'Hello you.'" in done.stdout


def test_subject_names_that_are_used_by_results_are_reserved():
    """Every folder and file that rules write directly below results/ is no name of a subject."""
    reserved = set(SCHEMA["properties"]["subjects"]["propertyNames"]["not"]["enum"])
    rules = "".join(path.read_text() for path in Path(ROOT, "rules").glob("*.smk"))
    written = {
        part.split("/")[0].split('"')[0].removesuffix(".md") for part in rules.split("results/")[1:]
    }
    assert {name for name in written if name.isidentifier()} == reserved


def test_one_broken_subject_does_not_hide_the_key(new_project):
    changes = deepcopy(TOY_CONFIG["subjects"]) | {"anna": {"video": "none.mp4"}}
    done = new_project(subjects=changes).run("--dry-run")
    assert "subjects/anna/video" in done.stdout


def test_a_misspelt_key_is_named_rather_than_the_one_that_is_missing(new_project):
    project = new_project()
    project.config = {"subjects": {"anna": CLIP}, "model": ["nearest_frame"]}
    project.write_config()
    done = project.run("--dry-run")
    assert done.returncode == 1
    assert "unknown key model;" in done.stdout
