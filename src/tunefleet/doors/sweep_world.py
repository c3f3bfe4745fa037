"""World of a sweep: what trials on this machine and trials as SLURM jobs have in common."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from tunefleet.base import ownership, status, sweep_requests, sweeps
from tunefleet.base.errors import RunError
from tunefleet.base.paths import RunPaths, lies_in
from tunefleet.base.status import State, Status
from tunefleet.base.sweeps import Sweep, SweepPaths, SweepPoint
from tunefleet.doors import cancel, unchanged
from tunefleet.doors.start import expect_own
from tunefleet.doors.trial_planner import TrialPlanner
from tunefleet.launch import register, run_lock
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader
from tunefleet.plan import Plan
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.point_filter import Lookup
from tunefleet.sweep.study import Study, TrialRun
from tunefleet.sweep.world import Start


def expect_in_place(paths: SweepPaths, definition: Definition) -> Path:
    """The outputs that the sweep lies in. Raises `RunError` where its trials would run in others, or its folder is
    somebody else's.
    """
    outputs = paths.root.resolve().parent.parent
    if (Path(definition.outputs).resolve(), definition.name) != (outputs, paths.root.name):
        raise RunError(
            f"{paths.definition}: is of {definition.name} in {definition.outputs}, and lies in {outputs}. Put it back "
            "there, or begin another sweep here: sweep.name=ANOTHER."
        )
    if complaint := ownership.complaint(paths.root) or ownership.complaint_of_shared(paths.root.parent):
        raise RunError(f"{complaint}.")
    return outputs


class Trials:
    """Planned by `planner`; the files of the sweep are at `paths`. Raises `RunError` where those are not in place.

    Every act raises `RunError` too, for a run directory that is not of these outputs.
    """

    def __init__(self, paths: SweepPaths, definition: Definition, planner: TrialPlanner) -> None:
        self._paths, self._definition, self._planner = paths, definition, planner
        self._outputs = expect_in_place(paths, definition)
        self._reader = StatusReader()
        self._recorded = 0

    def refresh(self) -> None:
        """Begins a round: SLURM is asked anew, once."""
        self._reader = StatusReader()

    def plan(self, values: Mapping[str, str], seed: int | None, warm_from: TrialRun | None) -> Plan:
        """A run of a point."""
        return self._planner.plan(values, seed, warm_from)

    def lookup(self, values: Mapping[str, str]) -> Lookup:
        """The composed settings of a point."""
        return self._planner.lookup(values)

    def finished(self, plan: Plan) -> str | None:
        """The directory of a finished run of the same identity: its own, or one that a user named."""
        run_dir = self._finished.get(plan.identity)
        if run_dir is None and _is_finished(plan.paths):
            run_dir = plan.run_dir if Plan.read(plan.paths.root).identity == plan.identity else None
        return run_dir

    def status(self, run_dir: str) -> Status | None:
        """How a run stands. One whose launcher is there is not taken for dead, however long it gave no sign of life."""
        run = self._run(run_dir)
        current = status.read(run.status)
        if current is None or current.state.final or _is_locked(run):
            return current
        return self._reader.status(run)

    def prune(self, run_dir: str, reason: str) -> None:
        """Asks a run to save and leave, once."""
        run = self._run(run_dir)
        if not run.prune.exists():
            sweep_requests.prune(run, reason)

    def stop(self, run_dir: str) -> None:
        """Ends a run for good, once: a second signal would keep it from saving."""
        run = self._run(run_dir)
        if not run.cancelled.exists():
            cancel.cancel([Run(run)], at_once=False)

    def drop_checkpoints(self, run_dir: str) -> None:
        """Removes what only a run that goes on needs; its export stays."""
        shutil.rmtree(self._run(run_dir).checkpoints, ignore_errors=True)

    def record(self, study: Study) -> None:
        """Writes sweep.json anew where trials have begun since."""
        begun = [trial for trial in study.trials.values() if trial.stood or trial.state.final]
        if len(begun) == self._recorded:
            return
        points = tuple(SweepPoint(run.overrides, run.run_dir) for trial in begun for run in trial.runs)
        sweeps.write(Path(self._definition.outputs), Sweep(self._definition.name, self._definition.created, points))
        self._recorded = len(begun)

    def prepared(self, start: Start) -> Plan:
        """The plan of a run that is about to begin, saved with what the sweep asks of it.

        Raises `RunError` where its directory is another run's, or its files hold something else than before.
        """
        plan = self._planner.saved(start.run)
        expect_own(plan)
        plan = unchanged.recorded(plan)
        plan.save()
        sweep_requests.join_sweep(plan.paths, self._paths.root)
        sweep_requests.set_rung(plan.paths, start.until)
        for request in (plan.paths.prune, plan.paths.stop, plan.paths.cancelled):
            request.unlink(missing_ok=True)
        return plan

    def _run(self, run_dir: str) -> RunPaths:
        if not lies_in(Path(run_dir), self._outputs):
            raise RunError(f"{self._paths.journal}: names {run_dir}, which is no run of {self._outputs}.")
        return RunPaths(Path(run_dir))

    @cached_property
    def _finished(self) -> dict[str, str]:
        """{identity: directory} of the finished runs that have names of their own."""
        directories = {}
        for run in register.runs(Path(self._definition.outputs)):
            identity = str(run.plan.get("identity", ""))
            if not run.name.endswith(f"-{identity[:8]}") and _is_finished(run.paths):
                directories[identity] = str(run.paths.root)
        return directories


def _is_finished(run: RunPaths) -> bool:
    current = status.read(run.status)
    return current is not None and current.state is State.FINISHED


def _is_locked(run: RunPaths) -> bool:
    """Whether a start has the run."""
    try:
        return bool(run_lock.rivals(run, watch=0.0))
    except OSError:
        return False
