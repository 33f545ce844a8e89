"""The list of third-party files, ``registry.yaml``, as typed and checked values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from artifacts.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WheelFile:
    """A file inside a package of the Python index."""

    wheel: str
    member: str


@dataclass(frozen=True)
class PackageFile:
    """A file of an installed package."""

    package: str
    path: str


@dataclass(frozen=True)
class Download:
    """A file at an https address."""

    url: str


@dataclass(frozen=True)
class ByHand:
    """A file that a person has to get, because a licence must be accepted."""

    page: str
    steps: str


Source = WheelFile | PackageFile | Download | ByHand
_SOURCES: tuple[type[Any], ...] = (WheelFile, PackageFile, Download, ByHand)


@dataclass(frozen=True)
class Asset:
    """One third-party file.

    Attributes:
        name: Its name here and in the cache.
        needed_by: The steps that read it.
        licence: SPDX expression, or words.
        origin: Who made it.
        source: Where it comes from.
        sha256: Digest of its bytes (64 hex digits); empty for what is fetched by hand in one of several versions,
            which the step that reads it checks.
        size_bytes: Its length; 0 where there are several versions.
        forbids: What the licence forbids, each as one says it after "no"; empty where it asks for no more than notices.
        remark: What ``forbids`` cannot say, such as which of several versions it does not hold for; may be empty.
    """

    name: str
    needed_by: tuple[str, ...]
    licence: str
    origin: str
    source: Source
    sha256: str
    size_bytes: int
    forbids: tuple[str, ...]
    remark: str = ""


@dataclass(frozen=True)
class Wheel:
    """A package that holds assets.

    Attributes:
        file_name: Full name of the wheel.
        requirement: ``name==version`` for pip.
        platform: Platform tag that pip is asked for, whatever machine this is.
        sha256: Digest of the wheel.
        size_bytes: Its length.
    """

    file_name: str
    requirement: str
    platform: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Registry:
    """All assets, by name; groups of assets that only serve together; the wheels they are in."""

    assets: dict[str, Asset]
    groups: dict[str, tuple[str, ...]]
    wheels: dict[str, Wheel]

    def asset(self, name: str) -> Asset:
        """The asset of that name.

        Raises:
            InputError: there is none.
        """
        if name not in self.assets:
            known = ", ".join([*self.assets, *self.groups])
            raise InputError(f"there is no asset {name!r} in assets/registry.yaml; it has {known}")
        return self.assets[name]

    def members(self, name: str) -> tuple[str, ...]:
        """The assets that ``name`` stands for: those of a group, or itself.

        Raises:
            InputError: there is no asset or group of that name.
        """
        return self.groups.get(name) or (self.asset(name).name,)

    def in_wheel(self, file_name: str) -> list[Asset]:
        """The assets that come out of one wheel."""
        return [
            asset
            for asset in self.assets.values()
            if isinstance(asset.source, WheelFile) and asset.source.wheel == file_name
        ]


@cache
def load_registry(path: Path | None = None) -> Registry:
    """Read and check a registry; the project's own when no ``path`` is given.

    Raises:
        InputError: an entry is incomplete or unsafe.
    """
    file = path or resources.files("assets").joinpath("registry.yaml")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    registry = Registry(
        assets={n: _asset(n, e) for n, e in content["assets"].items()},
        groups={n: tuple(names) for n, names in content.get("groups", {}).items()},
        wheels={n: Wheel(file_name=n, **e) for n, e in content.get("wheels", {}).items()},
    )
    _check(registry)
    return registry


def _asset(name: str, entry: dict[str, Any]) -> Asset:
    fields = set(entry["source"])
    kinds = [kind for kind in _SOURCES if set(kind.__dataclass_fields__) == fields]
    if not kinds:
        raise InputError(f"assets/registry.yaml: {name}: unknown kind of source {sorted(fields)}")
    source = kinds[0](**entry["source"])
    several = {"sha256": "", "size_bytes": 0} if isinstance(source, ByHand) else {}
    typed = {
        "source": source,
        "needed_by": tuple(entry["needed_by"]),
        "forbids": _forbids(name, entry),
    }
    return Asset(name=name, **{**several, **entry, **typed})


def _forbids(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    given = entry.get("forbids")
    if not isinstance(given, list):
        raise InputError(
            f"assets/registry.yaml: {name}: needs forbids, a list of what its licence forbids; [] for nothing beyond notices"
        )
    for text in (*given, *([entry["remark"]] if "remark" in entry else [])):
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"assets/registry.yaml: {name}: {text!r} in forbids or remark is no text"
            )
    return tuple(given)


def _has_versions(entry: Asset | Wheel) -> bool:
    """Whether several versions serve, so that no digest is known."""
    by_hand = isinstance(entry, Asset) and isinstance(entry.source, ByHand)
    return by_hand and not entry.sha256


def _check(registry: Registry) -> None:
    """Refuse names that could leave the cache folder, and anything that is not pinned by a digest."""
    for entry in (*registry.assets.values(), *registry.wheels.values()):
        name = entry.name if isinstance(entry, Asset) else entry.file_name
        if not _NAME.fullmatch(name):
            raise InputError(f"assets/registry.yaml: {name!r} is no plain file name")
        pinned = _SHA256.fullmatch(entry.sha256) and entry.size_bytes > 0
        if not pinned and not _has_versions(entry):
            raise InputError(f"assets/registry.yaml: {name}: needs a SHA-256 and a size")
    for asset in registry.assets.values():
        source = asset.source
        if isinstance(source, Download) and not source.url.startswith("https://"):
            raise InputError(f"assets/registry.yaml: {asset.name}: only https addresses are used")
        if isinstance(source, WheelFile) and source.wheel not in registry.wheels:
            raise InputError(f"assets/registry.yaml: {asset.name}: unknown wheel {source.wheel}")
        if isinstance(source, PackageFile) and ".." in PurePosixPath(source.path).parts:
            raise InputError(f"assets/registry.yaml: {asset.name}: leaves its package")
    for name, members in registry.groups.items():
        if unknown := set(members) - set(registry.assets):
            raise InputError(f"assets/registry.yaml: group {name}: unknown {sorted(unknown)}")
