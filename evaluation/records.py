"""Step: what is to be kept of a run beside its results, in one JSON file: provenance, licences and consents."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from artifacts.code_digest import ROOT
from artifacts.errors import InputError
from artifacts.splits import versioned_split
from artifacts.step import run_step
from artifacts.subject_sheet import listed_subjects
from artifacts.text_files import write_whole
from assets.licences import (
    LicenceRow,
    library_licences,
    licences_of,
    remark_sentences,
    restriction_sentences,
)
from evaluation.report_files import (
    Origin,
    files_of_all,
    files_of_subject,
    origin_of,
    sha256_of,
)


@dataclass(frozen=True)
class Options:
    """Options of ``python -m evaluation.records``."""

    results: Path
    """Folder with the results of all subjects."""
    config: tuple[Path, ...]
    """Configuration files; what a later one says stands above what an earlier one says."""
    split: str
    """Split of the subjects that name none of their own."""
    head_model: str
    """Head model of the subjects that name none of their own."""
    models: tuple[str, ...]
    """Models whose avatars are recorded."""
    assets: tuple[str, ...]
    """Third-party files (or groups of them) that were used."""
    out: Path
    """JSON file to write."""
    subject_sheet: Path | None = None
    """Table of more subjects."""
    drivers: tuple[str, ...] = ()
    """Recordings and sounds that drive."""


@dataclass(frozen=True)
class NamedFile:
    """A file that is no artifact.

    Attributes:
        path: Relative to the working directory; only the name of a file elsewhere.
        sha256: Digest of its bytes, 64 hex digits.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class SubjectRecord:
    """What is kept of one person.

    Attributes:
        role: ``avatar``, or ``driver`` for one who only drives.
        is_made_up: True for a synthetic person, whose consent nobody needs.
        consent: Where the consent is on file, as it was given; None where nothing was given.
        split: Which frames train and which test, such as ``tail-20@1``.
        head_model: The head model that was fitted.
        notes: As they were given.
        files: Every artifact, in the order of their names.
    """

    role: str
    is_made_up: bool
    consent: str | None
    split: str
    head_model: str
    notes: str
    files: tuple[Origin, ...]

    @property
    def lacks_consent(self) -> bool:
        """True for a real person of whom nothing was given."""
        return self.consent is None and not self.is_made_up

    @property
    def consent_text(self) -> str:
        """The reference, or why there is none."""
        return self.consent or ("none needed, made up" if self.is_made_up else "none given")


@dataclass(frozen=True)
class RecordingRecord:
    """What is kept of one recording that drives: somebody's motion or voice.

    Attributes:
        kind: ``arkit``, ``nerface`` or ``wav``.
        consent: Where the consent of who was recorded is on file, as it was given; None where nothing was given.
    """

    kind: str
    consent: str | None

    @property
    def lacks_consent(self) -> bool:
        """True where nothing was given."""
        return self.consent is None

    @property
    def consent_text(self) -> str:
        """The reference, or that there is none."""
        return self.consent or "none given"


@dataclass(frozen=True)
class Records:
    """What is kept of a run.

    Attributes:
        version: Of likeness, and the commit of its code when this was written; each None where it is not known.
        configuration: The configuration files, the later above the earlier.
        subject_sheet: Table of more subjects, if any.
        models: Models whose avatars are recorded.
        restrictions: What may not be done with the results, a sentence each.
        remarks: What is to be known besides of third-party files, a sentence each.
        licences: Terms of each third-party file.
        libraries: Terms of each library.
        without_consent: Persons and recordings of whom no consent reference was given.
        subjects: Name to what is kept of each person.
        recordings: Name to what is kept of each recording that drives.
        shared_files: Artifacts that belong to no single person.
    """

    version: dict[str, str | None]
    configuration: tuple[NamedFile, ...]
    subject_sheet: NamedFile | None
    models: tuple[str, ...]
    restrictions: tuple[str, ...]
    remarks: tuple[str, ...]
    licences: tuple[LicenceRow, ...]
    libraries: tuple[LicenceRow, ...]
    without_consent: tuple[str, ...]
    subjects: dict[str, SubjectRecord]
    recordings: dict[str, RecordingRecord]
    shared_files: tuple[Origin, ...]


