"""How does a test get a real SLURM?"""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import keeper

_PROGRAMS = {"sbatch": "slurm-wlm", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "munged": "munge"}
_ACCOUNTING_PROGRAMS = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server"}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_SECONDS = 60  # for a daemon to answer on a busy machine

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
FirstJobId={first_job}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/%n
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=1
KillWait=10
InactiveLimit=0
MinJobAge=300
OverTimeLimit=0
JobRequeue=1
SlurmdTimeout=10
MessageTimeout=30
BatchStartTimeout=60
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
EnforcePartLimits=ALL
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=DEFAULT Nodes=ALL State=UP MaxTime=60 DefaultTime=10
PartitionName=main Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=urgent PriorityTier=10 PreemptMode=OFF
PartitionName=short PriorityTier=1 PreemptMode=OFF MaxTime=1 DefaultTime=1
"""
_NODE = "NodeName={name} NodeHostname=localhost NodeAddr={name} Port={port} CPUs=4 RealMemory=4000 State=UNKNOWN\n"
_SLURM_ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[1]}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations,limits,qos
MaxArraySize=4
"""
_SLURMDBD = """
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[1]}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
"""


class SlurmError(Exception):
    """A SLURM command failed, a job did not get where a test waits for it, or a daemon does not answer."""


def missing(accounting: bool = False) -> str | None:
    """Why no SLURM can be started here, or None."""
    programs = _PROGRAMS | (_ACCOUNTING_PROGRAMS if accounting else {})
    absent = sorted({package for program, package in programs.items() if not shutil.which(program, path=_PATH)})
    if absent:
        return f"a real SLURM needs the Debian packages {' '.join(absent)}"
    return "a real SLURM needs root" if os.geteuid() else None


