"""What happens between steps: acts, each with a name and a cadence."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.plan.contracts import RunState, StepAct, StepResult


@dataclass(frozen=True)
class Hook:
    """`act` after every `every` optimizer steps; 0 is never."""

    name: str
    every: int
    act: StepAct


class Hooks:
    """Acts in the order in which they were added. Every rank adds the same ones: some are collective."""

    def __init__(self) -> None:
        self._hooks: list[Hook] = []

    def add(self, name: str, every: int, act: StepAct) -> None:
        """Does `act` after every `every` steps."""
        self._hooks.append(Hook(name, every, act))

    def run(self, state: RunState, result: StepResult) -> None:
        """Does what is due after step `state.step`."""
        for hook in self._hooks:
            if hook.every and state.step % hook.every == 0:
                hook.act(state, result)
