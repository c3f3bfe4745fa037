"""Is a run that makes no progress said to be stalled, ended in time, and the rank to blame named with act and step?"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.live_runs import Begin, LiveRun
from tests.stories.commands import status
from tunefleet.base import processes

LIMIT = "launch.step_limit=6"


def expect_hang(run: LiveRun, reason: str) -> None:
    """Stalled first, then failed as a hang for this reason, with the stacks of both ranks."""
    assert run.ended() == 4, run.output()
    assert [state for state, _ in run.states if state in ("stalled", "failed")] == ["stalled", "failed"]
    record = status(run.path)
    assert (record["state"], record["cause"]) == ("failed", "hang")
    assert reason in record["reason"]
    assert reason in run.output()
    assert "Traceback" not in run.output()
    assert run.is_over()


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.exhaustive)])
def test_a_stopped_rank_ends_the_run_and_is_named(begin: Begin, rank: int) -> None:
    run = begin(LIMIT)
    run.until_step(3)
    victim = run.pulses()[rank]
    os.kill(victim.pid, signal.SIGSTOP)
    run.until(lambda: processes.is_stopped(victim.pid))  # the fault
    began = time.monotonic()
    expect_hang(run, f"rank {rank} (process {victim.pid} on {victim.host}) is stopped, last in ")
    assert time.monotonic() - began < 60
    stacks = [(run.path / "logs" / f"rank{number}.stacks.txt").read_text() for number in (0, 1)]
    assert "Thread 0x" in stacks[1 - rank]
    assert "State:\tT (stopped)" in stacks[rank]
    assert "Thread 0x" in stacks[rank]  # it was continued, to show where it was


@pytest.mark.exhaustive
def test_without_a_limit_nobody_notices(begin: Begin) -> None:
    """The control: torch itself would wait for 30 minutes."""
    run = begin("launch.step_limit=0")
    run.until_step(3)
    run.send(1, signal.SIGSTOP)
    stopped = time.monotonic()
    run.until(lambda: time.monotonic() - stopped > 30)
    assert "stalled" not in dict(run.states)
    run.process.send_signal(signal.SIGINT)  # the first Ctrl-C continues it
    assert run.ended() == 130
    assert status(run.path)["saved_step"] == status(run.path)["step"]


@pytest.mark.exhaustive
def test_a_blocked_worker_of_the_data_is_found_behind_the_rank_that_waits_for_it(begin: Begin) -> None:
    run = begin(LIMIT, "data.workers=1")
    run.until_step(3)
    worker = next(pid for pid in descendants(run.pulses()[1].pid) if "forkserver" in command_line(pid))
    for pid in descendants(worker):
        os.kill(pid, signal.SIGSTOP)
    expect_hang(run, "rank 1 (process ")
    assert "is in taking data of step" in status(run.path)["reason"]
    stacks = (run.path / "logs" / "rank1.stacks.txt").read_text()
    assert "loader.py" in stacks
    assert "worker of the data: is stopped" in stacks


@pytest.mark.exhaustive
def test_a_rank_that_is_stopped_half_of_the_time_is_slow_and_goes_on(begin: Begin) -> None:
    run = begin(LIMIT)
    run.until_step(3)
    for _ in range(50):
        run.send(1, signal.SIGSTOP)
        time.sleep(0.5)
        run.send(1, signal.SIGCONT)
        time.sleep(0.5)
        run.look()
    assert run.process.poll() is None
    assert any("rank 1 " in note for note in run.notes), run.notes
    assert "note: rank 1 " in run.output()
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 130
    assert status(run.path)["note"] == ""


@pytest.mark.exhaustive
@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1)])
def test_the_first_ctrl_c_saves_although_ranks_are_stopped(begin: Begin, ranks: tuple[int, ...]) -> None:
    run = begin()
    run.until_step(3)
    for rank in ranks:
        run.send(rank, signal.SIGSTOP)
    time.sleep(1)
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 130
    assert (status(run.path)["state"], status(run.path)["cause"]) == ("interrupted", "interrupt")
    assert status(run.path)["saved_step"] == status(run.path)["step"] >= 3


def descendants(pid: int) -> list[int]:
    """All that a process has started, and that these have."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(child) for child in path.read_text().split()] if path.exists() else []
    return [*children, *(pid for child in children for pid in descendants(child))]


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
