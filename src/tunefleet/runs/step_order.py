"""Step order: from which step on a run passes over which sequences, and how its processes split a step."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from tunefleet.base import files
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.config.load import dump, load
from tunefleet.contracts import RunState
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.batch import Batch
from tunefleet.plan.processes.layout import Layout


@dataclass(frozen=True)
class Stretch:
    """Steps that are taken alike: those after step `after`, up to the next stretch.

    `left_out` are the positions of steps whose sequences are passed over (`RunState.left_out`).
    """

    after: int
    left_out: tuple[int, ...]
    batch: Batch
    layout: Layout


@dataclass(frozen=True)
class StepOrder:
    """All stretches of a run, as order.json holds them; a step belongs to the last one that begins before it."""

    stretches: tuple[Stretch, ...] = ()

    def of_step(self, step: int) -> Stretch | None:
        """The stretch of step number `step`, from 1 on; None where none was written down."""
        return next((stretch for stretch in reversed(self.stretches) if stretch.after < step), None)


def read(plan: Plan) -> StepOrder:
    """What was written down; nothing for a run that has not started. Raises `RunError` where it cannot be read."""
    path = plan.paths.order
    try:
        return load(StepOrder, files.read_json(path))
    except FileNotFoundError:
        return StepOrder()
    except (OSError, ValueError, ConfigError) as error:
        raise RunError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}), so nobody knows which processes took which rows. "
            "Put it back, or remove it: then a step is split as plan.json says."
        ) from None


def begin(plan: Plan, state: RunState) -> None:
    """Writes down how the steps after `state` are taken; those that come again are forgotten. Raises `DiskError`."""
    earlier: tuple[Stretch, ...] = ()
    with suppress(RunError):
        earlier = tuple(stretch for stretch in read(plan).stretches if stretch.after < state.step)
    stretch = Stretch(state.step, state.left_out, plan.batch, plan.layout)
    goes_on = earlier and replace(stretch, after=earlier[-1].after) == earlier[-1]
    files.write_json(plan.paths.order, dump(StepOrder(earlier if goes_on else (*earlier, stretch))))