@dataclass(eq=False)
class Cluster:
    """A private SLURM: its own daemons, ports, keys and files, all below one folder."""

    folder: Path
    nodes: list[str]
    environment: dict[str, str] = field(repr=False)  # what a person's shell has there
    _keepers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, repr=False)

    def run(self, *words: str, seconds: float = 60) -> str:
        """What a command such as `squeue` prints."""
        done = subprocess.run(words, env=self.environment, cwd=self.folder, timeout=seconds, capture_output=True)
        if done.returncode:
            raise SlurmError(f"{' '.join(words)}: {done.stderr.decode()}")
        return done.stdout.decode()

    def submit(self, *words: str) -> str:
        """The number of the job that `sbatch` makes of these words."""
        return self.run("sbatch", "--parsable", *words).strip()

    def job(self, job_id: str) -> dict[str, str]:
        """What SLURM knows of a job, up to five minutes after its end."""
        words = self.run("scontrol", "show", "job", "-o", job_id).split()
        return {key: value for key, mark, value in (word.partition("=") for word in words) if mark}

    def wait(self, job_id: str, states: str, seconds: float = _SECONDS) -> dict[str, str]:
        """The job, once its state is one of `states`: `wait("7", "RUNNING COMPLETED")`."""
        self._until(lambda: self.job(job_id)["JobState"] in states.split(), f"job {job_id} to be {states}", seconds)
        return self.job(job_id)

    def release(self, job_id: str) -> None:
        """Let a requeued job start now, once it has ended: SLURM holds it back for two minutes."""
        self.wait(job_id, "PENDING")
        time.sleep(2)  # a start in the second in which its credential was revoked would fail
        self.run("scontrol", "update", f"jobid={job_id}", "starttime=now")

    def limit(self, job_id: str, seconds: int) -> None:
        """Let a running job's time be over so soon. SLURM looks every 30 s, and gives `--signal` 30 s ahead of it."""
        end = datetime.datetime.now() + datetime.timedelta(seconds=seconds)
        self.run("scontrol", "update", f"jobid={job_id}", f"endtime={end:%Y-%m-%dT%H:%M:%S}")

    def down(self, node: str) -> None:
        """Declare a node failed: its jobs end, and are requeued if they may."""
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def up(self, node: str) -> None:
        """A node back in service, its daemon too."""
        if f"slurmd-{node}" not in self._keepers:
            self._daemon(f"slurmd-{node}", "slurmd", "-D", "-N", node)
        with contextlib.suppress(SlurmError):  # it is up already
            self.run("scontrol", "update", f"nodename={node}", "state=resume")
        self._until(lambda: self._state(node) in ("idle", "mixed", "allocated"), f"node {node} to be up")

    def clear(self) -> None:
        """No job, and every node in service: what the next test may count on."""
        self._until(self._cancelled, "jobs to end")
        for node in self.nodes:
            if self._state(node) != "idle":
                self.up(node)

    def crash(self, node: str) -> None:
        """End a node as a power cut does, with all that runs on it; SLURM finds out by itself, in half a minute."""
        self._end(f"slurmd-{node}")

    def log(self) -> str:
        """What the daemons said last."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"== {file.name}\n{file.read_text(errors='replace')[-4000:]}" for file in files)

    def pids(self) -> list[int]:
        """All processes of this SLURM and of its jobs."""
        keepers = [process.pid for process in self._keepers.values()]
        return sorted({*keepers, *(below for pid in keepers for below in keeper.descendants(pid))})

    def stop(self) -> None:
        """End every daemon and every job, at once."""
        for process in self._keepers.values():
            _close(process)
        for name in list(self._keepers):
            self._end(name)

    def _start(self, accounting: bool) -> None:
        self._munge()
        if accounting:
            self._accounting()
        self._daemon("slurmctld", "slurmctld", "-D")
        for node in self.nodes:
            self._daemon(f"slurmd-{node}", "slurmd", "-D", "-N", node)
        self._until(lambda: all(self._state(node) == "idle" for node in self.nodes), "idle nodes")

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        files = {"key-file": key, **{f"{kind}-file": self.folder / f"munge.{kind}" for kind in ("pid", "log", "seed")}}
        options = [f"--{name}={file}" for name, file in files.items()]
        self._daemon("munged", "munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *options)
        self._until((self.folder / "munge.socket").exists, "munged")

    def _accounting(self) -> None:
        data, unix = self.folder / "mariadb", self.folder / "mariadb.socket"
        self.run("mariadb-install-db", "--no-defaults", "--user=root", "--skip-test-db", f"--datadir={data}")
        options = ["--no-defaults", "--user=root", "--skip-networking", f"--datadir={data}", f"--socket={unix}"]
        self._daemon("mariadbd", "mariadbd", *options)
        self._until(unix.exists, "mariadbd")
        self._daemon("slurmdbd", "env", f"MYSQL_UNIX_PORT={unix}", "slurmdbd", "-D")
        self._until(lambda: self._works("sacctmgr", "-i", "add", "cluster", "test"), "slurmdbd")

    def _state(self, node: str) -> str:
        with contextlib.suppress(SlurmError):  # slurmctld does not answer yet
            return self.run("sinfo", "--noheader", "--partition=main", f"--nodes={node}", "--format=%T").strip()
        return "unknown"

    def _cancelled(self) -> bool:
        self.run("scancel", "--user=root")  # again and again: a job may be sending itself back into the queue
        return not self.run("squeue", "--noheader")

    def _works(self, *words: str) -> bool:
        with contextlib.suppress(SlurmError):
            self.run(*words)
            return True
        return False

    def _until(self, ready: Callable[[], bool], what: str, seconds: float = _SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            ended = [name for name, process in self._keepers.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                why = f"{' '.join(ended)} ended" if ended else f"{seconds:g} s are over"
                raise SlurmError(f"waiting for {what}, but {why}\n{self.log()}")
            time.sleep(0.1)

    def _daemon(self, name: str, *command: str) -> None:
        words = [sys.executable, "-I", "-S", keeper.__file__, *command]
        with open(self.folder / f"{name}.log", "ab") as log:
            self._keepers[name] = subprocess.Popen(
                words,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop us
            )

    def _end(self, name: str) -> None:
        process = self._keepers.pop(name)
        _close(process)
        process.wait(timeout=_SECONDS)


@contextlib.contextmanager
def start(folder: Path, accounting: bool = False, nodes: int = 2) -> Iterator[Cluster]:
    """A SLURM of so many nodes in an empty folder with a short name, until the block ends."""
    names = [f"127.0.0.{number}" for number in range(1, nodes + 1)]  # names that every machine resolves
    _configure(folder, names, accounting)
    cluster = Cluster(folder, names, _environment(folder))
    try:
        cluster._start(accounting)
        yield cluster
    finally:
        cluster.stop()


def _configure(folder: Path, nodes: list[str], accounting: bool) -> None:
    ports = _free_ports(2 + len(nodes))
    words = {
        "host": socket.gethostname().partition(".")[0],
        "ports": ports,
        "folder": folder,
        "first_job": random.SystemRandom().randrange(1000, 12_000),  # ports made of two clusters' job numbers differ
    }
    lines = [_NODE.format(name=name, port=port) for name, port in zip(nodes, ports[2:], strict=True)]
    text = "".join(lines) + SLURM_CONF + (_SLURM_ACCOUNTING if accounting else "")
    (folder / "slurm.conf").write_text(text.format(**words))
    (folder / "slurmdbd.conf").touch(mode=0o600)  # or slurmdbd refuses it
    (folder / "slurmdbd.conf").write_text(_SLURMDBD.format(**words))


def _environment(folder: Path) -> dict[str, str]:
    foreign = ("SLURM", "SBATCH", "SRUN", "SALLOC", "SQUEUE", "SINFO", "SACCT", "SCANCEL")
    mine = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return {**mine, "PATH": _PATH, "SLURM_CONF": f"{folder}/slurm.conf"}


def _free_ports(count: int) -> list[int]:
    """Ports below those that the kernel gives to connections, so that nobody takes one before a daemon does."""
    candidates = iter(random.SystemRandom().sample(range(10_000, 20_000), 1000))
    return [port for port, _ in zip((port for port in candidates if _is_free(port)), range(count), strict=False)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("", port))
        return True
    return False


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
