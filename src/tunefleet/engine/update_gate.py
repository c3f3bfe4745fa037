"""Update gate: stands before the optimizer, and leaves an update out that was refused once its norm was known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.optim import Optimizer

from tunefleet.contracts import Refusal

Judge = Callable[[], Refusal | None]


class UpdateGate:
    """Takes the place of `optimizer.step`, which DeepSpeed calls once for each of its groups of weights.

    By then it has reduced gradients and taken their norm at every stage, and weights, moments and the optimizer's count
    of steps are as they were. What DeepSpeed does afterwards (free gradients, copy master weights) changes none.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._update: Callable[..., Any] = optimizer.step
        self._judge: Judge | None = None
        self.was_asked = False
        """Whether the last update reached the optimizer."""
        self.refusal: Refusal | None = None
        """Why the last update was left out; None where it was applied, or the optimizer was not reached."""
        optimizer.step = self._step  # type: ignore[method-assign]

    @contextmanager
    def judged_by(self, judge: Judge) -> Iterator[None]:
        """Within it `judge` is asked once, before the first update: its refusal leaves out all of them."""
        self._judge, self.was_asked, self.refusal = judge, False, None
        try:
            yield
        finally:
            self._judge = None

    def _step(self, *args: Any, **kwargs: Any) -> Any:
        if self._judge and not self.was_asked:
            self.refusal, self.was_asked = self._judge(), True
        return None if self._judge and self.refusal else self._update(*args, **kwargs)