def merged_config(paths: Sequence[Path]) -> dict[str, Any]:
    """The configuration that several files make together, as Snakemake merges them: mapping by mapping.

    Raises:
        InputError: a file cannot be read or is no YAML mapping.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path}: is no configuration ({reason}); name one with --config"
            ) from error
        if not isinstance(content, dict):
            raise InputError(f"{path}: holds no keys; name a configuration with --config")
        _merge(merged, content)
    return merged


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        else:
            below[key] = value


def make_records(options: Options) -> Records:
    """Collect everything; hashes all artifacts.

    Raises:
        InputError: configuration, sheet or an artifact cannot be read, or an unknown third-party file is named.
    """
    config = merged_config(options.config)
    listed = listed_subjects(config, options.subject_sheet)
    subjects = {name: _subject(name, listed[name], options) for name in sorted(listed)}
    recordings = {
        name: _recording(given) for name, given in sorted((config.get("drivers") or {}).items())
    }
    people = {**subjects, **recordings}
    licences = licences_of(options.assets)
    return Records(
        version=_version(),
        configuration=tuple(map(_named, options.config)),
        subject_sheet=_named(options.subject_sheet) if options.subject_sheet else None,
        models=options.models,
        restrictions=tuple(restriction_sentences(licences)),
        remarks=tuple(remark_sentences(licences)),
        licences=tuple(licences),
        libraries=tuple(library_licences()),
        without_consent=tuple(name for name, record in people.items() if record.lacks_consent),
        subjects=subjects,
        recordings=recordings,
        shared_files=_origins(files_of_all(options.results, options.drivers), options.results),
    )


def _subject(name: str, given: Mapping[str, Any], options: Options) -> SubjectRecord:
    return SubjectRecord(
        role=given.get("role", "avatar"),
        is_made_up="synthetic" in given,
        consent=given.get("consent") or None,
        split=versioned_split(given.get("split") or options.split),
        head_model=given.get("head_model") or options.head_model,
        notes=given.get("notes", ""),
        files=_origins(files_of_subject(options.results, name, options.models), options.results),
    )


def _recording(given: Mapping[str, Any]) -> RecordingRecord:
    kind = next((kind for kind in ("arkit", "nerface", "wav") if given.get(kind)), "unknown")
    return RecordingRecord(kind, given.get("consent") or None)


def _origins(paths: Sequence[Path], results: Path) -> tuple[Origin, ...]:
    return tuple(origin_of(path, results) for path in paths)


def _named(path: Path) -> NamedFile:
    place, here = path.expanduser().resolve(), Path.cwd().resolve()
    shown = place.relative_to(here).as_posix() if place.is_relative_to(here) else place.name
    return NamedFile(shown, sha256_of(place))


def _version() -> dict[str, str | None]:
    """The installed version, and the commit of the code beside this module; ``-dirty`` marks a changed file."""
    try:
        installed = metadata.version("likeness")
    except metadata.PackageNotFoundError:
        installed = None
    return {"likeness": installed, "commit": _commit()}


def _commit() -> str | None:
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def read_records(path: Path) -> Records:
    """The inverse of writing.

    Raises:
        InputError: the file is not there, or is none that this step has written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        subjects = {
            name: SubjectRecord(**{**record, "files": _read_origins(record["files"])})
            for name, record in content["subjects"].items()
        }
        recordings = {
            name: RecordingRecord(**record) for name, record in content["recordings"].items()
        }
        sheet = content["subject_sheet"]
        typed = {
            "configuration": tuple(NamedFile(**file) for file in content["configuration"]),
            "subject_sheet": NamedFile(**sheet) if sheet else None,
            "models": tuple(content["models"]),
            **{key: tuple(content[key]) for key in ("restrictions", "remarks", "without_consent")},
            **{key: _read_licences(content[key]) for key in ("licences", "libraries")},
            "subjects": subjects,
            "recordings": recordings,
            "shared_files": _read_origins(content["shared_files"]),
        }
        return Records(**{**content, **typed})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is no records.json ({error}); make it with the step evaluation.records"
        ) from error


def _read_origins(files: list[dict[str, Any]]) -> tuple[Origin, ...]:
    return tuple(Origin(**file) for file in files)


def _read_licences(rows: list[dict[str, Any]]) -> tuple[LicenceRow, ...]:
    return tuple(LicenceRow(**{**row, "forbids": tuple(row["forbids"])}) for row in rows)


def main(options: Options) -> None:
    """Write the records; the same results give the same bytes.

    Raises:
        InputError: something that is to be recorded cannot be read.
    """
    records = asdict(make_records(options))
    write_whole(options.out, json.dumps(records, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    run_step(Options, main)
