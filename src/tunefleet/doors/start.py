"""Start of a planned run here, in new ranks or in those that a launcher started; or the report that it is done."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tunefleet.base import failures, modes, ownership, reserve, status
from tunefleet.base.errors import DISK, DONE, INTERRUPTED, USER_ERROR, RunError
from tunefleet.base.status import Cause, State, Status
from tunefleet.checkpoint import checkpoint_manifest, folders
from tunefleet.config.load import dump
from tunefleet.doors import rank, unchanged
from tunefleet.doors.plan_summary import announce
from tunefleet.launch import (
    disk_endings,
    external_ranks,
    local,
    project,
    provenance,
    restarts,
    run_bundle,
    run_lock,
    submission,
)
from tunefleet.launch.run_state import StatusReader
from tunefleet.plan import Machine, Plan
from tunefleet.plan.choose import on_oom
from tunefleet.plan.plan import DamagedPlan
from tunefleet.plan.rules.launch_rules import started_elsewhere

REPOSITORY = project.ROOT
_PATIENCE = 30.0  # seconds in which ranks that torchrun has killed must be gone, when it starts them again
_EXPLAINED = (DONE, INTERRUPTED, USER_ERROR, DISK)  # nobody needs to be asked about these


def start(plan: Plan, machine: Machine) -> int:
    """Runs the plan and returns its exit code.

    Raises `RunError` where the directory is another run's, or files hold something else than when it was planned.
    """
    modes.keep(plan.config.launch.access.value)
    plan = unchanged.recorded(plan)
    if is_done(plan):  # under a launcher every rank takes this branch: no other process can end the run meanwhile
        if machine.rank == 0:
            print(done(plan))
        return DONE
    return _adopt(plan, machine) if machine.world_size else _start(_as_before(plan))


def is_done(plan: Plan) -> bool:
    """Whether the run is finished already. Raises `RunError` where its directory is another run's."""
    expect_own(plan)
    run_status = status.read(plan.paths.status)
    return run_status is not None and run_status.state is State.FINISHED


def save_for_later(plan: Plan) -> None:
    """Saves the plan of a run that is to start later, so that it can be resumed if that never happens.

    Not where the run is done or running, or its directory cannot be used: that is reported when its turn comes.
    """
    with suppress(RunError, OSError):
        if is_done(plan):
            return
        run_status = status.read(plan.paths.status)
        if run_status is None or run_status.state.final:
            with run_lock.hold(plan.paths):
                _as_before(plan).save()


def _start(plan: Plan) -> int:
    _expect_no_job(plan)
    local.expect_free(plan.config.launch.port)
    with run_lock.hold(plan.paths) as start_name, _for_ranks(start_name), disk_endings.settled(plan.paths):
        _open(plan)
        code = restarts.run(plan)
        while code and (smaller := _after_memory_ran_out(plan)):
            plan = smaller
            _open(plan)
            code = restarts.run(plan)
        if code not in _EXPLAINED:
            print(run_bundle.hint(os.path.relpath(plan.run_dir)), file=sys.stderr)
        return code


@contextmanager
def _for_ranks(start_name: str) -> Iterator[None]:
    """The ranks that are started within learn from their environment which start they belong to."""
    os.environ[run_lock.START] = start_name
    try:
        yield
    finally:
        del os.environ[run_lock.START]


def _as_before(plan: Plan) -> Plan:
    """With the micro-batch that memory has left it with."""
    try:
        return on_oom.as_before(plan, Plan.read(plan.paths.root)) if plan.paths.plan.exists() else plan
    except DamagedPlan:  # `expect_own` has let it be replaced
        return plan


def _after_memory_ran_out(plan: Plan) -> Plan | None:
    """The run in smaller micro-batches, where that is wanted and memory is why it failed."""
    first = failures.first(failures.read_all(plan.paths))
    return on_oom.split(plan) if first and first.cause is Cause.OUT_OF_MEMORY else None


def _expect_no_job(plan: Plan) -> None:
    """Two processes must not write one directory. Raises `RunError` where SLURM has a job for it."""
    if submission.place(plan.paths) is None:
        return
    reader = StatusReader()
    run_status = reader.status(plan.paths)
    if run_status and not run_status.state.final and not reader.slurm_is_silent:
        raise RunError(
            f"{plan.name} is {run_status.state.value} as a SLURM job. End it first: tunefleet cancel {plan.name}"
        )


def _adopt(plan: Plan, machine: Machine) -> int:
    """One rank among those that a launcher has started; the first writes for all."""
    if complaints := started_elsewhere(plan.config, machine.launcher):
        raise RunError(*complaints)
    if machine.rank == 0 and "MASTER_PORT" not in os.environ:
        local.expect_free(plan.config.launch.port)
    external_ranks.complete(os.environ, machine, plan.config.launch.port)
    if machine.launcher == "torchrun":
        rank.end_with_parent()
    start_name = run_lock.start_of_ranks(os.environ)
    try:
        with run_lock.of_rank(plan.paths, machine.rank, start_name, _PATIENCE if _is_restart() else 0.0):
            if machine.rank == 0:
                with disk_endings.settled(plan.paths):
                    failures.forget(plan.paths)
                    plan.paths.stop.unlink(missing_ok=True)
                    _open(plan)
            return rank.run(plan)
    except run_lock.Busy:
        if machine.rank:  # rank 0 says so
            return USER_ERROR
        raise


