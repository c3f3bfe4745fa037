"""Do `tunefleet cancel`, `resume`, `retry` and `reproduce` hit the runs that are meant, and no other?"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.launch.fakes import FakeSlurm, installed, queued
from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.status import Cause, State, Status
from tunefleet.doors import steer
from tunefleet.doors.compose import from_words
from tunefleet.launch import provenance
from tunefleet.launch.register import Run
from tunefleet.launch.standing import Observer
from tunefleet.plan import Machine, Plan, make

Capture = pytest.CaptureFixture[str]
TRAINS = """
import signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
def save(number, frame):
    (folder / "saved").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
(folder / "ready").touch()
time.sleep(60)
"""


class Started:
    """What was started instead of training: plans here, and plans for SLURM."""

    def __init__(self) -> None:
        self.here: list[str] = []
        self.jobs: list[str] = []

    def start(self, plan: Plan, machine: Machine) -> int:
        self.here.append(plan.name)
        return 0

    def submit(self, plans: list[Plan]) -> int:
        self.jobs += [plan.name for plan in plans]
        return 0


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return installed(tmp_path / "bin", monkeypatch)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started()
    monkeypatch.setattr(steer, "start", started.start)
    monkeypatch.setattr(steer, "submit", started.submit)
    return started


def run(folder: Path, name: str = "run", state: State | None = State.RUNNING, slurm: bool = False, **now: Any) -> Run:
    made = tiny_plan(folder, launch={"name": "slurm"} if slurm else {"processes": 1})
    plan = replace(made, name=name, run_dir=str(folder / "outputs" / name))
    plan.save()
    if slurm:
        queued(folder / "outputs", [plan.paths])
    if state:
        status.write(plan.paths.status, Status(state, **now))
    return Run(plan.paths)


def kept(one: Run) -> Status:
    now = status.read(one.paths.status)
    assert now
    return now


# cancel


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that saves when it is asked to end."""
    process = subprocess.Popen([sys.executable, "-IS", "-c", TRAINS, str(tmp_path)])
    deadline = time.monotonic() + 20
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait(timeout=20)


@pytest.mark.parametrize(("at_once", "code"), [(False, 130), (True, -signal.SIGKILL)], ids=["saves", "--now"])
def test_a_run_here_is_asked_to_save_or_killed(
    tmp_path: Path, fake: FakeSlurm, training: subprocess.Popen[bytes], capsys: Capture, at_once: bool, code: int
) -> None:
    one = run(tmp_path, pid=training.pid)
    steer.cancel([one], at_once)
    assert training.wait(timeout=20) == code
    assert (tmp_path / "saved").exists() is not at_once
    assert capsys.readouterr().out == ("run: is killed\n" if at_once else "run: saves, then ends\n")
    assert one.paths.cancelled.exists()
    now = Observer().status(one.paths)
    assert now
    assert (now.state, now.cause) == (State.CANCELLED, Cause.CANCELLED)


def test_other_processes_are_left_alone(
    tmp_path: Path, fake: FakeSlurm, training: subprocess.Popen[bytes], capsys: Capture
) -> None:
    """The number in the file of a run that ended may be somebody else's by now."""
    ended = run(tmp_path, "ended", State.FINISHED, pid=training.pid)
    silent = run(tmp_path, "silent", State.RUNNING, pid=training.pid, updated=time.time() - 3600)
    never = run(tmp_path, "never", None)
    elsewhere = run(tmp_path, "elsewhere", State.RUNNING, pid=training.pid, host="elsewhere")
    steer.cancel([ended, silent, never, elsewhere], now=True)
    time.sleep(0.1)
    assert training.poll() is None
    assert not (tmp_path / "saved").exists()
    assert capsys.readouterr().out.splitlines() == [
        "ended: nothing to cancel, it is finished",
        "silent: nothing to cancel, it is failed",
        "never: nothing to cancel, it never started",
        "elsewhere: runs on elsewhere: it saves and stops at its next step",
    ]
    assert [one.paths.cancelled.exists() for one in (ended, silent, never, elsewhere)] == [False, False, False, True]
    assert elsewhere.paths.stop.exists()


