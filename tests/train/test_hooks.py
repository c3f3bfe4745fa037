"""Is what happens between steps done when its pace says, on all ranks at once?"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tunefleet.contracts import RunState, StepResult
from tunefleet.plan.horizon import Pace
from tunefleet.train.hooks import Hooks

RESULT = StepResult(1.0, 1.0, 1e-3, 10, 5, skipped=False, seconds=1.0)


class Ranks:
    """The other ranks of a group: `due` is what the largest of their codes is at each agreement."""

    rank, size = 0, 2

    def __init__(self, due: Sequence[int] = ()) -> None:
        self.agreements = 0
        self._due = due

    def agree(self, code: int) -> int:
        self.agreements += 1
        return max(code, self._due[self.agreements - 1] if self.agreements <= len(self._due) else 0)

    def total(self, numbers: Sequence[float]) -> list[float]:
        raise NotImplementedError

    def gather(self, value: object) -> list[object]:
        raise NotImplementedError

    def barrier(self) -> None:
        raise NotImplementedError


def done(pace: Pace, group: Ranks, seconds_a_step: float = 10.0, steps: int = 20) -> list[int]:
    """The steps after which it was done, on a clock that moves by `seconds_a_step`."""
    clock, steps_done = [0.0], list[int]()
    hooks = Hooks(group, clock=lambda: clock[0])
    hooks.add("act", pace, lambda state, result: steps_done.append(state.step))
    for step in range(1, steps + 1):
        clock[0] += seconds_a_step
        hooks.run(RunState(step=step), RESULT)
    return steps_done


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        (Pace(), []),
        (Pace(steps=7), [7, 14]),
        (Pace(seconds=60), [6, 12, 18]),
        (Pace(seconds=55), [6, 12, 18]),  # counted from the last one, not from multiples
        (Pace(steps=8, seconds=60), [6, 8, 14, 16]),
        (Pace(seconds=1000), []),
        (Pace(seconds=1), list(range(1, 21))),
    ],
    ids=str,
)
def test_when_it_is_done(pace: Pace, expected: list[int]) -> None:
    assert done(pace, Ranks()) == expected


def test_a_rank_whose_clock_is_slow_does_it_with_the_others() -> None:
    """Saving is collective: what is due on one is done on all, and counted from there."""
    slow_others = Ranks(due=[0, 0, 0, 1])
    assert done(Pace(seconds=60), slow_others, steps=12) == [4, 10]


def test_ranks_ask_each_other_at_every_step_or_never() -> None:
    """The control of the above: else a rank would wait for one that does not ask."""
    by_time, by_steps = Ranks(), Ranks()
    done(Pace(seconds=60), by_time)
    done(Pace(steps=3), by_steps)
    assert (by_time.agreements, by_steps.agreements) == (20, 0)
