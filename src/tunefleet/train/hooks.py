"""Hooks: acts between steps, each with a name and a cadence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tunefleet.base import pulse
from tunefleet.contracts import Group, RunState, StepAct, StepResult
from tunefleet.plan.horizon import Pace


@dataclass
class Hook:
    """`act` whenever `every` says; `last` is when it was done, on this rank's clock."""

    name: str
    every: Pace
    act: StepAct
    last: float


class Hooks:
    """Acts in the order in which they were added. Every rank adds the same ones: some are collective.

    Clocks differ from rank to rank: where the pace is in seconds, an act is due on all as soon as it is on one.
    """

    def __init__(self, group: Group, clock: Callable[[], float] = time.monotonic) -> None:
        self._group = group
        self._clock = clock
        self._hooks: list[Hook] = []

    def add(self, name: str, every: Pace, act: StepAct) -> None:
        """Adds an act, due whenever `every` says; its seconds are counted from this call."""
        self._hooks.append(Hook(name, every, act, self._clock()))

    def run(self, state: RunState, result: StepResult) -> None:
        """Does what is due after step `state.step`. Collective where a pace is in seconds."""
        for hook in self._hooks:
            if self._is_due(hook, state.step):
                pulse.enter(f"hook {hook.name}")
                hook.act(state, result)
                hook.last = self._clock()

    def _is_due(self, hook: Hook, step: int) -> bool:
        """All ranks come to the same answer: by the step alone, or by asking each other at every step."""
        if hook.every.steps and step % hook.every.steps == 0:
            return True
        if not hook.every.seconds:
            return False
        return bool(self._group.agree(int(self._clock() - hook.last >= hook.every.seconds)))
