"""Do `tunefleet resume`, `retry` and `reproduce` hit the runs that are meant, and no other?"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.doors.runs import planned_run
from tests.launch.fakes import FakeSlurm, installed
from tunefleet.base import sweep_requests
from tunefleet.base.status import State
from tunefleet.doors import control, grid
from tunefleet.doors.compose import from_overrides
from tunefleet.launch import provenance
from tunefleet.launch.register import Run
from tunefleet.plan import Machine, Plan, make

Capture = pytest.CaptureFixture[str]


class Started:
    """What was started instead of training: plans here, and plans for SLURM."""

    def __init__(self) -> None:
        self.here: list[str] = []
        self.jobs: list[str] = []

    def start(self, plan: Plan, machine: Machine) -> int:
        self.here.append(plan.name)
        return 0

    def submit(self, plans: list[Plan], sweep: str) -> int:
        self.jobs += [plan.name for plan in plans]
        return 0


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return installed(tmp_path / "bin", monkeypatch)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started()
    for door in (control, grid):
        monkeypatch.setattr(door, "start", started.start)
    monkeypatch.setattr(control, "submit", started.submit)
    return started


# resume and retry


def test_resume_takes_saved_plans_here_and_to_slurm(tmp_path: Path, fake: FakeSlurm, started: Started) -> None:
    runs = [planned_run(tmp_path, "a", State.INTERRUPTED), planned_run(tmp_path, "b", State.CANCELLED, slurm=True)]
    assert control.resume(runs) == 0
    assert (started.here, started.jobs) == (["a"], ["b"])


def test_retry_takes_only_what_failed_or_was_preempted(
    tmp_path: Path, fake: FakeSlurm, started: Started, capsys: Capture
) -> None:
    runs = [planned_run(tmp_path, state.value, state) for state in State] + [planned_run(tmp_path, "never", None)]
    assert control.retry(runs) == 0
    assert sorted(started.here) == ["failed", "preempted"]
    assert capsys.readouterr().out.startswith(f"2 of {len(State) + 1} runs failed: starting them again\n")


def test_a_named_sweep_means_every_point_that_is_not_finished(
    tmp_path: Path, fake: FakeSlurm, started: Started, capsys: Capture
) -> None:
    """Also those that never started; those under way go on as they do, paused and pruned ones wait for their sweep."""
    over = [state for state in State if state.final]
    runs = [planned_run(tmp_path, state.value, state) for state in (*over, State.RUNNING)] + [
        planned_run(tmp_path, "never", None)
    ]
    for repeated in (lambda: control.resume(runs), lambda: control.retry(runs, None)):
        started.here.clear()
        assert repeated() == 0
        assert sorted(started.here) == ["cancelled", "failed", "interrupted", "never", "preempted"]
        assert capsys.readouterr().out.startswith("5 of 9 runs to start, 1 finished, 1 paused, 1 pruned, 1 running\n")


def test_a_paused_run_trains_to_its_end_and_one_that_failed_to_its_rung(
    tmp_path: Path, fake: FakeSlurm, started: Started
) -> None:
    paused, failed = planned_run(tmp_path, "paused", State.PAUSED), planned_run(tmp_path, "failed", State.FAILED)
    for run in (paused, failed):
        sweep_requests.set_rung(run.paths, 2)
        assert control.resume([run]) == 0
    assert started.here == ["paused", "failed"]
    assert (sweep_requests.rung(paused.paths), sweep_requests.rung(failed.paths)) == (None, 2)


def test_a_point_without_a_plan_keeps_no_other_from_starting(
    tmp_path: Path, fake: FakeSlurm, started: Started, capsys: Capture
) -> None:
    runs = [planned_run(tmp_path, name, State.FAILED) for name in "abc"]
    runs[1].paths.plan.unlink()
    assert control.resume(runs) == 2
    assert started.here == ["a", "c"]
    assert "b: not a run: it has no plan.json" in capsys.readouterr().err


def test_retry_finds_what_nobody_has_settled_yet(tmp_path: Path, fake: FakeSlurm, started: Started) -> None:
    """A run that says it trains, and whose process is gone."""
    lost = planned_run(tmp_path, "lost", updated=time.time() - 3600)
    cancelled = planned_run(tmp_path, "cancelled", updated=time.time() - 3600)
    cancelled.paths.cancelled.touch()
    assert control.retry([lost, cancelled]) == 0
    assert started.here == ["lost"]


def test_retry_of_nothing_is_done(tmp_path: Path, fake: FakeSlurm, started: Started, capsys: Capture) -> None:
    assert control.retry([planned_run(tmp_path, state=State.FINISHED)]) == 0
    assert (started.here, capsys.readouterr().out) == ([], "0 of 1 runs failed\n")


# reproduce


@pytest.fixture
def old(tmp_path: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A run of the demo that was started by typing this."""
    for name in ("project/src", "project/conf"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(control, "REPOSITORY", tmp_path / "project")
    (tmp_path / "tokenizer.json").write_text("{}")
    arguments = (f"model.tokenizer={tmp_path}", f"output_dir={tmp_path}/outputs", "name=old", "launch.processes=1")
    plan = make(from_overrides(arguments), Machine(), arguments)
    plan.save()
    provenance.write(plan.paths.provenance, provenance.record(tmp_path / "project"))
    return plan


def test_a_run_is_reproduced_beside_the_old_one(old: Plan, started: Started, capsys: Capture) -> None:
    previous = old.paths.plan.read_text()
    assert control.reproduce(Run(old.paths)) == 0
    assert started.here == ["old-again-1"]
    assert capsys.readouterr().out == "nothing differs from then\n"
    assert old.paths.plan.read_text() == previous


def test_what_differs_from_then_is_listed(old: Plan, started: Started, capsys: Capture) -> None:
    """A default that was changed since, as if the old plan had been made before it."""
    earlier_config = replace(old.config, optimizer=replace(old.config.optimizer, lr=123.0), seed=77)
    replace(old, config=earlier_config).save()
    (old.paths.root.parent / "old-again-1").mkdir()
    control.reproduce(Run(old.paths))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "differs from then:"
    assert f"  optimizer.lr: 123.0 then, {old.config.optimizer.lr!r} now" in lines
    assert f"  seed: 77 then, {old.config.seed!r} now" in lines
    assert started.here == ["old-again-2"]
