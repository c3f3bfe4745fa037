"""May a run start again: not too often, not in vain, and not after what another start does not fix?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunefleet.base.status import Cause
from tunefleet.config.launch import LaunchConfig, Launcher
from tunefleet.launch.attempts import Attempt
from tunefleet.launch.requeue import refusal

AGAIN = [Cause.TIME_LIMIT, Cause.PREEMPTED, Cause.KILLED, Cause.NODE_FAILURE, Cause.LOST_PEER, Cause.HANG, Cause.DRIFT]
NEVER = [cause for cause in Cause if cause not in AGAIN]
LAUNCH = LaunchConfig(name=Launcher.SLURM, max_restarts=3)


def done(*steps: tuple[int, int | None]) -> list[Attempt]:
    """Attempts that found and left these checkpointed steps."""
    return [Attempt("s", "12", float(number), first, last) for number, (first, last) in enumerate(steps)]


@pytest.mark.parametrize("cause", AGAIN)
def test_what_came_from_outside_is_started_again(cause: Cause) -> None:
    assert refusal(cause, done((0, 5)), LAUNCH) is None


@pytest.mark.parametrize("cause", NEVER)
def test_what_would_come_again_is_not_started_again(cause: Cause) -> None:
    """Control: the same attempts after a time limit would be allowed."""
    assert refusal(cause, done((0, 5)), LAUNCH) == f"{cause.value} is not fixed by starting again"
    assert refusal(Cause.TIME_LIMIT, done((0, 5)), LAUNCH) is None


def test_the_rule_names_success_cancel_mistakes_nan_and_memory() -> None:
    """What the document promises, in so many words: a change of the list must change this test."""
    promised = {Cause.NONE, Cause.CANCELLED, Cause.USER_ERROR, Cause.NON_FINITE, Cause.SPIKE, Cause.OUT_OF_MEMORY}
    wishes = {Cause.STOP_FILE, Cause.INTERRUPT, Cause.RUNG, Cause.PRUNED}
    assert set(NEVER) == promised | wishes | {
        Cause.ERROR,
        Cause.EXPORT,
        Cause.NO_PROGRESS,
        Cause.TERMINATED,
        Cause.DISK,
    }


@pytest.mark.parametrize(("starts", "allowed"), [(1, True), (2, True), (3, True), (4, False), (5, False)])
def test_three_restarts_are_four_starts(starts: int, allowed: bool) -> None:
    fruitful = done(*((step, step + 1) for step in range(starts)))
    assert (refusal(Cause.PREEMPTED, fruitful, LAUNCH) is None) is allowed
    assert allowed or refusal(Cause.PREEMPTED, fruitful, LAUNCH) == "launch.max_restarts=3 are used up"


def test_without_restarts_the_first_start_is_the_last() -> None:
    none = replace(LAUNCH, max_restarts=0)
    assert refusal(Cause.PREEMPTED, done((0, 5)), none) == "launch.max_restarts=0 are used up"


@pytest.mark.parametrize(
    ("steps", "allowed"),
    [
        ([(0, 0)], True),  # once is bad luck
        ([(0, 0), (0, 0)], False),
        ([(5, 5), (5, 5)], False),
        ([(0, 5), (5, 5)], True),
        ([(0, 5), (5, 5), (5, 5)], False),
        ([(0, 0), (0, 1)], True),
        ([(0, 0), (0, 1), (1, 1)], True),
        ([(5, 3), (3, 3)], False),  # older than before is no progress
    ],
)
def test_two_attempts_without_a_new_checkpoint_are_enough(steps: list[tuple[int, int]], allowed: bool) -> None:
    output = refusal(Cause.TIME_LIMIT, done(*steps), LAUNCH)
    assert (output is None) is allowed
    assert allowed or (output and output.startswith("the last 2 attempts saved no new step"))


def test_runs_on_this_machine_have_a_number_of_their_own() -> None:
    here = LaunchConfig(restarts=2, max_restarts=0)
    assert refusal(Cause.KILLED, done((0, 1), (1, 2)), here) is None
    assert refusal(Cause.KILLED, done((0, 1), (1, 2), (2, 3)), here) == "launch.restarts=2 are used up"
