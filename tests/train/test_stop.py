"""Is the reason to stop the one that counts, whatever else arrives with it?"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tunefleet.base import sweep_requests
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause
from tunefleet.contracts import RunState
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.train.stop import Reason, Stop


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    saved_handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)}
    yield
    for number, handler in saved_handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        ([signal.SIGINT], Cause.INTERRUPT),
        ([signal.SIGTERM], Cause.TERMINATED),
        ([signal.SIGUSR2], Cause.TIME_LIMIT),
        ([signal.SIGINT, signal.SIGTERM], Cause.INTERRUPT),  # torchrun ends its ranks after Ctrl-C
        ([signal.SIGTERM, signal.SIGINT], Cause.INTERRUPT),
        ([signal.SIGUSR2, signal.SIGTERM], Cause.TERMINATED),
    ],
)
def test_signals_are_recorded_as_what_they_are(tmp_path: Path, sent: Sequence[signal.Signals], cause: Cause) -> None:
    stop = Stop(10, RunPaths(tmp_path), SingleProcess())
    for number in sent:
        signal.raise_signal(number)
    assert stop.reason(RunState(step=3)).cause is cause


def test_ranks_with_different_signals_agree_on_ctrl_c() -> None:
    """Their codes are compared as numbers."""
    assert max(set(Reason) - {Reason.DISK}) is Reason.INTERRUPT


def test_the_file_the_end_and_nothing(tmp_path: Path) -> None:
    stop = Stop(10, RunPaths(tmp_path), SingleProcess())
    assert [stop.reason(RunState(step=step)) for step in (0, 9, 10, 11)] == [
        Reason.CONTINUE,
        Reason.CONTINUE,
        Reason.COMPLETE,
        Reason.COMPLETE,
    ]
    (tmp_path / "stop").touch()
    assert stop.reason(RunState(step=3)).cause is Cause.STOP_FILE


@pytest.mark.parametrize(
    ("rung", "stops"),
    [(2, ["CONTINUE", "RUNG", "RUNG", "COMPLETE"]), (10, ["CONTINUE", "CONTINUE", "CONTINUE", "COMPLETE"])],
)
def test_a_rung_is_where_a_run_stops_unless_it_is_complete(tmp_path: Path, rung: int, stops: Sequence[str]) -> None:
    sweep_requests.set_rung(RunPaths(tmp_path), rung)
    stop = Stop(10, RunPaths(tmp_path), SingleProcess())
    assert [stop.reason(RunState(step=step)).name for step in (1, 2, 3, 10)] == stops


def test_a_rung_that_moves_counts_from_the_next_start(tmp_path: Path) -> None:
    """Ranks would read another one each."""
    sweep_requests.set_rung(RunPaths(tmp_path), 2)
    stop = Stop(10, RunPaths(tmp_path), SingleProcess())
    sweep_requests.set_rung(RunPaths(tmp_path), 5)
    assert stop.reason(RunState(step=2)) is Reason.RUNG
    assert Stop(10, RunPaths(tmp_path), SingleProcess()).reason(RunState(step=2)) is Reason.CONTINUE


def test_what_comes_first_of_several_reasons(tmp_path: Path) -> None:
    """The last step goes before the sweep's requests, the user's and SLURM's before all."""
    run = RunPaths(tmp_path)
    sweep_requests.set_rung(run, 2)
    stop = Stop(10, run, SingleProcess())
    sweep_requests.prune(run, "why")
    assert [stop.reason(RunState(step=step)) for step in (2, 10)] == [Reason.PRUNED, Reason.COMPLETE]
    signal.raise_signal(signal.SIGUSR2)
    assert {stop.reason(RunState(step=step)) for step in (2, 10)} == {Reason.TIME_LIMIT}
    assert sorted(Reason)[1:5] == [Reason.RUNG, Reason.PRUNED, Reason.NO_BETTER, Reason.COMPLETE]  # as ranks agree
