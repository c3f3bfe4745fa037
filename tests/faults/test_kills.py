"""Whatever system call of a save a process is killed at: is what counts whole, and was the truth said?"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from tests.faults.saver import Engine, store
from tests.faults.strace import expect_strace, killed_at
from tests.ranks import ROOT
from tunefleet.checkpoint import find_checkpoint
from tunefleet.contracts import RunState

Call = tuple[str, int]
"""The name of a system call, and which of this name it is, from 1."""
OLD, NEW = 10, 11  # the weights of what is there, and of what is being saved
SAMPLES = 10


@dataclass
class Saver:
    """`tests/faults/saver.py`, and the folder of the run that it is to save next."""

    process: subprocess.Popen[str]
    folder: Path
    runs: int = 0

    def run(self, step: int, call: Call | None, careless: bool = False) -> tuple[Path, str]:
        """A run with a checkpoint of step 10, during whose save of `step` the process is killed as `call` begins.

        Returns the run's folder and strace's lines; without a `call` nothing is killed.
        """
        self.runs += 1
        folder = self.folder / str(self.runs)
        store(folder).save(Engine(OLD), RunState(step=10))
        order = {"folder": str(folder), "step": step, "value": NEW, "careless": careless}
        pid = int(self._answer(json.dumps(order)))
        log = folder / "strace"
        tracer = killed_at(pid, call, log)
        os.kill(pid, signal.SIGCONT)
        assert self._answer("") == "ended\n"
        tracer.communicate()
        return folder, log.read_text()

    def _answer(self, line: str) -> str:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin
        assert stdout
        if line:
            _write(stdin, line)
        return stdout.readline()


def _write(stream: IO[str], line: str) -> None:
    stream.write(line + "\n")
    stream.flush()


@pytest.fixture(scope="module")
def saver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saver]:
    expect_strace()
    command = [sys.executable, "-m", "tests.faults.saver"]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu"}  # or DeepSpeed prints that it has looked for a GPU
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Saver(process, tmp_path_factory.mktemp("kills"))
        process.kill()


def system_calls(saver: Saver, step: int, careless: bool = False) -> dict[Call, str]:
    """The system calls of a save that nothing disturbs, in their order, and strace's lines of them."""
    folder, lines = saver.run(step, None, careless)
    assert (folder / "console").read_text() == f"saved at step {step}\n"
    counts: Counter[str] = Counter()
    calls = {}
    for line in lines.splitlines():
        if match := re.match(r"(\w+)\(", line):
            counts[match[1]] += 1
            calls[match[1], counts[match[1]]] = line
    return calls


def wrong(folder: Path, lines: str, step: int) -> str:
    """What a kill has left that it should not; empty where all is well."""
    assert "+++ killed by SIGKILL +++" in lines, "the fault did not fire"
    was_said = (folder / "console").exists()
    engine, saved = Engine(), store(folder)
    try:
        state = saved.restore(engine)
    except Exception as error:
        return f"nothing can be resumed: {error}"
    if state is None or state.step not in (10, step) or engine.value not in (OLD, NEW):
        return f"resumed from {state} with weights of {engine.value}"
    if was_said and engine.value != NEW:
        return "it was said that it was saved"
    saved.save(Engine(12), RunState(step=30))
    entries = sorted(path.name for path in (folder / "checkpoints").iterdir())
    return "" if entries == ["latest.json", "step-00000030"] else f"the next save leaves {entries}"


def failures(saver: Saver, step: int, calls: Iterable[Call], careless: bool = False) -> dict[Call, str]:
    """What is wrong after a kill at each of `calls`, where something is."""
    results = {call: wrong(*saver.run(step, call, careless), step) for call in calls}
    return {call: reason for call, reason in results.items() if reason}


STEPS = pytest.mark.parametrize("step", [20, 10], ids=["another step", "the same step"])


@STEPS
def test_a_kill_leaves_what_was_committed(saver: Saver, step: int) -> None:
    """At every rename, right after it, and at some calls of the others."""
    calls = list(system_calls(saver, step))
    renames = [number for number, call in enumerate(calls) if call[0] == "rename"]
    numbers = {*renames, *(number + 1 for number in renames), *range(0, len(calls) - 1, len(calls) // SAMPLES)}
    assert failures(saver, step, [calls[number] for number in sorted(numbers)]) == {}


@pytest.mark.exhaustive
@STEPS
def test_a_kill_at_any_call_leaves_what_was_committed(saver: Saver, step: int) -> None:
    calls = list(system_calls(saver, step))
    assert failures(saver, step, calls[:-1]) == {}  # the last ends the process


def test_control_published_in_place_and_unverified_a_kill_is_seen(saver: Saver, monkeypatch: Any) -> None:
    monkeypatch.setattr(find_checkpoint, "changes", lambda *_: [])
    calls = system_calls(saver, 20, careless=True)
    copies = [call for call, line in calls.items() if call[0] == "openat" and "step-00000020/" in line]
    assert failures(saver, 20, copies, careless=True)
