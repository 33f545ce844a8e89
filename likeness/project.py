"""The doctor's look at a project: its configuration, third-party files and subjects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from artifacts.errors import InputError
from artifacts.subject_sheet import listed_subjects
from assets.cache import cache_folder, has_digest
from assets.fetch import cached_asset
from assets.registry import ByHand, load_registry
from avatar_models.registry import driven_by
from likeness.findings import Finding
from media.probe import VideoInfo, probe
from media.reader import TimeSpan
from preprocessing.detection.face_detector import FaceDetector
from preprocessing.frames import look_for_faces

ROOT = Path(__file__).resolve().parents[1]
DETECTOR = "face_detection_short_range.tflite"
# A face must be seen in one of the frames at the start, of this rate.
LOOK_SECONDS, LOOK_RATE_HZ = 4.0, 2.0


@dataclass(frozen=True)
class Plan:
    """What Snakemake makes of a configuration: its sentence where it refuses it, else the files of the plan."""

    refusal: str
    files: tuple[str, ...]


def snakemake_command(folder: Path, config: Path, *arguments: str) -> list[str]:
    """Command line of Snakemake for a project in ``folder``.

    Raises:
        InputError: the Snakefile is not beside the code.
    """
    snakefile = ROOT / "Snakefile"
    if not snakefile.is_file():
        raise InputError(
            f"there is no {snakefile}; install likeness from its own folder (pip install --editable .)"
        )
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
    # Instead of a config.yaml in the folder, not on top of it.
    chosen = ["--configfile", str(config), "--replace-workflow-config"]
    return [*command, "--directory", str(folder), *arguments, *chosen]


def make_plan(folder: Path, config: Path) -> Plan:
    """Let Snakemake read the configuration and plan; nothing is run."""
    done = subprocess.run(
        snakemake_command(folder, config, "--summary"), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return Plan((said or lines or ["no reason given"])[-1], ())
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return Plan("", tuple(row[0] for row in rows[1:] if len(row) > 1))


def configuration(plan: Plan, config: Path) -> Iterator[Finding]:
    """Whether the configuration can be planned."""
    if plan.refusal:
        yield Finding("error", "configuration", plan.refusal)
    else:
        yield Finding("ok", "configuration", f"{config}: {len(plan.files)} files to make or made")


def third_party_files(plan: Plan, folder: Path) -> Iterator[Finding]:
    """Every third-party file that the plan needs: present, missing, or not what it should be."""
    registry = load_registry()
    for name in (Path(file).name for file in plan.files if file.startswith("results/assets/")):
        asset = registry.asset(name)
        made = folder / "results/assets" / name
        if made.exists() and not has_digest(made, asset.sha256):
            text = f"{made} is not the file of assets/registry.yaml; delete it ({asset.licence})"
            yield Finding("error", name, text)
        elif made.exists() or cached_asset(name, registry) is not None:
            yield Finding("ok", name, f"present ({asset.licence})")
        elif (cache_folder() / name).exists():
            text = f"{cache_folder() / name} has another digest than the file of assets/registry.yaml: it is damaged or of another version"
            todo = (
                "put the right one there"
                if isinstance(asset.source, ByHand)
                else "the run downloads it anew"
            )
            level = "error" if isinstance(asset.source, ByHand) else "warning"
            yield Finding(level, name, f"{text}; {todo} ({asset.licence})")
        elif isinstance(asset.source, ByHand):
            text = f"missing; {asset.source.steps}: {asset.source.page} (licence: {asset.licence})"
            yield Finding("error", name, text)
        else:
            text = (
                f"not here yet, the run downloads {asset.size_bytes / 1e6:.1f} MB ({asset.licence})"
            )
            yield Finding("ok", name, text)


def subjects(config: dict[str, Any], folder: Path) -> Iterator[Finding]:
    """Whether each clip can be opened, shows a face at its start, and has the sound that models need.

    Args:
        config: The configuration as it is written; it was planned before.
        folder: Working directory of the run, which relative paths start from.
    """
    detector = cached_asset(DETECTOR)
    follow_sound = [model for model in config.get("models", []) if driven_by(model) == "sound"]
    for name, subject in _listed(config, folder).items():
        video = subject.get("video")
        if video is None:
            yield Finding("ok", name, "made up, no clip needed")
            continue
        is_asset = video in load_registry().assets
        path = cached_asset(video) if is_asset else folder / Path(video).expanduser()
        if path is None:
            yield Finding("ok", name, f"{video} is not here yet, the run downloads it")
            continue
        start_s = float(subject.get("start_s", 0))
        try:
            info = probe(path, start_s + LOOK_SECONDS)
            seen = None if detector is None else _has_face(info, start_s, FaceDetector(detector))
        except InputError as error:
            yield Finding("error", name, str(error))
            continue
        # Who only drives does not drive models that follow sound, and none is trained on it.
        only_drives = subject.get("role") == "driver"
        yield _judge_clip(name, info, seen, [] if only_drives else follow_sound)


def consents(config: dict[str, Any], folder: Path) -> Iterator[Finding]:
    """Whether it is written where the consent of each person is on file; nothing but a warning."""
    filmed_or_recorded = {**_listed(config, folder), **(config.get("drivers") or {})}
    without = [
        name
        for name, given in filmed_or_recorded.items()
        if not given.get("consent") and "synthetic" not in given
    ]
    if without:
        text = f"no reference for {', '.join(without)}; write where each consent is on file (consent), the report shows it"
        yield Finding("warning", "consent", text)
    else:
        yield Finding("ok", "consent", "a reference for everyone")


def _listed(config: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    sheet = config.get("subject_sheet")
    return listed_subjects(config, folder / Path(sheet).expanduser() if sheet else None)


def _judge_clip(
    name: str, info: VideoInfo, has_face: bool | None, needs_sound: list[str]
) -> Finding:
    width, height = info.size
    text = f"{width}x{height}, {info.duration_s:.1f} s, {info.frame_rate_hz:g} frames/s"
    text += ", with sound" if info.has_audio else ", no sound"
    if needs_sound and not info.has_audio:
        text += f", which {', '.join(needs_sound)} needs; give a clip with sound or leave it out"
        return Finding("error", name, text)
    if has_face is None:
        return Finding(
            "warning", name, f"{text}; not looked for a face: {DETECTOR} is not here yet"
        )
    if not has_face:
        text += f"; no face in the first {LOOK_SECONDS:g} s, choose a part that shows one (start_s)"
        return Finding("warning", name, text)
    return Finding("ok", name, f"{text}, a face at its start")


def _has_face(info: VideoInfo, start_s: float, detector: FaceDetector) -> bool:
    people, _ = look_for_faces(info, TimeSpan(start_s, LOOK_SECONDS), detector, LOOK_RATE_HZ)
    return len(people) > 0


def read_config(path: Path) -> dict[str, Any]:
    """The configuration as it is written.

    Raises:
        InputError: it is not there, or no YAML mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a configuration with --config") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text; name a configuration with --config") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no keys; see config.yaml of the project for what there is")
    return found
