"""Is what users ask of a sweep checked at once, written down, and done by whoever advances the sweep?"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

import pytest

from tests.doors.opened_sweeps import opened
from tests.sweep.test_lock import holder
from tunefleet.base import status
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status
from tunefleet.base.sweeps import SweepPaths
from tunefleet.doors import cli, sweep_acts
from tunefleet.doors.sweep_local import LocalTrials
from tunefleet.doors.trial_planner import TrialPlanner
from tunefleet.sweep import inbox
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.study import Study, TrialState, fold


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepPaths:
    """A sweep on this machine whose first trial failed and whose second was pruned; nobody advances it."""
    monkeypatch.chdir(tmp_path)
    paths = opened(tmp_path, ["1e-3", "2e-3"])
    journal = Journal.read(paths.journal)
    journal.append("failed", trial=1, reason="the loss became nan")
    journal.append("pruned", trial=2, reason="place 2 of 2")
    return paths


def study(paths: SweepPaths) -> Study:
    return fold(Journal.read(paths.journal).events)


def states(paths: SweepPaths) -> list[TrialState]:
    return [trial.state for trial in study(paths).trials.values()]


def test_acts_are_events_at_once_where_nobody_else_advances_the_sweep(
    paths: SweepPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_acts.retry(paths, [])
    sweep_acts.resume(paths, 2)
    assert states(paths) == [TrialState.DRAWN, TrialState.DRAWN]
    sweep_acts.pin(paths, ["optimizer.lr=5e-3"])
    sweep_acts.clone(paths, 1, ["optimizer.weight_decay=0.2"], warm=False)
    assert [(pin.source, dict(pin.values)) for pin in study(paths).pinned] == [
        ("pin", {"optimizer.lr": "5e-3"}),
        ("clone of 1", {"optimizer.lr": "1e-3", "optimizer.weight_decay": "0.2"}),
    ]
    sweep_acts.extend(paths, {"trials": 5}, ["optimizer.lr=1e-3,2e-3,3e-3,4e-3"])
    assert study(paths).limits == {"trials": 5, "space": {"optimizer.lr": "1e-3,2e-3,3e-3,4e-3"}}
    sweep_acts.stop(paths, 1)
    assert states(paths) == [TrialState.STOPPED, TrialState.DRAWN]
    sweep_acts.stop(paths, None)
    assert study(paths).closed == "stopped by a user"
    assert inbox.acts(paths.inbox) == []
    assert "tunefleet sweep watch mine starts them" in capsys.readouterr().out


def test_acts_wait_for_the_process_that_advances_the_sweep(
    paths: SweepPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    process = holder(paths.lock)
    try:
        sweep_acts.retry(paths, [1])
        with pytest.raises(RunError, match=rf"mine is being advanced by pid {process.pid} on "):
            sweep_acts.advance(paths)
    finally:
        process.kill()
        process.wait()
    assert f"written down. mine is being advanced by pid {process.pid}" in capsys.readouterr().out
    assert states(paths)[0] is TrialState.FAILED
    sweep_acts.advance(paths)
    assert states(paths)[0] is TrialState.DRAWN


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("status mein", "mein: no sweep of that name in outputs/sweeps. Did you mean 'mine'?"),
        ("stop mine 7", "trial 7: no such trial; there are 1 to 2."),
        ("stop mine 1", "trial 1 is failed already."),
        ("retry mine 2", "trial 2 is pruned: only a failed or stopped one is retried."),
        ("clone mine 1 optimizer.lrr=1", "optimizer.lrr: unknown key. Did you mean 'optimizer.lr'?"),
        ("clone mine 1", "clone: the same settings would be the same run."),
        ("clone mine 1 --warm", "train.start_from: "),
        ("pin mine lr", "lr: a setting is key=value, such as optimizer.lr=1e-5."),
        ("extend mine", "extend: nothing to change."),
        ("extend mine --trials 0", "--trials: 0 is not above 0."),
        ("extend mine optimizer.weight_decay=0,1", "not searched by mine, which searches optimizer.lr."),
        ("extend mine optimizer.lr=interval(0,1)", "an interval has no end of values for sweep.sampler.name=grid"),
    ],
)
def test_a_mistake_is_one_line_and_no_act(
    paths: SweepPaths, capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", *command.split()])
    printed = capsys.readouterr().err
    assert (ended.value.code, printed.count("\n")) == (2, 1)
    assert message in printed
    assert inbox.acts(paths.inbox) == []


def test_status_tells_the_states_apart_and_what_the_next_round_does(
    paths: SweepPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    before = paths.journal.read_bytes()
    with pytest.raises(SystemExit):
        cli.main(["sweep", "status", "mi"])
    printed = capsys.readouterr().out
    assert "1 pruned, 1 failed" in printed
    assert "trial 1 [optimizer.lr=1e-3] failed: the loss became nan" in printed
    assert "advanced by  nobody now" in printed
    assert "next round:\n  trial 3 [optimizer.lr=3e-3]: started" in printed
    assert paths.journal.read_bytes() == before
    with pytest.raises(SystemExit):
        cli.main(["sweep", "list"])
    assert "mine   search  2" in capsys.readouterr().out


def test_a_stopped_search_is_what_cancel_makes_of_it(paths: SweepPaths) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["cancel", "mine"])
    assert ended.value.code == 0
    assert study(paths).closed == "stopped by a user"


@pytest.mark.parametrize("command", ["resume", "retry"])
def test_runs_of_a_search_are_started_by_its_rounds_alone(
    paths: SweepPaths, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "mine"])
    assert "mine: is a search, which starts its runs itself: `tunefleet sweep watch mine`" in capsys.readouterr().err


def test_a_run_whose_launcher_is_there_is_not_dead_however_old_its_heartbeat(paths: SweepPaths) -> None:
    definition = Definition.read(paths.definition)
    trials = LocalTrials(paths, definition, TrialPlanner(definition))
    run = RunPaths(paths.root.parent.parent / "run")
    old = Status(State.RUNNING, step=3, pid=os.getpid(), host=socket.gethostname(), updated=1.0)
    run.root.mkdir(parents=True)
    status.write(run.status, old)
    with open(run.lock, "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert trials.status(str(run.root)) == old
    trials.refresh()
    ended = trials.status(str(run.root))
    assert ended
    assert ended.state is State.FAILED  # control: nobody holds it


def test_an_edited_configuration_stops_every_round(paths: SweepPaths) -> None:
    text = paths.definition.read_text()
    paths.definition.write_text(text.replace('"max_steps": 9', '"max_steps": 10'))
    with pytest.raises(RunError, match=r"has changed since the sweep began: train\.max_steps was 10"):
        sweep_acts.advance(paths)
    with pytest.raises((RunError, ConfigError), match="has changed"):
        sweep_acts.pin(paths, ["optimizer.lr=1"])
