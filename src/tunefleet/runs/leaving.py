"""Leaving early: what a run does that was interrupted, that its sweep pauses or prunes, or whose disk is full."""

from __future__ import annotations

from tunefleet.base import sweep_requests
from tunefleet.base.errors import DONE, INTERRUPTED, DiskError
from tunefleet.base.status import State
from tunefleet.base.units import clock
from tunefleet.contracts import Group, RunState
from tunefleet.evaluation.interruption import CutShort
from tunefleet.launch.ending import Ending, of_stop
from tunefleet.plan.plan import Plan
from tunefleet.runs import run_summary
from tunefleet.runs.run_evaluations import RunEvaluations
from tunefleet.runs.run_output import RunOutput
from tunefleet.runs.run_saves import RunSaves
from tunefleet.train.deadline import Deadline
from tunefleet.train.stop import Reason, Stop


class Leaving:
    """Saves where there is time, and writes down how the run ended; the same command resumes it."""

    def __init__(
        self,
        plan: Plan,
        group: Group,
        stop: Stop,
        deadline: Deadline,
        saves: RunSaves,
        evaluations: RunEvaluations,
        output: RunOutput,
        total_steps: int,
    ) -> None:
        self._plan = plan
        self._group = group
        self._stop = stop
        self._deadline = deadline
        self._saves = saves
        self._evaluations = evaluations
        self._output = output
        self._total = total_steps

    def leave(self, reason: Reason, state: RunState) -> int:
        """Leaves at `state` for `reason`; returns the exit code. Collective."""
        if reason in (Reason.RUNG, Reason.PRUNED):
            return self._leave_for_sweep(reason, state)
        return self._interrupted(reason, state)

    def leave_if_unwritten(self, state: RunState) -> None:
        """Where one rank could not write what it alone writes, saves and raises `DiskError` on all. Collective."""
        error = self._stop.disk_error
        messages = [message for message in self._group.gather((str(error), error.errno) if error else None) if message]
        if messages:
            self._saves.save(state)  # or raises why that is not possible either
            message, number = messages[0]
            saved = f"Saved at step {state.step}: the same command goes on from there."
            raise DiskError(f"{message} {saved}", number, agreed=True)

    def _leave_for_sweep(self, reason: Reason, state: RunState) -> int:
        """Leaves at a rung, or pruned, as the run's sweep asks: saved, at a rung measured too. It can be resumed.

        In a SLURM job the end of the job writes the final state: until then another job could start beside this one.
        """
        if reason is Reason.RUNG and self._evaluations.is_missing(state):
            try:
                self._evaluations.measure(state)
            except CutShort:
                return self._interrupted(self._stop.reason(state), state)
        self._saves.save(state)
        outcome = Ending(reason.cause, sweep_requests.prune_reason(self._plan.paths) if reason is Reason.PRUNED else "")
        self._output.trackers.finish({"state": outcome.state.value})
        self._write_ending(outcome, state)
        self._output.console.print_line(run_summary.left_for_sweep(self._plan, outcome, state.step, self._total))
        return DONE

    def _interrupted(self, reason: Reason, state: RunState) -> int:
        """Saves, where there is time; in a SLURM job the end of the job decides whether the run resumes by itself."""
        if self._saves.saved_step != state.step and self._group.agree(int(not self._deadline.fits(reason))):
            return self._leave_unsaved(reason, state)
        self._saves.save(state)
        self._write_ending(Ending(reason.cause, ""), state)
        self._output.trackers.finish({"state": "interrupted"})
        self._output.console.print_line(f"saved at step {state.step}; the same command resumes from there")
        return INTERRUPTED

    def _leave_unsaved(self, reason: Reason, state: RunState) -> int:
        """Leaves with the checkpoint that is there: half of another would be nothing."""
        text = (
            f"the last save took {clock(self._deadline.save_seconds)}, and less time is left: step {state.step} "
            f"is not saved, and the same command resumes from step {max(0, self._saves.saved_step)}"
        )
        self._write_ending(Ending(reason.cause, text), state)
        self._output.console.print_line(text)
        return INTERRUPTED

    def _write_ending(self, outcome: Ending, state: RunState) -> None:
        """Writes the final state; in a SLURM job its end does, from the cause that stands here."""
        if self._plan.job:
            self._output.write_status(State.CHECKPOINTING, state, cause=outcome.cause, reason=outcome.reason)
            return
        outcome = of_stop(outcome, self._plan.paths.cancelled.exists())
        self._output.write_status(outcome.state, state, cause=outcome.cause, reason=outcome.reason)
