"""`tunefleet export`: the trained model in Hugging Face form; what every command that reads it checks first."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tunefleet.base import delivery, modes, status
from tunefleet.base.errors import RunError
from tunefleet.base.status import Cause, State
from tunefleet.base.units import Size
from tunefleet.config.adapter import AdapterName
from tunefleet.doors import push, unchanged
from tunefleet.doors.rank import prepare_environment
from tunefleet.launch.register import Run
from tunefleet.libraries.heavy_imports import heavy_imports
from tunefleet.plan import Plan
from tunefleet.plan.contents import Role
from tunefleet.plan.families.lora_targets import exports_adapter_only

LAST = "last"
_MODEL = "The model was trained from what they held then: put that back."


@dataclass(frozen=True)
class ExportRequest:
    """What is to be exported, and how: `merge` overrules `adapter.merge`; None is as the run has it."""

    to: Path | None = None
    checkpoint: str = LAST
    merge: bool | None = None
    overwrite: bool = False
    dtype: str | None = None
    shard_size: Size | None = None
    push: str | None = None
    tensorflow: Path | None = None
    tensorflow_python: Path | None = None


def export(run: Run, request: ExportRequest) -> Path:
    """Writes a checkpoint in Hugging Face form, prints where and returns that.

    Raises `RunError`, before the work, where `request.to` holds what no export left there, unless `overwrite` is set.
    """
    if request.tensorflow:
        return _export_to_tensorflow(run, request, request.tensorflow)
    folder, checkpoint = request.to, request.checkpoint
    if request.push:
        push.expect_name(request.push)
    if request.dtype and folder is None:
        raise RunError("--dtype: RUN/export keeps the dtype of the training. Name another folder with --to.")
    if folder or (checkpoint == LAST and delivery.record(run.paths.export)):
        delivery.expect_free(folder or run.paths.export, request.overwrite)
    plan = _with_merge(ready(run), request.merge)
    unchanged.expect(plan, (Role.MODEL,), _MODEL)
    with heavy_imports():
        from tunefleet.runs.checkpoint_export import export as write
        from tunefleet.runs.export_format import Form

    form = Form(request.dtype, request.shard_size.bytes if request.shard_size else None)
    target = write(plan, folder, checkpoint, form)
    print(os.path.relpath(target))
    if folder is None and checkpoint == LAST:
        _settle_failed_export(plan)
    if request.push:
        push.push(target, request.push)
        print(f"pushed to {request.push}")
    return target


def _export_to_tensorflow(run: Run, request: ExportRequest, folder: Path) -> Path:
    """Writes a SavedModel and returns its folder. Raises `RunError` where the run, the family or the program cannot."""
    if request != ExportRequest(
        checkpoint=request.checkpoint,
        overwrite=request.overwrite,
        tensorflow=folder,
        tensorflow_python=request.tensorflow_python,
    ):
        raise RunError("--tensorflow: goes with --checkpoint, --overwrite and --tensorflow-python alone.")
    delivery.expect_free(folder, request.overwrite)
    plan = ready(run)
    expect_model(plan, request.checkpoint)
    with heavy_imports():
        from tunefleet.runs import tensorflow_export

    python = str(request.tensorflow_python or sys.executable)
    compared = tensorflow_export.export(plan, folder, request.checkpoint, python)
    print(f"compared with torch: {compared}", file=sys.stderr)
    print(os.path.relpath(folder))
    return folder


def _with_merge(plan: Plan, merge: bool | None) -> Plan:
    """The plan with an adapter that is merged as `merge` says. Raises `RunError` where there is none."""
    if merge is None:
        return plan
    if plan.config.adapter.name is AdapterName.NONE:
        raise RunError(f"{plan.name}: was trained without an adapter. Leave --merged and --adapter out.")
    adapter = replace(plan.config.adapter, merge=merge)
    return replace(plan, config=replace(plan.config, adapter=adapter))


def _settle_failed_export(plan: Plan) -> None:
    """A run whose export had failed is finished when it is there."""
    run_status = status.read(plan.paths.status)
    if run_status and run_status.state is State.FAILED and run_status.cause is Cause.EXPORT:
        status.write(plan.paths.status, run_status.moved(state=State.FINISHED, cause=Cause.NONE, reason=""))


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
