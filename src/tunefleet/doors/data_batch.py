"""`tunefleet data batch`: which rows a step of a run is made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tunefleet.base import text
from tunefleet.base.errors import ConfigError
from tunefleet.base.units import singular
from tunefleet.doors import unchanged
from tunefleet.doors.rank import prepare_environment
from tunefleet.launch.register import Run
from tunefleet.libraries.heavy_imports import heavy_imports
from tunefleet.plan import Plan
from tunefleet.plan.contents import Role

if TYPE_CHECKING:
    from tunefleet.runs.step_listing import StepListing

_ROWS = "Put back what was there: which rows a step had is known from them alone."


def batch(run: Run, step: int, as_json: bool) -> None:
    """Prints the rows of every micro-batch of `step` on each rank.

    Raises `ConfigError` for a step below 1, `RunError` for one that the run has not, and where its data have changed.
    """
    if step < 1:
        raise ConfigError(f"--step {step}: steps are counted from 1.")
    plan = Plan.read(run.paths.root)
    unchanged.expect(plan, (Role.DATA, Role.TEMPLATE), _ROWS)
    prepare_environment(plan)
    with heavy_imports(models=False):
        from tunefleet.runs import step_listing

    listing = step_listing.of_run(plan, step)
    print(_json(plan, listing) if as_json else _table(plan, listing))


def _json(plan: Plan, listing: StepListing) -> str:
    record = {
        "run": plan.name,
        "step": listing.step,
        "position": listing.position,
        "trained": listing.is_trained,
        "note": listing.note,
        "micro_batches": [micro_batch.record() for micro_batch in listing.micro_batches],
    }
    return json.dumps(record, indent=2, ensure_ascii=False)


def _table(plan: Plan, listing: StepListing) -> str:
    cells = [
        (",".join(map(str, micro_batch.ranks)), str(micro_batch.number), str(sequence), location or "unknown")
        for micro_batch in listing.micro_batches
        for sequence, locations in micro_batch.rows
        for location in locations
    ]
    rows = singular(f"{len(cells)} rows")
    head = f"step {listing.step} of {plan.name}: {rows}" + (f"; {listing.note}" if listing.note else "")
    return head + "\n" + text.columns([("rank", "micro-batch", "sequence", "row"), *cells])
