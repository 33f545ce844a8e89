"""Imports of all .smk files, and the checked configuration: what is refused before any job is planned."""

import fcntl
import gc
import json
import logging
import math
import os
import re
import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from snakemake.settings.types import DeploymentMethod, Quietness
from snakemake.utils import validate
from snakemake_interface_logger_plugins.common import LogEvent

# The code beside the Snakefile, wherever Snakemake runs and whatever is installed.
sys.path.insert(0, workflow.basedir)

from artifacts.code_digest import code_digest
from artifacts.errors import InputError
from artifacts.subject_sheet import place_in_sheet, read_subject_sheet
from assets.cache import cache_folder
from avatar_models.registry import (
    driven_by,
    input_files,
    make_config,
    model_module,
    n_directions,
    perceptual_kind,
    registered_models,
)
from evaluation.table_spec import read_table_spec

# The plan of thousands of jobs is millions of objects that stay; looking through them for garbage took a seventh of
# the time of planning 7,000 jobs.
gc.set_threshold(500_000, 50, 100)

ROOT = Path(workflow.basedir)
RECORDINGS = ("arkit", "nerface", "wav")
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
# What of the assets each published head model is made from.
HEAD_MODEL_ASSETS = {
    "gnm": "gnm_head.npz",
    "flame": "flame.pkl",
    "basel": "basel.mat",
    "ict": "FaceXModel",
}
REGISTRY_FILE = yaml.safe_load((ROOT / "assets/registry.yaml").read_text())
REGISTRY, ASSET_GROUPS = REGISTRY_FILE["assets"], REGISTRY_FILE["groups"]


def refuse(sentence):
    """End before any job is planned, with one sentence and no traceback."""
    sys.exit(f"error: config: {sentence}")


# Names of the subjects that the sheet brings.
IN_SHEET = set()


def add_subject_sheet():
    """Take the subjects of the sheet, where one is named, to those of config.yaml."""
    sheet, inline = config.get("subject_sheet"), config.setdefault("subjects", {})
    if not sheet or not isinstance(sheet, str) or not isinstance(inline, dict):
        return
    try:
        listed = read_subject_sheet(Path(sheet).expanduser())
    except InputError as error:
        refuse(f"subject_sheet: {error}")
    twice = sorted(listed.keys() & inline.keys())
    if twice:
        refuse(
            f"subjects/{twice[0]} is in the subject_sheet {sheet} too; give each person one place"
        )
    config["subjects"] = inline | listed
    IN_SHEET.update(listed)


def shown_key(*keys):
    """A key as the user finds it: its path in the configuration, or row and column of the subject sheet."""
    name = keys[1] if keys[:1] == ("subjects",) and len(keys) > 1 else None
    if name not in IN_SHEET:
        return "/".join(map(str, keys))
    sheet = config["subject_sheet"]
    place = place_in_sheet(Path(sheet).expanduser(), name, *keys[2:3])
    return f"subject_sheet {sheet}, {place}"


def check_command_line():
    """Refuse people on the command line: the records of a run read from the files where each one's consent is on file."""
    places = {
        "subjects": "a configuration file or a subject_sheet",
        "drivers": "a configuration file",
    }
    for key in sorted(places.keys() & workflow.config_settings.config.keys()):
        refuse(f"{key} cannot be given with --config; write them into {places[key]}")


def values_in(node, key=""):
    """Every (key, value) of a nested configuration, keys joined by slashes."""
    yield key, node
    if isinstance(node, dict | list):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for name, value in pairs:
            if isinstance(node, dict) and not isinstance(name, str):
                refuse(
                    f"the key {name!r} in {key or 'the file'} is no text; put it in quotes"
                )
            yield from values_in(value, f"{key}/{name}" if key else str(name))


def config_sentence(error):
    """One sentence for a jsonschema error: which key, what it is, what it must be."""
    key = shown_key(*error.absolute_path)
    about = error.schema.get("description", "").rstrip(".") if error.schema else ""
    meaning = f" ({about})" if about else ""
    value = json.dumps(error.instance, ensure_ascii=False, default=str)
    wanted = error.validator_value
    match error.validator:
        case "additionalProperties":
            known = error.schema["properties"]
            unknown = next(name for name in error.instance if name not in known)
            place = shown_key(*error.absolute_path, unknown)
            return f"unknown key {place}; the keys here are {', '.join(sorted(known))}"
        case "required":
            missing = next(name for name in wanted if name not in error.instance)
            return f"the key {shown_key(*error.absolute_path, missing)} is missing"
        case "type":
            return f"{key} is {value}, but must be of type {wanted}{meaning}"
        case "enum":
            return f"{key} is {value}, but must be one of {', '.join(map(str, wanted))}{meaning}"
        case "minimum" | "exclusiveMinimum":
            than = "at least" if error.validator == "minimum" else "more than"
            return f"{key} is {value}, but must be {than} {wanted}{meaning}"
        case "maximum" | "exclusiveMaximum":
            than = "at most" if error.validator == "maximum" else "less than"
            return f"{key} is {value}, but must be {than} {wanted}{meaning}"
        case "multipleOf":
            return f"{key} is {value}, but must be a multiple of {wanted}{meaning}"
        case "pattern" | "not":
            # The name itself is at fault: of a subject of the sheet its row is known.
            named = shown_key(*error.absolute_path, error.instance)
            place = named if error.instance in IN_SHEET else key
            return f"{place} has the impossible name {value}{meaning}"
        case "minItems" | "minProperties" | "minLength":
            return f"{key} is empty{meaning}"
        case "uniqueItems":
            return f"{key} names something twice{meaning}"
        case _:
            return f"{key}: {error.message}{meaning}"


