"""Who says what of a run whose processes are stopped for long, who settles it, and does it go on when they do?"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.faults.desk import Desk
from tests.faults.live_runs import Begin, LiveRun
from tests.faults.waiting import until
from tests.stories.commands import status, train, tunefleet
from tunefleet.base import owner_lock, processes
from tunefleet.base import status as status_file
from tunefleet.base.status import State, Status
from tunefleet.launch import run_state
from tunefleet.launch.run_state import StatusReader

LONG = 50.0  # seconds: longer than a heartbeat may be old


def looked(desk: Desk) -> Status:
    """What everybody who looks sees."""
    run_status = StatusReader().status(desk.plan.paths)
    assert run_status
    return run_status


def stop(pids: Sequence[int]) -> None:
    """Stops processes; they are."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(processes.is_stopped(pid) for pid in pids))


def let_go_on(pids: Sequence[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def without_rank_0(desk: Desk) -> tuple[subprocess.Popen[str], list[int]]:
    """A launcher that is stopped, and its ranks, the first of which wrote the state, as in training, and was killed."""
    launcher = desk.start()
    pids = desk.idle()
    status_file.write(desk.plan.paths.status, replace(looked(desk), pid=pids[0], updated=time.time()))
    stop([launcher.pid])
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: not processes.is_alive(pids[0]))
    return launcher, pids


def test_a_launcher_that_is_stopped_still_settles_its_run(desk: Desk) -> None:
    launcher, pids = without_rank_0(desk)
    (desk.root / "go").touch()
    until(lambda: not processes.is_alive(pids[1]))
    assert looked(desk).state is State.STARTING
    assert f"launcher, pid {launcher.pid} on" in (refusal := desk.refusal())
    assert "stopped now" in refusal
    let_go_on([launcher.pid])
    assert launcher.wait(timeout=120) == 1
    assert looked(desk).reason.startswith("rank 0 of 2 was killed by SIGKILL")


def test_control_who_looks_would_settle_it_without_a_reason(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    without_rank_0(desk)
    monkeypatch.setattr(owner_lock, "living_here", lambda path: [])
    assert looked(desk).reason.startswith("all its processes are gone")


def test_a_run_that_is_stopped_as_a_whole_is_stalled_and_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = desk.start()
    everybody = [launcher.pid, *desk.idle()]
    monkeypatch.setattr(run_state, "SILENCE", 3.0)
    until(lambda: looked(desk).state is State.STARTING)
    stop(everybody)
    until(lambda: looked(desk).state is State.STALLED)
    assert f"launcher, pid {launcher.pid} on" in (reason := looked(desk).reason)
    assert reason.startswith("no sign of life for ")
    assert reason.count("stopped now") == 3
    assert "stopped now" in desk.refusal()
    let_go_on(everybody)
    until(lambda: looked(desk).state is State.STARTING)
    (desk.root / "go").touch()
    assert launcher.wait(timeout=120) == 0


def everybody_of(run: LiveRun) -> list[int]:
    return [run.process.pid, *(rank.pid for rank in run.pulses())]


@pytest.mark.exhaustive
def test_a_run_that_was_stopped_for_long_trains_on_and_blames_no_rank(begin: Begin) -> None:
    run = begin("launch.step_limit=6")
    run.until_step(3)
    stopped = everybody_of(run)
    stop(stopped)
    time.sleep(LONG)
    assert "stopped now" in tunefleet(run.folder, "status", "run")
    assert "is already running" in train(run.folder, *typed(run), code=2)
    step = run.pulses()[0].step
    let_go_on(stopped)
    run.until_step(step + 20)
    assert "stalled" not in dict(run.states)
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 130
    assert status(run.path)["saved_step"] == status(run.path)["step"]


@pytest.mark.exhaustive
def test_a_rank_that_goes_on_before_the_limit_ends_the_stall(begin: Begin) -> None:
    run = begin("launch.step_limit=90")
    run.until_step(3)
    victim = run.pulses()[1].pid
    stop([victim])
    stopped = time.monotonic()
    run.until(lambda: time.monotonic() - stopped > LONG)
    assert run.states[-1][0] == "stalled"
    assert "is stopped" in run.states[-1][1]
    assert "is already running" in train(run.folder, *typed(run), code=2)
    step = run.pulses()[0].step
    let_go_on([victim])
    run.until_step(step + 20)
    run.until(lambda: status(run.path)["state"] == "running")
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 130


@pytest.mark.exhaustive
def test_a_hang_beside_a_stopped_launcher_is_settled_when_that_goes_on(begin: Begin) -> None:
    run = begin("launch.step_limit=6")
    run.until_step(3)
    ranks = [rank.pid for rank in run.pulses()]
    stop([run.process.pid, ranks[1]])
    until(lambda: not any(processes.is_alive(rank) for rank in ranks))
    assert not {"failed", "killed"} & set(tunefleet(run.folder, "status", "run").split())
    assert "is already running" in train(run.folder, *typed(run), code=2)
    let_go_on([run.process.pid])
    assert run.ended() == 4, run.output()
    assert f"rank 1 (process {ranks[1]} on " in status(run.path)["reason"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", [(), ("--now",)])
def test_a_stopped_run_can_be_cancelled(begin: Begin, how: tuple[str, ...]) -> None:
    run = begin("checkpoint.export=false", "evaluation.max_rows=4")
    run.until_step(3)
    stop(everybody_of(run))
    tunefleet(run.folder, "cancel", "run", *how)
    assert run.ended() in ((1,) if how else (130,)), run.output()
    assert status(run.path)["state"] == "cancelled"
    assert run.is_over()


def typed(run: LiveRun) -> list[str]:
    """As it was typed."""
    return [word for word in run.process.args[2:] if isinstance(word, str) and "=" in word]
