"""Local trials: the runs of a sweep on this machine, each a process of its own in a slot."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunefleet.base import status
from tunefleet.base.errors import USER_ERROR, RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.base.sweeps import SweepPaths
from tunefleet.doors.sweep_world import Trials
from tunefleet.doors.trial_planner import TrialPlanner
from tunefleet.launch import parallel_runs
from tunefleet.plan.processes.slots import Share
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.grid_point import exit_reason
from tunefleet.sweep.world import Start


@dataclass(frozen=True)
class _Process:
    """The launcher of a run in a slot; `stood` is the time of the run's status before it began."""

    popen: subprocess.Popen[bytes]
    slot: int
    stood: float | None


class LocalTrials(Trials):
    """As many at once as `share` has slots; none where it is None, as for a command that does not stay."""

    def __init__(
        self, paths: SweepPaths, definition: Definition, planner: TrialPlanner, share: Share | None = None
    ) -> None:
        super().__init__(paths, definition, planner)
        self._share = share
        self._processes: dict[str, _Process] = {}

    def capacity(self) -> int:
        """Slots."""
        return self._share.slots if self._share else 0

    def refresh(self) -> None:
        """Frees the slots of those that have ended."""
        super().refresh()
        for run_dir, process in list(self._processes.items()):
            if (code := process.popen.poll()) is not None:
                del self._processes[run_dir]
                _expect_ending(RunPaths(Path(run_dir)), process, code)

    def status(self, run_dir: str) -> Status | None:
        """A run whose launcher is there has begun, before it says so itself."""
        if run_dir not in self._processes:
            return super().status(run_dir)
        current = status.read(RunPaths(Path(run_dir)).status)
        if current is None or current.updated == self._processes[run_dir].stood:
            return Status(State.STARTING)
        return Status(State.STARTING) if current.state.final else current

    def start(self, starts: Sequence[Start]) -> Mapping[str, str]:
        """Begins runs as long as a slot is free; those that cannot, with the reason."""
        refused = {}
        for start in starts:
            if start.run.run_dir in self._processes:
                continue
            if len(self._processes) >= self.capacity():
                break
            try:
                self._begin(start)
            except RunError as error:
                refused[start.run.run_dir] = str(error)
        return refused

    def signal(self, number: int) -> None:
        """Passes a signal on to every run."""
        for process in self._processes.values():
            process.popen.send_signal(number)

    def wait(self) -> None:
        """Until all of them have left."""
        while self._processes:
            time.sleep(parallel_runs.POLL)
            self.refresh()

    def _begin(self, start: Start) -> None:
        assert self._share, "nothing begins without slots"
        plan = self.prepared(start)
        earlier = status.read(plan.paths.status)
        slot = min(set(range(self._share.slots)) - {process.slot for process in self._processes.values()})
        popen = parallel_runs.start_process(plan, self._share, slot)
        self._processes[start.run.run_dir] = _Process(popen, slot, earlier.updated if earlier else None)


def _expect_ending(run: RunPaths, process: _Process, code: int) -> None:
    """Writes the final state of a run whose launcher left without one."""
    current = status.read(run.status)
    if current and current.state.final and current.updated != process.stood:
        return
    if code == 0 and current and current.state.ended_well:
        return
    cause = Cause.KILLED if code < 0 else Cause.USER_ERROR if code == USER_ERROR else Cause.ERROR
    ended = (current or Status(State.FAILED)).moved(
        state=State.FAILED, cause=cause, reason=exit_reason(run.console, code)
    )
    status.write(run.status, ended)
