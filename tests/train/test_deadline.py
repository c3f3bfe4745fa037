"""Is a save begun only where it is done before the processes are killed, and early enough where that is known?"""

from __future__ import annotations

import math

import pytest

from tunefleet.config.launch import LaunchConfig
from tunefleet.train.deadline import Deadline
from tunefleet.train.stop_reasons import Reason


class Moment:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def deadline(moment: Moment, end: str = "", **settings: int) -> Deadline:
    """Its last save took 60 s, its last step 10 s."""
    made = Deadline(LaunchConfig(**settings), {"SLURM_JOB_END_TIME": end} if end else {}, moment)  # type: ignore[arg-type]
    made.save_seconds, made.step_seconds = 60.0, 10.0
    return made


def test_the_grace_of_the_settings_runs_from_the_signal() -> None:
    """launch.grace: a later signal does not lengthen it."""
    moment = Moment()
    limited = deadline(moment, grace=100)
    limited.signalled()
    assert limited.seconds_left(Reason.TERMINATED) == 100
    moment.now += 20
    limited.signalled()
    assert limited.seconds_left(Reason.TERMINATED) == 80
    assert limited.fits(Reason.TERMINATED)
    moment.now += 20
    assert not limited.fits(Reason.TERMINATED)


@pytest.mark.parametrize("reason", [Reason.INTERRUPT, Reason.STOP_FILE, Reason.RUNG])
def test_who_asks_at_the_console_waits(reason: Reason) -> None:
    limited = deadline(Moment(), grace=1)
    limited.signalled()
    assert limited.fits(reason)


def test_without_a_known_end_a_save_is_begun() -> None:
    """The control."""
    unlimited = deadline(Moment())
    unlimited.signalled()
    assert unlimited.seconds_left(Reason.TERMINATED) == math.inf
    assert unlimited.fits(Reason.TERMINATED)
    assert not unlimited.is_near


def test_slurm_sends_its_signal_so_long_before_the_limit() -> None:
    limited = deadline(Moment(), signal_before=90)
    limited.signalled()
    assert limited.seconds_left(Reason.TIME_LIMIT) == 90
    assert limited.fits(Reason.TIME_LIMIT)
    late = deadline(Moment(), signal_before=30)
    late.signalled()
    assert not late.fits(Reason.TIME_LIMIT)


def test_a_run_whose_save_takes_longer_than_the_warning_stops_by_itself() -> None:
    moment = Moment()
    limited = deadline(moment, end="1200", signal_before=30)
    assert not limited.is_near
    moment.now = 1110  # 90 s before: a save of 60 s, and two steps
    assert limited.is_near
    assert limited.fits(Reason.TIME_LIMIT)
    limited.save_seconds = 0.0
    assert not limited.is_near  # nobody knows how long one takes


def test_an_end_that_is_no_number_is_none() -> None:
    assert deadline(Moment(), end="soon").seconds_left(Reason.TERMINATED) == math.inf
