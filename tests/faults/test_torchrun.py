"""Ranks that torchrun has started: killed with it or without it, do they save, never overlap, and lose no step?"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.live_runs import SETTINGS, LiveRun
from tests.stories.commands import metrics, status, train
from tunefleet.base import processes
from tunefleet.launch import run_lock

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
STEPS = 30
LOSSES = ("train.max_steps=30", "checkpoint.every=4", "checkpoint.export=false")
SLOW = "train.max_steps=100000"


class Torchruns:
    """Starts of one run in a folder, each by torchrun."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, list[LiveRun]()

    def start(self, *settings: str, options: tuple[str, ...] = ()) -> LiveRun:
        self.started.append(LiveRun(self.folder, *settings, launcher=(*TORCHRUN, *options)))
        return self.started[-1]


@pytest.fixture
def torchruns(tmp_path: Path) -> Iterator[Torchruns]:
    starts = Torchruns(tmp_path)
    yield starts
    for run in starts.started:
        run.end()


def losses(run: Path) -> dict[int, float]:
    """By step, as they were logged last."""
    return {record["step"]: record["train/loss"] for record in metrics(run) if "train/loss" in record}


def gone(pids: list[int], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(processes.is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(map(processes.is_alive, pids))


def pids_of(run: LiveRun) -> list[int]:
    return [rank.pid for rank in run.pulses()]


@pytest.mark.exhaustive
def test_a_killed_rank_ends_all_and_the_same_command_resumes(torchruns: Torchruns, tmp_path: Path) -> None:
    (quiet := tmp_path / "quiet").mkdir()
    train(quiet, *SETTINGS, *LOSSES)
    run = torchruns.start(*LOSSES)
    run.until_step(6)
    pids = pids_of(run)
    run.send(1, signal.SIGKILL)
    assert run.ended() != 0
    assert gone(pids)
    saved = status(run.path)["saved_step"]
    again = torchruns.start(*LOSSES)
    assert again.ended(300) == 0
    assert f"resuming from step {saved}" in again.output()
    assert losses(run.path) == losses(quiet / "outputs" / "run")
    assert list(losses(run.path)) == list(range(1, STEPS + 1))


@pytest.mark.exhaustive
def test_torchruns_own_restart_resumes_and_never_overlaps(torchruns: Torchruns, tmp_path: Path) -> None:
    (quiet := tmp_path / "quiet").mkdir()
    train(quiet, *SETTINGS, *LOSSES)
    run = torchruns.start(*LOSSES, options=("--max-restarts=2",))
    run.until_step(6)
    first = pids_of(run)
    run.send(1, signal.SIGKILL)
    run.until(lambda: not set(pids_of(run)) & {*first, 0} and run.pulses()[0].training)
    assert not any(map(processes.is_alive, first))
    assert run.ended(300) == 0
    assert "resuming from step 4" in run.output()
    assert losses(run.path) == losses(quiet / "outputs" / "run")
    assert status(run.path)["state"] == "finished"


@pytest.mark.exhaustive
def test_without_torchrun_its_ranks_save_and_leave(torchruns: Torchruns) -> None:
    run = torchruns.start(SLOW)
    run.until_step(3)
    pids = pids_of(run)
    run.process.kill()
    assert gone(pids)
    ended = status(run.path)
    assert ended["state"] == "interrupted"
    assert ended["saved_step"] == ended["step"] >= 3


@pytest.mark.exhaustive
def test_control_ranks_that_do_not_ask_for_it_train_on(torchruns: Torchruns) -> None:
    run = torchruns.start(SLOW, options=(str(Path(__file__).with_name("orphaned_ranks.py")),))
    run.until_step(3)
    pids = pids_of(run)
    run.process.kill()
    assert not gone(pids, seconds=15)
    assert status(run.path)["state"] == "running"


@pytest.mark.exhaustive
def test_while_an_old_rank_lives_the_next_torchrun_is_refused(torchruns: Torchruns) -> None:
    """It is stopped, so that it cannot leave."""
    run = torchruns.start(SLOW)
    run.until_step(3)
    pids = pids_of(run)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    run.process.kill()
    refused = torchruns.start(SLOW)
    assert refused.ended() != 0
    assert "run is already running (step " in refused.output()
    assert "tunefleet/doors" not in refused.output(), "a traceback of ours stands beside torchrun's own"
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert gone(pids)
    assert status(run.path)["state"] == "interrupted"


def test_each_restart_of_torchrun_is_a_start_of_its_own() -> None:
    """On one machine; on several their counts differ, and torchrun itself waits for the others."""
    ranks = {"TORCHELASTIC_RUN_ID": "none", "MASTER_PORT": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    names = {run_lock.start_of_ranks({**ranks, "TORCHELASTIC_RESTART_COUNT": count}) for count in ("0", "1")}
    assert len(names) == 2
    several = {**ranks, "LOCAL_WORLD_SIZE": "1"}
    assert len({run_lock.start_of_ranks({**several, "TORCHELASTIC_RESTART_COUNT": c}) for c in ("0", "1")}) == 1
