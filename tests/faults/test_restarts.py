"""Does a real run start again by itself after a rank was killed, and end as if nothing had happened?"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.stories.commands import SMALL, metrics, run_folder, start, status, train
from tunefleet.base import processes

STEPS = 12
OVERRIDES = [
    *SMALL,
    f"train.max_steps={STEPS}",
    "train.sequence_length=64",
    "train.micro_batch=1",
    "model.dropout=0.1",
    "checkpoint.every=2",
    "checkpoint.export=false",
    "evaluation.generate_rows=0",
]


TWO_RANKS = ["parallel=zero1", "launch.processes=2"]


def killed_and_restarted(folder: Path, *arguments: str) -> int:
    """Runs; the last rank is killed after its first save. Returns that rank's process, when the run has ended."""
    process = start(folder, *OVERRIDES, *arguments, "launch.restarts=2")
    while not list((folder / "outputs").glob("*/checkpoints/latest.json")):
        assert process.poll() is None, output(folder)
        time.sleep(0.02)
    victim = max(ranks(process.pid).items())[1]
    os.kill(victim, signal.SIGKILL)
    assert process.wait(timeout=300) == 0, output(folder)
    return victim


def ranks(launcher: int) -> dict[int, int]:
    """The processes of a run's ranks, by rank."""
    pids: dict[int, int] = {}
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        with suppress(OSError):  # others come and go
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            pids |= {int(line[5:]): int(pid) for line in variables if line.startswith(b"RANK=")}
    return pids


def output(folder: Path) -> str:
    return (folder / "output.txt").read_text()


def attempts(run: Path) -> list[dict[str, Any]]:
    """How each start ended."""
    lines = [json.loads(line) for line in (run / "attempts.jsonl").read_text().splitlines()]
    return [line for line in lines if line["last"] is not None]


def test_a_run_starts_again_after_a_killed_rank(tmp_path: Path) -> None:
    """Control, without `launch.restarts`: `tests/stories/test_interruptions.py`, where the run has failed."""
    victim = killed_and_restarted(tmp_path)
    run = run_folder(tmp_path)
    assert "restart 1 of 2 in 10 s: rank 0 of 1 was killed by SIGKILL" in output(tmp_path)
    assert "resuming from step" in output(tmp_path)
    assert (status(run)["state"], status(run)["restarts"]) == ("finished", 1)
    assert [attempt["cause"] for attempt in attempts(run)] == ["killed", ""]
    assert attempts(run)[1]["last"] == STEPS
    assert [record["step"] for record in metrics(run) if "train/loss" in record] == [*range(1, STEPS + 1)]
    assert not processes.is_alive(victim)


@pytest.mark.exhaustive
def test_it_ends_with_the_weights_of_a_quiet_run(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("quiet", "killed")]
    for folder in folders:
        folder.mkdir()
    train(folders[0], *OVERRIDES, *TWO_RANKS)
    killed_and_restarted(folders[1], *TWO_RANKS)
    quiet, killed = (run_folder(folder) for folder in folders)
    assert metrics(quiet) == metrics(killed)
    newest = [json.loads((run / "checkpoints/latest.json").read_text())["checkpoint"] for run in (quiet, killed)]
    files = [
        {path.name: path.read_bytes() for path in (run / "checkpoints" / name).rglob("*model_states.pt")}
        for run, name in zip((quiet, killed), newest, strict=True)
    ]
    assert files[0] == files[1]
