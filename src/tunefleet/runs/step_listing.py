"""Step listing: the rows of a step of a run, as its processes took them or will take them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tunefleet.base import files, status
from tunefleet.base.errors import RunError
from tunefleet.data.store.dataset import Card
from tunefleet.plan.plan import Plan
from tunefleet.runs import step_order, step_rows
from tunefleet.runs.inputs import load_inputs
from tunefleet.runs.step_order import Stretch
from tunefleet.runs.step_rows import TakenMicroBatch
from tunefleet.tracking import metrics

_COUNTS = ("conversations", "sequences", "tokens", "loss_tokens")


@dataclass(frozen=True)
class StepListing:
    """Step number `step` of a run, whose first sequence is at `position` of the data's order.

    `note` says what is not as one might expect: not trained yet, or left out; "" where nothing is.
    """

    step: int
    position: int
    is_trained: bool
    micro_batches: list[TakenMicroBatch]
    note: str


def of_run(plan: Plan, step: int) -> StepListing:
    """Raises `RunError` where the run has no such step, or its data are prepared as others; `DataError`."""
    inputs = load_inputs(plan)
    if step > inputs.horizon.total:
        raise RunError(f"{plan.name}: has no step {step}. Its steps are 1 to {inputs.horizon.total}.")
    _expect_trained_data(plan, inputs.data.train.card)
    saved = step_order.read(plan).of_step(step)
    stretch = saved or Stretch(0, (), plan.batch, plan.layout)
    position = step_rows.position_of(step, stretch.batch.total, stretch.left_out)
    split = replace(plan, batch=stretch.batch, layout=stretch.layout)
    micro_batches = step_rows.of_step(split, inputs.data.train, position)
    run_status = status.read(plan.paths.status)
    done = run_status.step if run_status else 0
    note = f"not trained yet: the run is at step {done}" if step > done else _note(plan, step, saved)
    return StepListing(step, position, step <= done, micro_batches, note)


def _note(plan: Plan, step: int, stretch: Stretch | None) -> str:
    records = [record for record in metrics.read(plan.paths.metrics) if record["step"] == step]
    reasons = [record["train/refused"] for record in records if "train/refused" in record]
    if reasons:
        return f"its update was left out: {reasons[-1]}"
    return "" if stretch else f"{plan.paths.order.name} does not say who took this step: split as plan.json says"


def _expect_trained_data(plan: Plan, card: Card) -> None:
    """Raises `RunError` where the rows have become other sequences than those that the run trained on."""
    try:
        saved = files.read_json(plan.paths.data)
        trained: dict[str, Any] = {name: saved[name] for name in _COUNTS}
    except (OSError, ValueError, TypeError, KeyError):  # not started, or damaged: it is no proof
        return
    prepared = {name: asdict(card)[name] for name in _COUNTS}
    if trained != prepared:
        raise RunError(
            f"{plan.name}: its rows are prepared as {_listed(prepared)}, and were {_listed(trained)} when it was "
            "trained: nobody can say from them which rows a step had. Use the version of tunefleet that trained it."
        )


def _listed(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