def check_schema():
    """Refuse what the schema refuses, with one sentence; fill in the schema's defaults."""
    for key, value in values_in(config):
        if isinstance(value, float) and not math.isfinite(value):
            refuse(
                f"{shown_key(*key.split('/'))} is {value}, but must be a finite number"
            )
    schema = yaml.safe_load(SCHEMA.read_text())
    error = min(
        Draft202012Validator(schema).iter_errors(config),
        # A misspelt key first: it is why another one is missing.
        key=lambda e: (
            e.validator != "additionalProperties",
            list(map(str, e.absolute_path)),
        ),
        default=None,
    )
    if error:
        refuse(f"{config_sentence(error)}")
    validate(config, str(SCHEMA))


def model_assignments(model):
    """The user's options of one model, as key=value."""
    options = config["model_options"].get(model, {})
    return [f"{key}={json.dumps(value)}" for key, value in options.items()]


def options_of_model(model):
    """The options of a model as this configuration sets them."""
    return make_config(model, config["preset"], model_assignments(model))


def lpips_network(model):
    """Files of the network that a model learns by: LPIPS where it asks for it, or where it is measured anyway."""
    made = options_of_model(model)
    measured = "alex" in config["scores"]["lpips"]
    kind = perceptual_kind(made)
    return (
        ASSET_GROUPS["lpips_alex"]
        if kind == "lpips" or (kind == "auto" and measured)
        else []
    )


def choose_for_subjects():
    """What a subject does not say of itself is as for all."""
    for subject in config["subjects"].values():
        for key in ("split", "head_model"):
            subject[key] = subject[key] or config[key]


def check_names():
    """Refuse models, model options and clips that do not exist, before any job is planned."""
    if all(subject["role"] == "driver" for subject in config["subjects"].values()):
        refuse(
            "subjects is empty but for drivers; name a person to make an avatar of, here or in a subject_sheet"
        )
    for model in sorted({*config["models"], *config["model_options"]}):
        try:
            input_files(options_of_model(model))
        except InputError as error:
            refuse(f"models, model_options: {error}")
    for name, driver in config["drivers"].items():
        recordings = [kind for kind in RECORDINGS if driver[kind]]
        if len(recordings) != 1:
            refuse(
                f"drivers/{name} must name one recording, arkit, nerface or wav, but names {len(recordings)}"
            )
        recording = Path(driver[recordings[0]]).expanduser()
        if not recording.is_file():
            refuse(
                f"drivers/{name}: there is no file {str(recording)!r}; give the path of the recording"
            )
        if name in config["subjects"]:
            refuse(f"drivers/{name} has the name of a subject; choose another")
        if driver["wav"] and config["frame_rate_hz"] == 0:
            refuse(
                f"drivers/{name} is a sound, which has no frame rate of its own, but frame_rate_hz is 0; "
                "give the frames per second"
            )
    for name, subject in config["subjects"].items():
        if "video" in subject and "synthetic" in subject:
            refuse(
                f"subjects/{name} has both video and synthetic; give the one or the other"
            )
        if "synthetic" in subject:
            continue
        if "video" not in subject:
            refuse(
                f"the key subjects/{name}/video is missing; give a clip, or synthetic: {{seed: 1}} for a made-up person"
            )
        video = Path(subject["video"]).expanduser()
        if subject["video"] not in REGISTRY and not video.is_file():
            refuse(
                f"{shown_key('subjects', name, 'video')}: there is no file {str(video)!r} and no asset of that name; "
                "give the path of a clip, or the name of an asset of assets/registry.yaml"
            )


