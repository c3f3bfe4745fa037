"""Whole runs whose disk gets full, as users start them: one line, the exit code, a final state, and nothing lost?"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.small_disk import emptied, filled, small_disk
from tests.stories.commands import SMALL, metrics, run_folder, start, status, train
from tunefleet.base.errors import DISK

ARGUMENTS = [
    *SMALL,
    "parallel=zero2",
    "launch.processes=2",
    "train.sequence_length=64",
    "train.micro_batch=1",
    "evaluation.every=0",
    "evaluation.generate_rows=0",
    "checkpoint.export=false",
]
SECONDS = 300


@contextmanager
def run_on_small_disk(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run that was started, and what it writes goes to a disk of 64 MiB."""
    with small_disk(folder / "outputs", size=64 << 20):
        process = start(folder, *ARGUMENTS, f"data.cache={folder / 'cache'}", *arguments)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Waits for it, while the run goes on."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert process.poll() is None, "the run has ended"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def names(folder: Path) -> list[str]:
    """The committed checkpoints, and what else is there."""
    return sorted(path.name for path in folder.glob("*/checkpoints/*"))


def lines_about(folder: Path) -> list[str]:
    """The lines of the console that tell of an error; no traceback is among all of them."""
    printed = (folder / "output.txt").read_text()
    assert "Traceback" not in printed
    return [line for line in printed.splitlines() if line.startswith("tunefleet: ")]


def test_a_run_whose_disk_gets_full_ends_with_what_was_saved_and_goes_on_later(tmp_path: Path) -> None:
    arguments = ["checkpoint.every=10", "train.max_steps=400"]
    with run_on_small_disk(tmp_path, *arguments) as process:
        until(lambda: "latest.json" in names(tmp_path / "outputs"), process)
        filled(tmp_path / "outputs")
        assert process.wait(SECONDS) == DISK
        [line] = lines_about(tmp_path)
        assert "No space left on device (" in line
        assert " needed, " in line
        assert " free). Make room there. The checkpoint of step " in line
        saved = names(tmp_path / "outputs")
        assert [name for name in saved if name != "latest.json"] == [saved[-1]]
        ended = status(run_folder(tmp_path))
        assert (ended["state"], ended["cause"]) == ("failed", "disk")
        assert line.removeprefix("tunefleet: ") in ended["reason"]
        emptied(tmp_path / "outputs")
        (run_folder(tmp_path) / "rung.json").write_text(f'{{"step": {int(saved[-1][-8:]) + 5}}}')
        printed = train(tmp_path, *ARGUMENTS, f"data.cache={tmp_path / 'cache'}", *arguments)
        assert f"resuming from step {int(saved[-1][-8:])}" in printed
        steps = [record["step"] for record in metrics(run_folder(tmp_path)) if "train/loss" in record]
        assert steps == list(range(1, int(saved[-1][-8:]) + 6))


@pytest.mark.exhaustive
def test_a_run_that_has_saved_nothing_says_so(tmp_path: Path) -> None:
    with run_on_small_disk(tmp_path, "checkpoint.every=1000", "train.max_steps=2000") as process:
        until(lambda: any(tmp_path.glob("outputs/*/metrics.jsonl")), process)
        filled(tmp_path / "outputs")
        assert process.wait(SECONDS) == DISK
        [line] = lines_about(tmp_path)
        assert "Nothing is saved yet: the same command begins again." in line
        assert names(tmp_path / "outputs") == []
        assert status(run_folder(tmp_path))["cause"] == "disk"
