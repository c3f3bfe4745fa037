"""Does a signal to any process, at any moment, let all ranks save and leave together, with one state and one exit code?

Rows of the table of docs/runs.md: way to end, state, cause, exit code.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.live_runs import Begin, LiveRun
from tests.stories.commands import status, train
from tunefleet.checkpoint import folders

SHORT = ("evaluation.max_rows=4", "checkpoint.export=false")
CAUSES = {
    signal.SIGINT: "interrupt",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "terminated",
    signal.SIGUSR1: "time limit",
    signal.SIGUSR2: "time limit",
}
TARGETS = ("launcher", "rank 0", "rank 1", "all")


def send(run: LiveRun, number: int, target: str) -> None:
    """The signal to the launcher, to one rank or to every process."""
    if target in ("launcher", "all"):
        os.kill(run.process.pid, number)
    for rank in (0, 1):
        if target in ("all", f"rank {rank}"):
            run.send(rank, number)


def expect_saved(run: LiveRun, cause: str) -> None:
    """It has left with 130, saved the step that it had come to, and can be resumed."""
    assert run.ended() == 130, run.output()
    record = status(run.path)
    assert (record["state"], record["cause"]) == ("interrupted", cause)
    assert record["saved_step"] == record["step"] >= 2
    assert [path.name for path in folders.checkpoints(run.path / "checkpoints")][-1] == folders.name_of(record["step"])
    assert f"saved at step {record['step']}; the same command resumes" in run.output()
    assert "Traceback" not in run.output()
    assert run.is_over()


@pytest.mark.parametrize(
    ("number", "target"),
    [
        (signal.SIGUSR1, "rank 1"),
        *(
            pytest.param(number, target, marks=pytest.mark.exhaustive)
            for number in CAUSES
            for target in TARGETS
            if (number, target) != (signal.SIGUSR1, "rank 1")
        ),
    ],
)
def test_a_signal_saves_and_leaves(begin: Begin, number: signal.Signals, target: str) -> None:
    run = begin(*SHORT)
    run.until_step(2)
    send(run, number, target)
    expect_saved(run, CAUSES[number])


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("act", "settings"),
    {
        "saving": ("checkpoint.every=1",),
        "evaluating": ("evaluation.every=1", "evaluation.max_rows=100", "data.validation_rows=100"),
        "taking data": ("data.workers=1",),
        "training": (),
    }.items(),
)
def test_it_is_heard_in_every_act(begin: Begin, act: str, settings: tuple[str, ...]) -> None:
    run = begin("checkpoint.export=false", *settings)
    run.until_step(2)
    shown = {"evaluating": "hook evaluate"}.get(act, act)
    run.until(lambda: any(rank.phase == shown for rank in run.pulses()))
    send(run, signal.SIGTERM, "all")
    expect_saved(run, "terminated")


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", CAUSES)
@pytest.mark.parametrize("target", TARGETS)
def test_before_the_first_step_there_is_nothing_to_save(begin: Begin, number: signal.Signals, target: str) -> None:
    run = begin(*SHORT)
    run.until(lambda: all(rank.phase == "importing" for rank in run.pulses()))
    send(run, number, target)
    assert run.ended() == 130, run.output()
    record = status(run.path)
    assert (record["state"], record["cause"], record["saved_step"]) == ("interrupted", CAUSES[number], 0)
    assert "Traceback" not in run.output()
    assert run.is_over()


@pytest.mark.exhaustive
@pytest.mark.parametrize("target", TARGETS)
def test_the_second_leaves_at_once_and_what_was_saved_stays(begin: Begin, target: str) -> None:
    """It comes while a rank is stopped, so that none could have saved meanwhile."""
    run = begin(*SHORT, "checkpoint.every=2")
    run.until_step(4)
    committed = {path.name for path in folders.checkpoints(run.path / "checkpoints")}
    other = 1 if target == "rank 0" else 0
    if target in ("rank 0", "rank 1"):
        run.send(other, signal.SIGSTOP)
    send(run, signal.SIGTERM, target)
    time.sleep(2.0)
    began = time.monotonic()
    if run.process.poll() is None:
        send_if_there(run, signal.SIGTERM, target)
    assert run.ended() == 130, run.output()
    assert time.monotonic() - began < 40
    record = status(run.path)
    assert (record["state"], record["cause"]) == ("interrupted", "terminated")
    assert committed & {path.name for path in folders.checkpoints(run.path / "checkpoints")}
    assert run.is_over()


def send_if_there(run: LiveRun, number: int, target: str) -> None:
    try:
        send(run, number, target)
    except ProcessLookupError:
        return


@pytest.mark.exhaustive
def test_generation_after_the_last_step_is_left_at_once_and_done_by_the_same_command(begin: Begin) -> None:
    settings = ("train.max_steps=3", "evaluation.generate_rows=6", "checkpoint.export=false")
    run = begin(*settings)
    run.until(lambda: any(rank.phase in ("evaluating", "generating") for rank in run.pulses()))
    send(run, signal.SIGTERM, "rank 1")
    assert run.ended() == 130, run.output()
    assert (status(run.path)["state"], status(run.path)["saved_step"]) == ("interrupted", 3)


@pytest.mark.exhaustive
def test_a_save_that_would_take_longer_than_what_is_left_is_not_begun(tmp_path: Path, begin: Begin) -> None:
    """The last one took a minute, as far as status.json says; the control has no grace."""
    for name, settings in (("graceful", ("launch.grace=20",)), ("control", ())):
        folder = tmp_path / name
        folder.mkdir()
        run = begin(*SHORT, "checkpoint.every=1000000", folder=folder)
        run.until_step(2)
        run.process.send_signal(signal.SIGINT)
        expect_saved(run, "interrupt")
        first = status(run.path)["step"]
        path = run.path / "status.json"
        path.write_text(path.read_text().replace('"save_seconds": ', '"save_seconds": 6'))
        run = begin(*SHORT, "checkpoint.every=1000000", *settings, folder=folder)
        run.until_step(first + 3)
        run.process.send_signal(signal.SIGTERM)
        assert run.ended() == 130
        record = status(run.path)
        assert record["state"] == "interrupted"
        assert (record["saved_step"] == first) is (name == "graceful"), record
        assert ("less time is left" in run.output()) is (name == "graceful")


@pytest.mark.exhaustive
def test_nohup_is_respected(tmp_path: Path, begin: Begin) -> None:
    """A run under nohup goes on when its terminal is gone."""
    settings = ("train.max_steps=2", *SHORT, "launch.processes=1")
    run = begin(*settings, launcher=("nohup", os.sys.executable))
    run.until(lambda: (run.path / "logs" / "rank0.pulse.json").exists())
    os.kill(run.process.pid, signal.SIGHUP)
    assert run.ended() == 0, run.output()
    assert status(run.path)["state"] == "finished"
    assert "is done" in train(tmp_path, *settings_of(run))


def settings_of(run: LiveRun) -> list[str]:
    """As it was typed."""
    return [word for word in run.process.args[2:] if isinstance(word, str) and "=" in word]
