"""What a project would run, as Snakemake plans it, and what one command takes, as the kernel counts it.

Snakemake's own benchmark files are not enough here: after a job's first quarter of a minute it looks at the memory only
every 30 seconds, so they miss peaks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from artifacts.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
LOOK_EVERY_S = 0.3
# Starts the command and writes down what the kernel counted. A process of its own, since Linux counts the memory of whoever
# starts a program as the program's: a small one adds next to nothing.
_LAUNCHER = """
import json, os, resource, sys, time
counts, *command = sys.argv[1:]
started = time.perf_counter()
pid = os.posix_spawnp(command[0], command, os.environ)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(counts, "w") as file:
    json.dump([status, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss], file)
"""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One job of a project."""

    name: str
    """Of its rule."""
    command: str
    """For bash, in the project's folder."""
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    log: str
    threads: int
    model: str
    """The wildcard model; "" without."""


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes:
        status: Exit status; negative where it was killed.
        seconds: Wall time.
        cpu_s: Processor time of it and its children.
        peak_mb: Largest resident memory: of its largest process, which the kernel knows exactly, or of all its processes
            together as seen every 0.3 s, whichever is more (megabyte, 10^6 bytes; shared pages count in each process).
    """

    status: int
    seconds: float
    cpu_s: float
    peak_mb: float


def snakemake(folder: Path, cores: int, *arguments: str) -> list[str]:
    """Command line of Snakemake on a project's folder."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    return [*command, "--directory", str(folder), "--cores", str(cores), *arguments]


def plan_jobs(folder: Path, cores: int, targets: Sequence[str]) -> list[Job]:
    """All jobs that lead to ``targets``, each after those that it needs, whether their results are there or not.

    Raises:
        InputError: Snakemake refuses the project.
    """
    plan = ["--dry-run", "--forceall", "--printshellcmds", "--nocolor", *targets]
    done = subprocess.run(
        snakemake(folder, cores, *plan),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise InputError(f"{folder}: the plan failed: {last_line(done.stdout)}")
    return parse_plan(done.stdout)


def parse_plan(text: str) -> list[Job]:
    """The jobs of a dry run's text."""
    jobs: list[Job] = []
    name, fields = "", dict[str, str]()
    for line in text.splitlines():
        if line.startswith(("rule ", "localrule ")):
            name, fields = line.split(maxsplit=1)[1].rstrip(":"), {}
        elif line.startswith("    "):
            key, _, value = line.strip().partition(": ")
            fields[key] = value
        elif line.startswith("Shell command: "):
            command = line.removeprefix("Shell command: ")
            jobs.append(_job(name, command, fields))
    return jobs


def _job(name: str, command: str, fields: Mapping[str, str]) -> Job:
    def names(key: str) -> tuple[str, ...]:
        return tuple(fields[key].split(", ")) if fields.get(key) else ()

    wildcards = dict(pair.split("=", 1) for pair in names("wildcards"))
    return Job(
        name=name,
        command=command,
        outputs=names("output"),
        inputs=names("input"),
        log=fields.get("log", ""),
        threads=int(fields.get("threads", 1)),
        model=wildcards.get("model", ""),
    )


def run_job(job: Job, folder: Path, limit_s: float) -> Usage:
    """Run a job's command as Snakemake would, alone, its old outputs and what lies beside them removed first."""
    for output in job.outputs:
        path = folder / output
        path.parent.mkdir(parents=True, exist_ok=True)
        # Checkpoints too: a training that goes on from one takes less.
        for stale in path.parent.glob(f"{path.stem}.*"):
            stale.unlink()
    (folder / job.log).parent.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        **dict.fromkeys(_THREADS, str(job.threads)),
    }
    return measure(
        ["bash", "-c", f"set -euo pipefail; {job.command}"], folder, limit_s, environment
    )


def measure(
    command: Sequence[str],
    folder: Path,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Usage:
    """Run a command in ``folder`` and say what it took; killed with its children after ``limit_s`` or on Ctrl-C."""
    with (
        tempfile.TemporaryDirectory() as own,
        (log or Path(os.devnull)).open("wb") as file,
    ):
        counts = Path(own) / "counts.json"
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(counts), *command],
            cwd=folder,
            env=os.environ | dict(environment or {}),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch = _Watch(process.pid, started + limit_s)
        try:
            process.wait()
        except BaseException:
            _kill(process.pid)
            process.wait()
            raise
        finally:
            watch.end()
        if not counts.exists():
            # The launcher was killed with the rest.
            passed_s = time.perf_counter() - started
            return Usage(process.returncode or -1, passed_s, float("nan"), watch.peak_mb)
        status, seconds, cpu_s, largest = json.loads(counts.read_text())
    # Linux counts kibibytes, macOS bytes.
    largest_mb = largest * (1 if sys.platform == "darwin" else 1024) / 1e6
    return Usage(status, seconds, cpu_s, max(largest_mb, watch.peak_mb))


class _Watch:
    """Look at the memory of a process's children now and then, and kill it and them when their time is up."""

    def __init__(self, pid: int, until: float) -> None:
        self.peak_mb, self._pid, self._until = 0.0, pid, until
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self.peak_mb = max(self.peak_mb, memory_mb(self._pid))
            if time.perf_counter() > self._until:
                _kill(self._pid)

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()


def memory_mb(pid: int) -> float:
    """Resident memory of all children of a process (megabyte); 0 where it has ended."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return 0.0
    total = 0
    for process in found:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # ended in between
    return total / 1e6


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def last_line(text: str) -> str:
    """The last line that says something; of a step that failed, the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
