"""Is a person's second request heard, and the echo of a parent's death not taken for one?"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

import pytest

from tunefleet.launch import signals

TERM, INT = signal.SIGTERM, signal.SIGINT


def heard(sent: Sequence[int], pause: float) -> int:
    return len(numbers(sent, pause))


def numbers(sent: Sequence[int], pause: float) -> list[int]:
    caught: list[int] = []
    with signals.caught(caught.append):
        for number in sent:
            signal.raise_signal(number)
            time.sleep(pause)
    return caught


@pytest.mark.parametrize(
    ("sent", "pause", "times"),
    [
        ((TERM, TERM, TERM), 0.0, 1),
        ((TERM, TERM), 0.15, 2),
        ((INT, INT), 0.0, 2),
        ((INT, TERM), 0.0, 2),
        ((TERM,), 0.0, 1),
    ],
)
def test_sigterms_of_one_moment_are_one(sent: Sequence[int], pause: float, times: int) -> None:
    assert heard(sent, pause) == times


def test_each_is_heard_as_what_it_is() -> None:
    assert numbers((INT, TERM, INT), 0.0) == [INT, TERM, INT]


def test_control_without_it_a_dead_parent_asks_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "BURST", 0.0)
    assert heard((TERM, TERM), 0.0) == 2


def test_handlers_are_as_before() -> None:
    previous = signal.getsignal(TERM)
    heard((), 0.0)
    assert signal.getsignal(TERM) is previous


def test_who_ignores_sigint_as_a_process_in_the_background_hears_it_and_nohup_is_nohup() -> None:
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        assert numbers((INT,), 0.0) == [INT]
        assert numbers((signal.SIGHUP,), 0.0) == []
        assert signal.getsignal(INT) is signal.SIG_IGN
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_whatever_asks_a_run_to_stop_reaches_the_launcher(number: signal.Signals) -> None:
    assert numbers((number,), 0.0) == [number]
