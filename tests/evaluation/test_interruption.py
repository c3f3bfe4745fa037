"""Which batches of an evaluation are preceded by a question to all ranks, and what follows the answer?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tunefleet.engine.plain_model import SingleProcess
from tunefleet.evaluation import interruption
from tunefleet.evaluation.interruption import CutShort
from tunefleet.evaluation.loss import mean_loss


class Checks:
    """Raises `CutShort` at the one of this number; counts them."""

    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.last:
            raise CutShort


BATCHES: list[Any] = [SimpleNamespace(tokens=[[0]])] * 10


class Counter:
    """Takes every loss for two tokens of 1.5."""

    sharded = False

    def __init__(self) -> None:
        self.count = 0

    def loss(self, batch: Any) -> tuple[float, int]:
        self.count += 1
        return 3.0, 2


def test_only_batches_that_all_ranks_have_are_asked_about() -> None:
    """Of five batches two ranks have three and two: both ask twice."""
    asked = [Checks(-1), Checks(-1)]
    taken = [list(interruption.batches(range(size), "", check, 2)) for size, check in zip((3, 2), asked, strict=True)]
    assert taken == [[0, 1, 2], [0, 1]]
    assert [check.count for check in asked] == [2, 2]


def test_an_evaluation_is_left_before_its_next_batch() -> None:
    engine: Any = Counter()
    with pytest.raises(CutShort):
        mean_loss(engine, SingleProcess(), BATCHES, Checks(4))
    assert engine.count == 3
    assert mean_loss(engine, SingleProcess(), BATCHES) == 1.5
    assert engine.count == 13