def test_a_process_that_ends_at_this_moment(
    tmp_path: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    process = subprocess.Popen([sys.executable, "-IS", "-c", ""])
    process.wait(timeout=20)
    monkeypatch.setattr(status, "lives", lambda pid: True)
    steer.cancel([run(tmp_path, pid=process.pid)], now=False)
    assert capsys.readouterr().out == "run: has just ended\n"


@pytest.mark.parametrize(
    ("state", "line", "at_once", "words", "left"),
    [
        (State.QUEUED, "12|PENDING|Priority|", False, ["12"], State.CANCELLED),
        (State.REQUEUED, "12|PENDING|BeginTime|", False, ["12"], State.CANCELLED),
        (State.RUNNING, "12|RUNNING|None|", False, ["--signal=TERM", "12"], State.RUNNING),
        (State.RUNNING, "12|RUNNING|None|", True, ["12"], State.RUNNING),
    ],
)
def test_a_job_leaves_the_queue_or_is_asked_to_save(
    tmp_path: Path, fake: FakeSlurm, state: State, line: str, at_once: bool, words: list[str], left: State
) -> None:
    fake.says("squeue", line)
    one = run(tmp_path, state=state, slurm=True)
    steer.cancel([one], at_once)
    (said,) = fake.calls("scancel")
    assert [word for word in said if word != "--quiet"] == words
    assert kept(one).state is left
    assert one.paths.cancelled.exists()


# resume and retry


def test_resume_takes_saved_plans_here_and_to_slurm(tmp_path: Path, fake: FakeSlurm, started: Started) -> None:
    runs = [run(tmp_path, "a", State.INTERRUPTED), run(tmp_path, "b", State.CANCELLED, slurm=True)]
    assert steer.resume(runs) == 0
    assert (started.here, started.jobs) == (["a"], ["b"])


def test_retry_takes_only_what_failed_or_was_preempted(
    tmp_path: Path, fake: FakeSlurm, started: Started, capsys: Capture
) -> None:
    runs = [run(tmp_path, state.value, state) for state in State] + [run(tmp_path, "never", None)]
    assert steer.retry(runs) == 0
    assert sorted(started.here) == ["failed", "preempted"]
    assert capsys.readouterr().out == f"2 of {len(State) + 1} runs failed: starting them again\n"


def test_retry_finds_what_nobody_has_settled_yet(tmp_path: Path, fake: FakeSlurm, started: Started) -> None:
    """A run that says it trains, and whose process is gone."""
    lost = run(tmp_path, "lost", updated=time.time() - 3600)
    cancelled = run(tmp_path, "cancelled", updated=time.time() - 3600)
    cancelled.paths.cancelled.touch()
    assert steer.retry([lost, cancelled]) == 0
    assert started.here == ["lost"]


def test_retry_of_nothing_is_done(tmp_path: Path, fake: FakeSlurm, started: Started, capsys: Capture) -> None:
    assert steer.retry([run(tmp_path, state=State.FINISHED)]) == 0
    assert (started.here, capsys.readouterr().out) == ([], "0 of 1 runs failed\n")


# reproduce


@pytest.fixture
def old(tmp_path: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A run of the demo that was started by typing this."""
    for name in ("project/src", "project/conf"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(steer, "REPOSITORY", tmp_path / "project")
    (tmp_path / "tokenizer.json").write_text("{}")
    words = (f"model.tokenizer={tmp_path}", f"output_dir={tmp_path}/outputs", "name=old", "launch.processes=1")
    plan = make(from_words(words), Machine(), words)
    plan.save()
    provenance.write(plan.paths.provenance, provenance.record(tmp_path / "project").of(plan))
    return plan


def test_a_run_is_reproduced_beside_the_old_one(old: Plan, started: Started, capsys: Capture) -> None:
    before = old.paths.plan.read_text()
    assert steer.reproduce(Run(old.paths)) == 0
    assert started.here == ["old-again-1"]
    assert capsys.readouterr().out == "nothing differs from then\n"
    assert old.paths.plan.read_text() == before


def test_what_differs_from_then_is_listed(old: Plan, started: Started, capsys: Capture) -> None:
    """A default that was changed since, as if the old plan had been made before it."""
    then = replace(old.config, optimizer=replace(old.config.optimizer, lr=123.0), seed=77)
    replace(old, config=then).save()
    (old.paths.root.parent / "old-again-1").mkdir()
    steer.reproduce(Run(old.paths))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "differs from then:"
    assert f"  optimizer.lr: 123.0 then, {old.config.optimizer.lr!r} now" in lines
    assert f"  seed: 77 then, {old.config.seed!r} now" in lines
    assert started.here == ["old-again-2"]
