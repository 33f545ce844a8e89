"""The files that a result was made from, back to the clip, and how each was made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.code_digest import ROOT, code_digest
from artifacts.errors import ArtifactError
from artifacts.provenance import file_digest
from artifacts.store import read_provenance
from evaluation.report_files import files_of_all, files_of_subject


@dataclass(frozen=True)
class Source:
    """A file, and what it says of how it was made.

    Attributes:
        path: Where it is.
        digest: Of its bytes.
        provenance: None for a file that is no artifact, such as a third-party one.
    """

    path: Path
    digest: str
    provenance: Mapping[str, Any] | None

    @property
    def inputs(self) -> Mapping[str, str]:
        """Digest of each file that it was made from, by what it is."""
        return {} if self.provenance is None else self.provenance.get("inputs", {})


def sources_of(path: Path, candidates: Iterable[Path]) -> tuple[list[Source], dict[str, str]]:
    """A file and everything that it was made from, each once, the newest first.

    Args:
        path: The file.
        candidates: Files among which those that it was made from are looked for, by their digest.

    Returns:
        The files that were found; of the others digest to name.
    """
    known = {file_digest(file): file for file in candidates if file.is_file()}
    found: dict[str, Source] = {}
    lost: dict[str, str] = {}
    todo = [(file_digest(path), path)]
    while todo:
        digest, place = todo.pop(0)
        if digest in found:
            continue
        found[digest] = Source(place, digest, _provenance(place))
        for name, wanted in found[digest].inputs.items():
            if wanted in known:
                todo.append((wanted, known[wanted]))
            else:
                lost[wanted] = _called(name, found[digest])
    return list(found.values()), lost


def _provenance(path: Path) -> Mapping[str, Any] | None:
    if path.suffix != ".h5":
        return None
    try:
        return read_provenance(path)
    except ArtifactError:
        # An HDF5 file of somebody else's, such as a head model as it is published.
        return None


def _called(name: str, maker: Source) -> str:
    """What an input is, with its file's name where the step's options have it."""
    file = None if maker.provenance is None else maker.provenance["options"].get(name)
    return f"{name} ({file})" if isinstance(file, str) else name


def files_behind(
    path: Path, results: Path, subject: str, model: str, driver: str = ""
) -> Iterator[str]:
    """Lines on a file and everything that it was made from.

    Args:
        path: A file of a subject's model.
        results: Folder of the results.
        subject: Whose avatar it is.
        model: Its model.
        driver: Who else drives the render; empty for nobody.
    """
    candidates = [
        *files_of_subject(results, subject, [model]),
        *(files_of_subject(results, driver, []) if driver else []),
        *files_of_all(results, ()),
        *sorted(results.glob(f"synthetic/{subject}.*")),
        *sorted(results.glob("assets/*")),
    ]
    found, lost = sources_of(path, candidates)
    paths = {source.digest: source.path for source in found}
    usual = _libraries(found[0])
    for source in found:
        yield from _described(source, results, paths)
        if source.provenance is not None and _libraries(source) != usual:
            yield f"    with {_libraries(source)}"
    yield f"libraries, where a file does not say others: {usual}"
    for digest, name in lost.items():
        yield f"{digest}  {name}: not below {results}, or made again since"


def _described(source: Source, results: Path, paths: Mapping[str, Path]) -> Iterator[str]:
    yield f"{source.digest}  {source.path.relative_to(results).as_posix()}"
    if source.provenance is None:
        return
    made = source.provenance
    yield f"    step {made['step']}, code {made['code']}{_code_now(made)}, seed {made['seed']}"
    shown = {name: value for name, value in made["options"].items() if name not in source.inputs}
    yield f"    options {', '.join(f'{name}={value}' for name, value in shown.items())}"
    inputs = (
        f"{name} {paths[digest].relative_to(results).as_posix() if digest in paths else digest}"
        for name, digest in source.inputs.items()
    )
    yield f"    from {', '.join(inputs)}"


def _libraries(source: Source) -> str:
    versions = {} if source.provenance is None else source.provenance.get("versions", {})
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _code_now(made: Mapping[str, Any]) -> str:
    """Whether the code beside this module is still that of a file."""
    try:
        return " (as here)" if made["code"] in _codes(made["step"]) else " (other code is here now)"
    except FileNotFoundError:
        return " (there is no such step here)"


def _codes(step: str) -> set[str]:
    """Digests that files of a step may have here: steps of avatars count the model's own code too."""
    models = sorted((ROOT / "avatar_models").glob("*/model.py"))
    names = [f"avatar_models.{path.parent.name}.model" for path in models]
    own = names if step.startswith("avatar_models.") else []
    return {code_digest(step), *(code_digest(step, name) for name in own)}
