"""Starts a planned run here, in ranks that are there or in new ones; or says that it is done."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tunefleet.base import failures, status, text
from tunefleet.base.errors import DONE, RunError
from tunefleet.base.status import Cause, State, Status
from tunefleet.base.units import clock
from tunefleet.config.load import dump
from tunefleet.doors import rank, unchanged
from tunefleet.launch import external_ranks, local, project, provenance, submission
from tunefleet.launch.run_state import StatusReader
from tunefleet.plan import Machine, Plan
from tunefleet.plan.choose import on_oom
from tunefleet.plan.start_from import shorter

REPOSITORY = project.ROOT


def start(plan: Plan, machine: Machine) -> int:
    """Runs the plan and returns its exit code.

    Raises `RunError` where the directory is somebody else's, or files hold something else than when it was planned.
    """
    plan = unchanged.recorded(plan)
    if is_done(plan):  # under a launcher every rank takes this branch: no other process can end the run meanwhile
        if machine.rank == 0:
            print(done(plan))
        return DONE
    return _adopt(plan, machine) if machine.world_size else _start(_as_before(plan))


def is_done(plan: Plan) -> bool:
    """Whether the run is finished already. Raises `RunError` where its directory is somebody else's."""
    expect_own(plan)
    now = status.read(plan.paths.status)
    return now is not None and now.state is State.FINISHED


def save_for_later(plan: Plan) -> None:
    """Saves the plan of a run that is to start later, so that it can be resumed if that never happens.

    Not where the run is done or under way, or its directory cannot be used: that is said when its turn comes.
    """
    with suppress(RunError, OSError):
        if is_done(plan):
            return
        now = status.read(plan.paths.status)
        if now is None or now.state.final:
            with alone(plan):
                _as_before(plan).save()


def announce(plan: Plan) -> None:
    """Says what is about to run, before any rank writes to the same console."""
    print(text.listed(plan.summary()))
    for note in [*plan.notes, *_from_scratch(plan)]:
        print(f"note: {note}")
    sys.stdout.flush()


def _from_scratch(plan: Plan) -> list[str]:
    """Who raises the number of steps may expect a finished run to go on."""
    if (before := shorter(plan)) is None:
        return []
    return [
        f"{before.name} is finished and differs in its steps alone; this is a new run, from the same beginning. "
        f"train.start_from={before.name} starts one from its weights."
    ]


def _start(plan: Plan) -> int:
    _expect_no_job(plan)
    local.expect_free(plan.config.launch.port)
    with alone(plan):
        _open(plan)
        code = local.run(plan)
        while code and (smaller := _after_memory_ran_out(plan)):
            plan = smaller
            _open(plan)
            code = local.run(plan)
        return code


def _as_before(plan: Plan) -> Plan:
    """With the micro-batch that memory has left it with."""
    return on_oom.as_before(plan, Plan.read(plan.paths.root)) if plan.paths.plan.exists() else plan


def _after_memory_ran_out(plan: Plan) -> Plan | None:
    """The run in smaller micro-batches, where that is wanted and memory is why it failed."""
    first = failures.first(failures.read_all(plan.paths))
    return on_oom.split(plan) if first and first.cause is Cause.OUT_OF_MEMORY else None


def _expect_no_job(plan: Plan) -> None:
    """Two processes must not write one directory. Raises `RunError` where SLURM has a job for it."""
    if submission.place(plan.paths) is None:
        return
    reader = StatusReader()
    now = reader.status(plan.paths)
    if now and not now.state.final and not reader.slurm_is_silent:
        raise RunError(
            f"{plan.name} is {now.state.value} as a job of SLURM. End it first: tunefleet cancel {plan.name}"
        )


def _adopt(plan: Plan, machine: Machine) -> int:
    """One rank among those that a launcher has started; the first writes for all."""
    if machine.rank == 0 and "MASTER_PORT" not in os.environ:
        local.expect_free(plan.config.launch.port)
    external_ranks.complete(os.environ, machine, plan.config.launch.port)
    if machine.rank == 0:
        _open(plan)
    return rank.run(plan)


def _open(plan: Plan) -> None:
    plan.save()
    provenance.write(plan.paths.provenance, provenance.record(REPOSITORY))
    plan.paths.cancelled.unlink(missing_ok=True)
    plan.paths.submission.unlink(missing_ok=True)  # or who looks would ask SLURM how a run stands that runs here
    before = status.read(plan.paths.status) or Status(State.STARTING)
    status.write(plan.paths.status, before.moved(state=State.STARTING, cause=Cause.NONE, reason="", job="", restarts=0))
    announce(plan)


def done(plan: Plan) -> str:
    """What is said of a run that is finished."""
    now = status.read(plan.paths.status) or Status(State.FINISHED)
    loss = f", last loss {now.loss:.4f}" if now.loss is not None else ""
    return (
        f"{plan.name} is done: {now.step} steps{loss}. It lies in {os.path.relpath(plan.run_dir)}. "
        f"Another seed= starts a new run, train.start_from={plan.name} one from its weights."
    )


def expect_own(plan: Plan) -> None:
    """A directory holds one configuration: continuing another one in it would be silently wrong.

    Raises `RunError` where the directory is another configuration's, or its files held something else.
    """
    if not plan.paths.plan.exists():
        return
    there = Plan.read(plan.paths.root)
    if there.identity != plan.identity:
        changed = _differences(dump(there.config), dump(plan.config))
        raise RunError(
            f"name: {plan.name} is taken by a run with other settings ({'; '.join(changed) or 'batch'}). "
            f"Choose another name=, or none.{_rows_of_a_step(there, plan)}{_more_steps(there, plan)}"
        )
    unchanged.expect_as_in(there, plan)


def _rows_of_a_step(there: Plan, plan: Plan) -> str:
    """How a run goes on with another number of processes: its steps keep their rows."""
    had, has = there.batch.total, plan.batch.total
    return f" Its steps have {had} rows, not {has}: train.global_batch={had} keeps them." if had != has else ""


def _more_steps(there: Plan, plan: Plan) -> str:
    """How a run is trained further whose steps have other learning rates with another number of them."""
    if (there.config.train.max_steps, there.config.train.epochs) == (
        plan.config.train.max_steps,
        plan.config.train.epochs,
    ):
        return ""
    return (
        " Its schedule was planned for its own number of steps. When it is finished, "
        f"train.start_from={there.name} starts a new run from its weights, with a schedule of its own."
    )


def _differences(old: dict[str, object], new: dict[str, object], where: str = "") -> list[str]:
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{where}{key}.")
        elif before != after:
            found.append(f"{where}{key} was {before!r}")
    return found


@contextmanager
def alone(plan: Plan) -> Iterator[None]:
    """One launcher for each run directory."""
    plan.paths.root.mkdir(parents=True, exist_ok=True)
    with open(plan.paths.lock, "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = status.read(plan.paths.status)
            where = f" (step {now.step} on {now.host}, {clock(now.age)} ago)" if now else ""
            raise RunError(f"{plan.name} is going on already{where}. Wait for it, or choose another name=.") from None
        yield