def _is_restart() -> bool:
    """Whether torchrun starts the ranks again, after one of them failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def _open(plan: Plan) -> None:
    reserve.keep(plan.paths.root)
    plan.save()
    provenance.write(plan.paths.provenance, provenance.record(REPOSITORY))
    plan.paths.cancelled.unlink(missing_ok=True)
    plan.paths.submission.unlink(missing_ok=True)  # or who looks would ask SLURM how a run stands that runs here
    last_status = status.read(plan.paths.status) or Status(State.STARTING)
    status.write(
        plan.paths.status, last_status.moved(state=State.STARTING, cause=Cause.NONE, reason="", job="", restarts=0)
    )
    announce(plan)


def done(plan: Plan) -> str:
    """The message about a run that is finished."""
    run_status = status.read(plan.paths.status) or Status(State.FINISHED)
    loss = f", last loss {run_status.loss:.4f}" if run_status.loss is not None else ""
    return (
        f"{plan.name} is done: {run_status.step} steps{loss}. Saved to {os.path.relpath(plan.run_dir)}. "
        f"Another seed= starts a new run, train.start_from={plan.name} one from its weights."
    )


def expect_own(plan: Plan) -> None:
    """A directory holds one configuration: continuing another one in it would be silently wrong.

    Raises `RunError` where the directory is another configuration's, or its files held something else. A plan.json that
    is damaged is replaced, where the checkpoints beside it are of this configuration.
    """
    expect_safe_folders(plan)
    if not plan.paths.plan.exists():
        return
    try:
        saved = Plan.read(plan.paths.root)
    except DamagedPlan as error:
        _expect_own_checkpoints(plan, error)
        return
    if not saved.goes_on_as(plan):
        changed = _differences(dump(saved.config), dump(plan.config))
        raise RunError(
            f"name: {plan.name} is taken by a run with other settings ({'; '.join(changed) or 'batch'}). "
            f"Choose another name=, or none.{_rows_of_a_step(saved, plan)}{_more_steps(saved, plan)}"
            f"{_fixed_shape(saved, plan)}"
        )
    unchanged.expect_as_in(saved, plan)


def expect_safe_folders(plan: Plan) -> None:
    """Raises `RunError` where somebody else could replace files of the run, of its outputs, or of prepared data."""
    shared = map(ownership.complaint_of_shared, (plan.paths.root.parent, Path(plan.config.data.cache)))
    if complaints := [f"{complaint}." for complaint in (ownership.complaint(plan.paths.root), *shared) if complaint]:
        raise RunError(*complaints)


def _expect_own_checkpoints(plan: Plan, damage: DamagedPlan) -> None:
    """Raises `RunError` where checkpoints are there, and not all that can be read are of this configuration."""
    saved = folders.checkpoints(plan.paths.checkpoints)
    verdicts = set()
    for folder in saved:
        with suppress(ValueError):
            manifest = checkpoint_manifest.read(folder)
            same_trajectory = bool(plan.trajectory) and manifest.trajectory == plan.trajectory
            verdicts.add(manifest.identity == plan.identity or same_trajectory)
    if saved and verdicts != {True}:
        raise RunError(f"{damage.complaints[0]} This is not its command: the checkpoints there are of other settings.")


def _rows_of_a_step(saved: Plan, plan: Plan) -> str:
    """How a run resumes with another number of processes: its steps keep their sequences."""
    had, has = saved.batch.total, plan.batch.total
    return f" Its steps have {had} sequences, not {has}: train.global_batch={had} keeps them." if had != has else ""


def _more_steps(saved: Plan, plan: Plan) -> str:
    """How a run is trained further whose steps have other learning rates with another number of them."""
    if (saved.config.train.max_steps, saved.config.train.epochs) == (
        plan.config.train.max_steps,
        plan.config.train.epochs,
    ):
        return ""
    return (
        " Its schedule was planned for its own number of steps. When it is finished, "
        f"train.start_from={saved.name} starts a new run from its weights, with a schedule of its own."
    )


def _fixed_shape(saved: Plan, plan: Plan) -> str:
    """Why this other strategy cannot resume the run, where others could."""
    setting = saved.fixes_shape or plan.fixes_shape
    if not setting or not saved.trajectory or saved.trajectory != plan.trajectory:
        return ""
    return (
        f" {setting} resumes only what the same saved, with as many processes. A new run with "
        f"train.start_from={saved.name} begins with its weights."
    )


def _differences(old: dict[str, object], new: dict[str, object], prefix: str = "") -> list[str]:
    differences = []
    for key in sorted(old.keys() | new.keys()):
        earlier, later = old.get(key), new.get(key)
        if isinstance(earlier, dict) and isinstance(later, dict):
            differences += _differences(earlier, later, f"{prefix}{key}.")
        elif earlier != later:
            differences.append(f"{prefix}{key} was {earlier!r}")
    return differences
