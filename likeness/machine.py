"""The doctor's look at the machine: Python, packages, programs, devices, disk, cluster."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from artifacts.errors import InputError
from likeness.findings import Finding
from media.ffmpeg import ffmpeg_program

OLDEST_PYTHON = (3, 11)
# A minute of 512² frames, and the avatars of a few models.
LITTLE_DISK_GB = 5.0
LITTLE_MEMORY_GB = 6.0
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)")


def python_version() -> Iterator[Finding]:
    """Whether Python is new enough."""
    text = sys.version.split()[0]
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        yield Finding("error", "Python", f"{text} is too old; install {oldest} or newer")
    else:
        yield Finding("ok", "Python", text)


def packages(constraints: Path) -> Iterator[Finding]:
    """Whether everything the project needs is installed, in the versions that it was tested with.

    Args:
        constraints: ``constraints.txt``: ``name==version`` lines.
    """
    if not constraints.is_file():
        text = f"there is no {constraints}; install likeness from its own folder (pip install --editable .)"
        yield Finding("error", "packages", text)
        return
    try:
        needed = metadata.requires("likeness") or []
    except metadata.PackageNotFoundError:
        yield Finding(
            "error", "packages", "likeness itself is not installed; run make install in its folder"
        )
        return
    pins = read_pins(constraints)
    requirements = [Requirement(line) for line in needed]
    wanted = [one for one in requirements if one.marker is None or one.marker.evaluate()]
    missing, other = [], []
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        # A build may carry a local part, as 2.13.0+cpu.
        if name in pins and version.split("+")[0] != pins[name]:
            other.append(f"{name} {version} instead of {pins[name]}")
    mend = f"pip install --constraint {constraints.name} --editable ."
    if missing:
        yield Finding("error", "packages", f"not installed: {', '.join(missing)}; {mend}")
    if other:
        yield Finding(
            "warning", "packages", f"other versions than tested: {', '.join(other)}; {mend}"
        )
    if not missing and not other:
        yield Finding("ok", "packages", f"{len(wanted)} in the versions of {constraints.name}")


def read_pins(constraints: Path) -> dict[str, str]:
    """Versions of ``name==version`` lines, by canonical name."""
    found = map(_PIN.match, constraints.read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(pin[1]): pin[2] for pin in found if pin}


def programs() -> Iterator[Finding]:
    """Whether ffmpeg runs."""
    try:
        program = ffmpeg_program()
        done = subprocess.run([program, "-version"], capture_output=True, text=True, check=True)
    except (InputError, OSError, subprocess.CalledProcessError) as error:
        yield Finding(
            "error",
            "ffmpeg",
            f"does not run ({error}); pip install --force-reinstall imageio-ffmpeg",
        )
        return
    yield Finding("ok", "ffmpeg", f"{done.stdout.split(' Copyright')[0]}, {program}")


def devices(wanted: str) -> Iterator[Finding]:
    """Cores, memory and GPUs.

    Args:
        wanted: ``device`` of the configuration: auto, cpu or cuda.
    """
    import torch

    from avatar_models.device import available_cores

    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    text = f"{available_cores()} cores, {memory_gb:.0f} GB"
    if memory_gb < LITTLE_MEMORY_GB:
        text += f"; trainings ask for {LITTLE_MEMORY_GB:g} GB, run one at a time (--cores 1)"
        yield Finding("warning", "processor", text)
    else:
        yield Finding("ok", "processor", text)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            text = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
            yield Finding("ok", f"GPU {index}", text)
    elif wanted == "cuda":
        text = f"device is cuda, but PyTorch {torch.__version__} sees none here"
        if shutil.which("sinfo"):
            yield Finding("warning", "GPU", f"{text}; jobs of a cluster may run where there is one")
        else:
            yield Finding("error", "GPU", f"{text}; install a PyTorch for CUDA, or device: auto")
    else:
        yield Finding("ok", "GPU", "none; everything is computed on the processor")


def disk(folder: Path) -> Iterator[Finding]:
    """Whether results can be written, and how much of them.

    Args:
        folder: Where ``results`` is or will be.
    """
    place = folder / "results" if (folder / "results").is_dir() else folder
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            pass
    except OSError as error:
        yield Finding(
            "error", "disk", f"cannot write in {place} ({error.strerror}); run in a folder of yours"
        )
        return
    free_gb = shutil.disk_usage(place).free / 1e9
    text = f"{free_gb:.1f} GB free in {place}"
    if free_gb < LITTLE_DISK_GB:
        text += "; a minute of 512 px takes 1.2 GB, free some space"
        yield Finding("warning", "disk", text)
    else:
        yield Finding("ok", "disk", text)


def cluster() -> Iterator[Finding]:
    """SLURM, where it is there."""
    if shutil.which("sinfo") is None:
        yield Finding("ok", "SLURM", "none; jobs run on this machine")
        return
    done = subprocess.run(["sinfo", "--summarize"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        yield Finding("warning", "SLURM", f"installed, but does not answer ({reason[0]})")
    elif find_spec("snakemake_executor_plugin_slurm") is None:
        mend = "pip install --constraint constraints.txt --editable '.[slurm]'"
        yield Finding("warning", "SLURM", f"there, but Snakemake cannot submit to it; {mend}")
    else:
        partitions = [line.split()[0] for line in done.stdout.splitlines()[1:]]
        yield Finding("ok", "SLURM", f"partitions {', '.join(partitions)} (docs/cluster.md)")