def check_tables():
    """Refuse declarations of tables that cannot be read or that would overwrite another table."""
    taken = {
        "scores",
        "partial",
        *(path.stem for path in (ROOT / "evaluation/paper").glob("*.yaml")),
    }
    for name in config["tables"]:
        path = Path(name).expanduser()
        if path.stem in taken or not re.fullmatch(
            r"[A-Za-z0-9][A-Za-z0-9_-]*", path.stem
        ):
            refuse(
                f"tables: results/tables/{path.stem} is the place of another table or no fitting name; call the file otherwise, "
                "letters, digits, _ and - only"
            )
        taken.add(path.stem)
        try:
            read_table_spec(path)
        except InputError as error:
            refuse(f"tables: {error}")
    config["tables"] = [str(Path(name).expanduser()) for name in config["tables"]]


def audio_file(name):
    """The file that the audio features of a subject or sound are made with: a network or ready features; None without one."""
    path = config["audio_features"]["path"]
    return path and str(Path(path.replace("{subject}", name)).expanduser())


def used_sounds():
    """Drivers that are a sound, where mode audio and a model that is driven by sound are wanted."""
    wanted = "audio" in config["modes"] and "sound" in map(driven_by, config["models"])
    return sorted(
        name for name, driver in config["drivers"].items() if wanted and driver["wav"]
    )


def check_audio_files():
    """Refuse kinds of audio features whose file is not given or does not exist, before any job is planned."""
    kind = config["audio_features"]["kind"]
    if (kind in ("deepspeech", "file")) != bool(config["audio_features"]["path"]):
        refuse(
            f"audio_features/path belongs to the kinds deepspeech and file, and they need it; "
            f"audio_features/kind is {kind}"
        )
    names = [*config["subjects"], *used_sounds()]
    for path in sorted(set(map(audio_file, names)) - {None}):
        if not Path(path).is_file():
            refuse(
                f"audio_features/path: there is no file {path!r}; give the path of "
                "deepspeech-0.9.3-models.tflite or of ready features (docs/audio.md)"
            )


def check_landmark_detector():
    """Refuse a landmark detector whose package is not where its step runs."""
    in_conda = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
    wanted = config["landmarks"]["detector"] == "face_alignment"
    if wanted and not in_conda and find_spec("face_alignment") is None:
        refuse(
            "landmarks/detector is face_alignment, but the package of that name is not installed; "
            "pip install '.[face_alignment]' with constraints.txt, or choose mediapipe"
        )


def check_csim():
    """Refuse CSIM before its network, which a person has to fetch, is in the cache."""
    for name in ASSET_GROUPS["csim"] if config["scores"]["csim"] else []:
        entry, path = REGISTRY[name], cache_folder() / name
        if not path.is_file():
            refuse(
                f"scores/csim is true, but there is no {path}; get it from {entry['source']['page']} "
                f"({entry['source']['steps']}; licence: {entry['licence']}) and put it there"
            )


def head_model_files(source):
    """Option and path of every file that a head model is made from; a missing one is refused.

    The paths in config.yaml are those of the head model of all; the others are in the cache of assets.
    """
    if source not in HEAD_MODEL_ASSETS:
        return {}
    name = HEAD_MODEL_ASSETS[source]
    entry = REGISTRY[name]
    given = {"file": str(cache_folder() / name)}
    if source == config["head_model"]:
        named = {
            "file": config["head_model_file"],
            "texture": config["head_model_texture"],
        }
        given |= {option: path for option, path in named.items() if path}
    files = {option: Path(path).expanduser() for option, path in given.items()}
    for option, path in files.items():
        if not path.exists():
            place = (
                f"name its path in head_model_{option}"
                if source == config["head_model"]
                else "put it there"
            )
            refuse(
                f"head_model is {source}, but there is no {path}; get it from {entry['source']['page']} "
                f"({entry['source']['steps']}; licence: {entry['licence']}) and {place}"
            )
    return {option: str(path.resolve()) for option, path in files.items()}


def release_stale_lock():
    """Remove the lock that a killed run left behind.

    The lock of ``.snakemake/running`` belongs to the process: the system releases it when a run dies, whatever
    killed it. Where it can be had, no run is alive, and Snakemake's own lock files say nothing any more.
    """
    folder = Path(".snakemake")
    folder.mkdir(exist_ok=True)
    running = os.open(folder / "running", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    for lock in (folder / "locks").glob("*.lock"):
        lock.unlink(missing_ok=True)


def choose_photometric():
    """Photometric fit ``auto``: little work for avatars of the preset tiny, much for larger ones."""
    if config["face_fit"]["photometric"] == "auto":
        level = "light" if config["preset"] == "tiny" else "full"
        config["face_fit"]["photometric"] = level


check_command_line()
add_subject_sheet()
check_schema()
choose_for_subjects()
check_names()
check_tables()
check_audio_files()
choose_photometric()
check_landmark_detector()
check_csim()
HEAD_MODELS = {
    config["head_model"],
    *(subject["head_model"] for subject in config["subjects"].values()),
}
HEAD_MODEL_FILES = {source: head_model_files(source) for source in sorted(HEAD_MODELS)}
release_stale_lock()
