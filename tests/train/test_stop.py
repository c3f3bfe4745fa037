"""Is the reason to stop the one that counts, whatever else arrives with it?"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

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
    assert max(Reason) is Reason.INTERRUPT


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
