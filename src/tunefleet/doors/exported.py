"""`tunefleet export` and `evaluate`: the trained model."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tunefleet.base import delivery, modes, status, text
from tunefleet.base.errors import RunError
from tunefleet.base.imports import heavy_imports
from tunefleet.base.status import Cause, State
from tunefleet.config.adapter import AdapterName
from tunefleet.doors import unchanged
from tunefleet.doors.rank import prepare_environment
from tunefleet.launch.register import Run
from tunefleet.plan import Plan
from tunefleet.plan.contents import Role
from tunefleet.plan.families.lora_targets import exports_adapter_only

LAST = "last"
_MODEL = "The model was trained from what they held then: put that back."
_ROWS = "Put that back: on other rows the numbers are not comparable, and some may be rows that it was trained on."


def export(
    run: Run, folder: Path | None, merge: bool | None = None, overwrite: bool = False, checkpoint: str = LAST
) -> None:
    """Writes a checkpoint in Hugging Face form, and prints where; `merge` overrules `adapter.merge`.

    Raises `RunError`, before the work, where `folder` holds what no export left there, unless `overwrite` is given.
    """
    if folder or (checkpoint == LAST and delivery.record(run.paths.export)):
        delivery.expect_free(folder or run.paths.export, overwrite)
    plan = ready(run)
    unchanged.expect(plan, (Role.MODEL,), _MODEL)
    if merge is not None:
        if plan.config.adapter.name is AdapterName.NONE:
            raise RunError(f"{plan.name}: was trained without an adapter. Leave --merged and --adapter out.")
        adapter = replace(plan.config.adapter, merge=merge)
        plan = replace(plan, config=replace(plan.config, adapter=adapter))
    with heavy_imports():
        from tunefleet.runs.checkpoint_export import export as write

    print(os.path.relpath(write(plan, folder, checkpoint)))
    run_status = status.read(plan.paths.status)
    if (
        folder is None
        and checkpoint == LAST
        and run_status
        and run_status.state is State.FAILED
        and run_status.cause is Cause.EXPORT
    ):
        status.write(plan.paths.status, run_status.moved(state=State.FINISHED, cause=Cause.NONE, reason=""))


def evaluate(run: Run, checkpoint: str = LAST) -> None:
    """Measures the exported model on every validation split."""
    plan = ready(run)
    expect_model(plan, checkpoint)
    unchanged.expect(plan, (Role.DATA, Role.TEMPLATE), _ROWS)
    with heavy_imports():
        from tunefleet.runs import run_summary
        from tunefleet.runs.evaluate import evaluate as measure

    facts, record, samples = measure(plan, checkpoint)
    print(text.listed(facts | run_summary.results(record)))
    print("\n".join(run_summary.sample_lines(plan, samples)))


def expect_model(plan: Plan, checkpoint: str) -> None:
    """Raises `RunError` where files of the model have changed that are read beside the export, or to write one."""
    if exports_adapter_only(plan.config.adapter) or checkpoint != LAST or not plan.paths.export.is_dir():
        unchanged.expect(plan, (Role.MODEL,), _MODEL)


def ready(run: Run) -> Plan:
    """The plan of a run, with everything set for the libraries that are imported next."""
    plan = Plan.read(run.paths.root)
    if not (plan.paths.checkpoints.is_dir() or plan.paths.export.is_dir()):  # known before torch is imported
        raise RunError(f"{plan.paths.checkpoints}: no checkpoint there. Train first, or set checkpoint.at_end=true.")
    modes.keep(plan.config.launch.access.value)
    prepare_environment(plan)
    return plan
