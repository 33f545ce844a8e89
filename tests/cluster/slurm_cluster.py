"""A SLURM cluster of one node on loopback, for tests: Debian's packages, started and stopped by the test itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
DAEMONS = ("munged", "slurmctld", "slurmd")
# Where SLURM's programs look.
SETTINGS = (Path("/etc/slurm/slurm.conf"), Path("/etc/slurm/gres.conf"))
# Long enough for a busy machine.
PATIENCE_S = 60.0

# No cgroups and no accounting: what a container allows. Memory is watched by sampling instead, every second.
SLURM_CONF = """\
ClusterName=likeness
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
ReturnToService=2
MinJobAge=3600
KillWait=5
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:1
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# A GPU to be asked for; nothing is ever computed on it.
GRES_CONF = "AutoDetect=off\nNodeName={host} Name=gpu File=/dev/null\n"


class NoClusterHereError(RuntimeError):
    """The machine does not allow a cluster to be installed; says why in one sentence."""


@dataclass
class SlurmCluster:
    """The daemons of a cluster of one node.

    Attributes:
        folder: For its settings, state and logs; its path must be short (a socket lies in it).
    """

    folder: Path
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _linked: list[Path] = field(default_factory=list)

    def start(self) -> None:
        """Install what is missing, start the daemons, and wait until the node is idle.

        Raises:
            NoClusterHereError: the packages are not there and cannot be installed, or the machine belongs to a cluster.
            RuntimeError: a daemon does not start; names its log.
        """
        install_packages()
        if SETTINGS[0].exists():
            raise NoClusterHereError(f"there is a {SETTINGS[0]}: this machine belongs to a cluster")
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._write_settings()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        munge = [
            *("munged", "--foreground", "--force"),
            f"--key-file={key}",
            *(f"--{name}-file={self.folder}/munge.{name}" for name in ("pid", "log", "seed")),
            f"--socket={self.folder}/munge.socket",
        ]
        self._launch(munge)
        self._await((self.folder / "munge.socket").exists, "munge.log")
        # Jobs get none of the variables of SLURM that name another place.
        for path in SETTINGS:
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(self.folder / path.name)
            self._linked.append(path)
        self._launch(["slurmctld", "-D"])
        self._await(lambda: "UP" in self.ask("scontrol", "ping", check=False), "slurmctld.log")
        self._launch(["slurmd", "-D"])
        self._await(
            lambda: self.ask("sinfo", "-h", "-o", "%T", check=False) == "idle", "slurmd.log"
        )

    def stop(self) -> None:
        """Cancel all jobs and end the daemons, the last one first."""
        if len(self._running) > 1:
            self.ask("scancel", "--user", "root", check=False)
            deadline = time.monotonic() + PATIENCE_S
            while self.ask("squeue", "-h", check=False) and time.monotonic() < deadline:
                time.sleep(0.5)
        while self._running:
            daemon = self._running.pop()
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        while self._linked:
            self._linked.pop().unlink()

    def ask(self, *command: str, check: bool = True) -> str:
        """Output of one of SLURM's commands, without surrounding blanks."""
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=check,
        )
        return done.stdout.strip()

    def jobs(self) -> dict[str, dict[str, str]]:
        """What the controller remembers of all jobs, by id: ``JobState``, ``Comment``, ``Restarts`` and so on."""
        text = self.ask("scontrol", "show", "job", "--oneliner", check=False)
        found = [dict(part.split("=", 1) for part in words(line)) for line in text.splitlines()]
        return {job["JobId"]: job for job in found if "JobId" in job}

    def _write_settings(self) -> None:
        memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        values = {
            "host": socket.gethostname().split(".")[0],
            "folder": self.folder,
            "cpus": os.cpu_count() or 1,
            "memory_mb": memory_mb * 9 // 10,
            "ctld_port": free_port(),
            "node_port": free_port(),
        }
        (self.folder / "slurm.conf").write_text(SLURM_CONF.format(**values))
        (self.folder / "gres.conf").write_text(GRES_CONF.format(**values))

    def _launch(self, command: list[str]) -> None:
        with (self.folder / f"{command[0]}.out").open("wb") as out:
            daemon = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(daemon)

    def _await(self, ready: Callable[[], bool], log: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            if self._running[-1].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._running[-1].args}: did not start; {self._tail(log)}")
            time.sleep(0.2)

    def _tail(self, log: str) -> str:
        command = self._running[-1].args
        assert isinstance(command, list)
        logs = (self.folder / log, self.folder / f"{command[0]}.out")
        return "\n".join(path.read_text()[-2000:] for path in logs if path.exists())


def install_packages() -> None:
    """Install SLURM and munge from the distribution, unless they are there.

    Raises:
        NoClusterHereError: that cannot be done here.
    """
    if os.geteuid() != 0:
        raise NoClusterHereError("only root can start the daemons of a SLURM cluster")
    if all(map(shutil.which, DAEMONS)):
        return
    if shutil.which("apt-get") is None:
        raise NoClusterHereError(
            f"{', '.join(PACKAGES)} are not installed, and there is no apt-get"
        )
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            ["apt-get", "--quiet", *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if not all(map(shutil.which, DAEMONS)):
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise NoClusterHereError(f"apt-get could not install {', '.join(PACKAGES)}: {last[0]}")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def words(line: str) -> list[str]:
    """``name=value`` parts of a line of ``scontrol``; values with blanks are cut at the first."""
    return [word for word in line.split(" ") if "=" in word]
