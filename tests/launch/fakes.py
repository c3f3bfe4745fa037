"""How does a test talk with SLURM where there is none? Small programs in a folder that is all of PATH."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status
from tunefleet.launch import submission
from tunefleet.launch.submission import Submission

_PROGRAMS = ("squeue", "sacct", "scontrol", "sbatch", "scancel", "srun")
_OTHERS = ("env", "bash", "cat", "sleep", "grep", "touch", "git")


class FakeSlurm:
    """SLURM's commands, which say what a test wants and write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        for second in _OTHERS:
            if found := shutil.which(second):
                (folder / second).symlink_to(found)
        for program in _PROGRAMS:
            self.says(program)

    def says(self, program: str, text: str = "", *, code: int = 0, error: str = "") -> None:
        """The program prints `text`, complains `error`, ends with `code`."""
        answer = self.folder / f"{program}.answer"
        answer.write_text(text + "\n" * bool(text))
        self.does(program, f"cat {answer}\n" + (f"echo '{error}' >&2\n" if error else "") + f"exit {code}")

    def does(self, program: str, shell: str) -> None:
        """The program runs `shell`."""
        path = self.folder / program
        calls = f"printf '%s\\037' {shlex.quote(program)} \"$@\" >>{self.folder}/calls; echo >>{self.folder}/calls"
        path.write_text(f"#!/bin/sh\n{calls}\n{shell}\n")
        path.chmod(0o755)

    def hangs(self, program: str) -> None:
        """The program does not answer for a minute."""
        self.does(program, "exec sleep 60")

    def lacks(self, *programs: str) -> None:
        """The machine has no such programs."""
        for program in programs:
            (self.folder / program).unlink()

    def calls(self, program: str) -> list[list[str]]:
        """The words of each call, none of which may hold a line break."""
        written = self.folder / "calls"
        lines = written.read_text().splitlines() if written.exists() else []
        calls = [line.split("\x1f")[:-1] for line in lines]
        return [arguments for name, *arguments in calls if name == program]


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Fake commands that are the only ones on PATH: no test of this kind reaches a real cluster."""
    fake = FakeSlurm(folder)
    monkeypatch.setenv("PATH", str(folder))
    return fake


def queued(outputs: Path, runs: Sequence[RunPaths], job: str | None = "12", **changes: object) -> Submission:
    """Runs that were submitted and wait, as their files say."""
    submitted = submission.intend(outputs, runs)
    for run in runs:
        status.write(run.status, Status(State.QUEUED))
    if job:
        submitted.accepted(job)
    if changes:
        path = Path(submitted.folder) / "submission.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return submitted
