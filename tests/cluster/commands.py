"""How does a person at a cluster type: `python train.py ... launch=slurm`, and `tunefleet`?"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.rank import Trouble
from tests.cluster.slurm import Cluster
from tests.stories import commands
from tests.stories.commands import ROOT, environment

_SECONDS = 40  # for a job to get somewhere on a busy machine
_JOB = ["launch=slurm", "launch.gpus_per_node=0", "launch.time=10m", "tracking=files"]


@dataclass
class Desk:
    """A folder on the shared disk, and a shell in it; `more` is what is set in that shell beside the usual."""

    folder: Path
    cluster: Cluster
    more: dict[str, str] = field(default_factory=dict)
    code: Path = ROOT

    @property
    def environment(self) -> Mapping[str, str]:
        """What programs find in this shell."""
        return {**environment(self.folder, self.cluster.environment), **self.more}

    @property
    def run(self) -> Path:
        """The directory of the only run."""
        return commands.run_folder(self.folder)

    @property
    def runs(self) -> list[Path]:
        """The directories of all runs."""
        return sorted(plan.parent for plan in self.folder.glob("outputs/*/plan.json"))

    @property
    def job(self) -> str:
        """The number of the job in which the only run was submitted last."""
        return self.job_of(self.run)

    def job_of(self, run: Path) -> str:
        """The number of the job, or of the array, in which a run was submitted last."""
        place = json.loads((run / "submission.json").read_text())
        return str(json.loads((Path(place["folder"]) / "job.json").read_text())["job"])

    def python(self, trouble: Trouble | None = None) -> str:
        """A Python whose ranks only look as if they trained, and get into `trouble`."""
        script = self.folder / "python"
        lines = [
            "#!/bin/sh",
            f"export TROUBLE={shlex.quote(json.dumps(asdict(trouble or Trouble())))}",
            f'export PYTHONPATH="$PYTHONPATH:{ROOT}"',
            f'[ "$*" != "-P -m tunefleet.launch.task" ] || exec {sys.executable} -m tests.cluster.rank',
            f'exec {sys.executable} "$@"',
        ]
        script.write_text("\n".join(lines) + "\n")
        script.chmod(0o755)
        return str(script)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces some code of this person's copy."""
        path = self.code / "src" / "tunefleet" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def train(self, *words: str, code: int = 0) -> str:
        """`python train.py WORDS launch=slurm`, to its end; what it printed."""
        return self._run(self.typed(*words), code)

    def typed(self, *words: str) -> list[str]:
        """`python train.py WORDS launch=slurm`."""
        return [sys.executable, str(self.code / "train.py"), *words, *_JOB]

    def pretend(self, *words: str, trouble: Trouble | None = None, code: int = 0) -> str:
        """The same for a run that only looks as if it trained."""
        return self.train(f"launch.python={self.python(trouble)}", *words, code=code)

    def tunefleet(self, *words: str, code: int = 0) -> str:
        """`tunefleet WORDS`, to its end; what it printed."""
        return self._run([str(Path(sys.executable).with_name("tunefleet")), *words], code)

    def status(self) -> dict[str, Any]:
        """The run's own status.json."""
        return commands.status(self.run)

    def card(self) -> dict[str, str]:
        """What `tunefleet status` shows of the only run: {"state": "queued", ...}."""
        shown = self.tunefleet("status", self.run.name).splitlines()
        return {name.strip(): value for name, value in (re.split("  +", line, maxsplit=1) for line in shown if line)}

    def until(self, *states: str, seconds: float = _SECONDS) -> dict[str, Any]:
        """status.json, once the run itself says one of `states`."""
        wait_until(lambda: self.status()["state"] in states, lambda: self.told(), seconds)
        return self.status()

    def until_step(self, step: int, seconds: float = _SECONDS) -> None:
        """Returns once the run has done so many steps."""
        wait_until(lambda: self.status()["step"] >= step, lambda: self.told(), seconds)

    def told(self) -> str:
        """All that there is to read when a test fails."""
        names = ("outputs/*/status.json", "outputs/*/attempts.jsonl", "outputs/*/logs/*", "outputs/*/*/slurm/*.out")
        files = [path for name in names for path in self.folder.glob(name)]
        jobs = self.cluster.run("scontrol", "show", "job")
        return "\n".join([*(f"== {path.name}\n{path.read_text()[-3000:]}" for path in files), jobs])

    def rank(self, number: int) -> int:
        """The process of one rank of the run, on whatever machine it is: all are this one."""
        wanted = {f"RANK={number}".encode(), f"TUNEFLEET_RUN={self.run}".encode()}
        found = [pid for pid in self.cluster.pids() if wanted <= set(_environment(pid))]
        return found[-1]

    def queue(self) -> list[str]:
        """The numbers of all jobs that wait or run."""
        return self.cluster.run("squeue", "--noheader", "--array", "--format=%i").split()

    def _run(self, words: list[str], code: int) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
        )
        printed = done.stdout.decode()
        assert done.returncode == code, printed[-4000:]
        return printed


def wait_until(true: Callable[[], object], told: Callable[[], str], seconds: float = _SECONDS) -> None:
    """Returns once it is true; fails with what is told where it does not become so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


def _environment(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):  # it has just ended
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []
