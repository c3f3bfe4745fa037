"""A desk with a saved run of two ranks, and what is started for it: real ranks that wait (`idle_rank.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.faults.waiting import until
from tests.ranks import ROOT
from tunefleet.doors.compose import from_overrides
from tunefleet.launch.local import free_port
from tunefleet.plan import Machine, Plan, make


class Desk:
    """A saved run of two ranks, and the processes that were started for it."""

    def __init__(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}")
        overrides = ["launch.processes=2", f"model.tokenizer={folder}", f"output_dir={folder}", "name=run"]
        self.plan: Plan = make(from_overrides(overrides), Machine(gpus=0, cores=2))
        self.plan.save()
        self.root = self.plan.paths.root
        self.environment: dict[str, str] = {}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, **environment: object) -> subprocess.Popen[str]:
        """One more start, or one rank of an external launcher."""
        variables = {**os.environ, **self.environment, **{key: str(value) for key, value in environment.items()}}
        command = [sys.executable, "-m", "tests.faults.starter", str(self.root)]
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def under_torchrun(self) -> list[subprocess.Popen[str]]:
        """Two ranks, as torchrun starts them."""
        same = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        return [self.start(RANK=rank, LOCAL_RANK=rank, TORCHELASTIC_RUN_ID="none", **same) for rank in (0, 1)]

    def idle(self) -> list[int]:
        """The processes of both ranks, when they wait."""
        files = [self.root / f"idle{rank}" for rank in (0, 1)]
        until(lambda: all(file.exists() and file.read_text() for file in files))
        pids = [int(file.read_text()) for file in files]
        for file in files:
            file.unlink()
        return pids

    def refusal(self, process: subprocess.Popen[str] | None = None) -> str:
        """What a start that is refused prints: one line."""
        _, errors = (process or self.start()).communicate(timeout=120)
        assert (process or self.started[-1]).returncode == 2, errors
        assert errors.count("\n") == 1
        assert not list(self.root.glob("idle*"))
        return errors

    def goes(self, process: subprocess.Popen[str]) -> None:
        """Lets the ranks of a start end; it does."""
        self.idle()
        (self.root / "go").touch()
        assert process.wait(timeout=120) == 0
        (self.root / "go").unlink()

    def clear(self) -> None:
        """Ends what is left."""
        (self.root / "go").touch()
        for process in self.started:
            process.kill()
            process.communicate()
