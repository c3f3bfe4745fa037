"""Whatever system call of a delivery a process is killed at: is the old export there or the new one, whole?"""

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

import pytest

from tests.faults.deliverer import NAMES, deliver
from tests.faults.strace import expect_strace, killed_at
from tests.ranks import ROOT
from tunefleet.base import delivery

Call = tuple[str, int]
"""The name of a system call, and which of this name it is, from 1."""
SAMPLES = 12
KILLED = "+++ killed by SIGKILL +++"  # as strace says it


@dataclass
class Deliverer:
    """`tests/faults/deliverer.py`, and the folder below which it delivers next."""

    process: subprocess.Popen[str]
    folder: Path
    runs: int = 0

    def run(self, call: Call | None, careless: bool = False) -> tuple[Path, str]:
        """A folder with an old export and a file of the user's, into which a new one is delivered, by a process that is
        killed as `call` begins; strace's lines are returned too.
        """
        self.runs += 1
        folder = self.folder / str(self.runs) / "export"
        deliver(folder, "old")
        (folder / "notes").mkdir()
        (folder / "notes" / "thesis.txt").write_text("a year")
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"folder": str(folder), "careless": careless}) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        log = folder.parent / "strace"
        tracer = killed_at(pid, call, log)
        os.kill(pid, signal.SIGCONT)
        assert self.process.stdout.readline() == "ended\n"
        tracer.communicate()
        return folder, log.read_text()

    def calls(self, careless: bool = False) -> dict[Call, str]:
        """The system calls of a delivery that nothing disturbs, and strace's lines of them."""
        _, lines = self.run(None, careless)
        counts: Counter[str] = Counter()
        calls = {}
        for line in lines.splitlines():
            if match := re.match(r"(\w+)\(", line):
                counts[match[1]] += 1
                calls[match[1], counts[match[1]]] = line
        return calls


@pytest.fixture(scope="module")
def deliverer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deliverer]:
    expect_strace()
    command = [sys.executable, "-m", "tests.faults.deliverer"]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Deliverer(process, tmp_path_factory.mktemp("exports"))
        process.kill()


def wrong(folder: Path, lines: str) -> str:
    """What a kill has left that it should not; empty where all is well."""
    assert KILLED in lines, "the fault did not fire"
    record = delivery.record(folder)
    if record is None or not record["complete"]:
        return f"no export that counts: {record}"
    content = record["content"]
    texts = {path.name: path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".safetensors")}
    texts.pop(delivery.RECORD)
    if texts != dict.fromkeys(NAMES[content], content) or delivery.changes(folder):
        return f"{content}, of {texts}"
    if (folder / "notes" / "thesis.txt").read_text() != "a year":
        return "the user's file is gone"
    deliver(folder, "new")
    entries = sorted(path.name for path in (*folder.iterdir(), *folder.parent.iterdir()))
    expected = sorted([*NAMES["new"], delivery.RECORD, "notes", "export", "strace"])
    return "" if entries == expected else f"the next export leaves {entries}"


def failures(deliverer: Deliverer, calls: Iterable[Call], careless: bool = False) -> dict[Call, str]:
    """What is wrong after a kill at each of `calls`, where something is."""
    results = {call: wrong(*_killed(deliverer, call, careless)) for call in calls}
    return {call: reason for call, reason in results.items() if reason}


def _killed(deliverer: Deliverer, call: Call, careless: bool) -> tuple[Path, str]:
    """A run that was killed: on a busy machine a delivery can take a call less than the one that was counted."""
    for _ in range(3):
        folder, lines = deliverer.run(call, careless)
        if KILLED in lines:
            break
    return folder, lines


def test_a_kill_leaves_the_old_export_or_the_new_one(deliverer: Deliverer) -> None:
    """At every rename, right after it, and at some calls of the others."""
    calls = list(deliverer.calls())
    assert ("renameat2", 1) in calls
    renames = [number for number, call in enumerate(calls) if "rename" in call[0]]
    numbers = {*renames, *(number + 1 for number in renames), *range(0, len(calls) - 1, len(calls) // SAMPLES)}
    assert failures(deliverer, [calls[number] for number in sorted(numbers)]) == {}


@pytest.mark.exhaustive
def test_a_kill_at_any_call_leaves_the_old_export_or_the_new_one(deliverer: Deliverer) -> None:
    assert failures(deliverer, list(deliverer.calls())[:-1]) == {}  # the last ends the process


def test_control_moved_file_by_file_a_kill_is_seen(deliverer: Deliverer) -> None:
    renames = [call for call in deliverer.calls(careless=True) if "rename" in call[0]]
    assert failures(deliverer, renames, careless=True)


def test_every_byte_is_on_the_disk_before_the_swap(deliverer: Deliverer) -> None:
    """strace shows descriptors; they are followed from the call that opened them."""
    _, lines = deliverer.run(None)
    synced, opened = set(), {}
    for line in lines.split("renameat2(")[0].splitlines():
        if match := re.match(r'openat\(AT_FDCWD, "([^"]+)".* = (\d+)$', line):
            opened[match[2]] = match[1]
        elif match := re.match(r"fsync\((\d+)\)", line):
            synced.add(Path(opened[match[1]]).name)
    assert synced >= {*NAMES["new"], "notes", "thesis.txt"}
    assert [name for name in synced if name.startswith(".export.")]
    assert "fsync(" in lines.split("renameat2(")[1].split("unlink")[0]
