"""Completion of a run: after its last step it is saved, exported, measured with answers, and reported."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tunefleet.base import pulse, refused_updates
from tunefleet.base.errors import DONE, FAILED, ExportError
from tunefleet.base.status import State
from tunefleet.contracts import Engine, RunState
from tunefleet.engine.group import ProcessGroup
from tunefleet.launch import rank_signals
from tunefleet.plan.plan import Plan
from tunefleet.runs import final_export, final_report, run_summary, verify_export
from tunefleet.runs.deciding_metrics import DecidingMetrics
from tunefleet.runs.inputs import RunInputs
from tunefleet.runs.leaving import Leaving
from tunefleet.runs.run_evaluations import RunEvaluations
from tunefleet.runs.run_output import RunOutput
from tunefleet.runs.run_saves import RunSaves
from tunefleet.runs.validation import Sample


class RunCompletion:
    """Made before the first step of this start, which has `first_tokens` behind it. `complete` is collective."""

    def __init__(
        self,
        plan: Plan,
        group: ProcessGroup,
        inputs: RunInputs,
        engine: Engine,
        saves: RunSaves,
        evaluations: RunEvaluations,
        deciding: DecidingMetrics,
        leaving: Leaving,
        output: RunOutput,
        first_tokens: int,
    ) -> None:
        self._plan = plan
        self._group = group
        self._inputs = inputs
        self._engine = engine
        self._saves = saves
        self._evaluations = evaluations
        self._deciding = deciding
        self._leaving = leaving
        self._output = output
        self._first_tokens = first_tokens
        self._started = time.perf_counter()
        self.export_error: ExportError | None = None
        """Why the export of rank 0 failed, after everything else was done."""

    def complete(self, state: RunState, early: str) -> int:
        """At the last step, or where the run stops early, with that reason; returns the exit code."""
        trained = time.perf_counter() - self._started
        self._save(state)
        pulse.enter("exporting")
        failed = self._export(state)
        record, samples = self._evaluations.measure_at_end()
        pulse.enter("reporting")
        evaluation = run_summary.split_metrics(record)
        best = self._deciding.tidy(state.step, evaluation)
        with self._output.noting():
            self._evaluations.log(state, record, samples, final=True)
            if self._output.is_written:
                with pulse.solo_work("reporting"):
                    self._report(state, record, samples, trained, done=not failed)
                    self._print_outcome(state, early, best, done=not failed)
        self._leaving.leave_if_unwritten(state)
        if failed:
            self._output.write_status(State.RUNNING, state, evaluation=evaluation, best=best)
            return FAILED
        self._output.write_status(State.FINISHED, state, evaluation=evaluation, best=best, reason=early)
        return DONE

    def _save(self, state: RunState) -> None:
        pulse.enter("ending")
        self._saves.finish_background(state)
        if self._plan.config.checkpoint.at_end:
            self._saves.save(state)
            rank_signals.release("when it was trained to its end and saved: the same command does the rest")

    def _export(self, state: RunState) -> bool:
        """Whether the export failed, on every rank; then what was trained is saved, and the run says so at its end."""
        if not self._plan.config.checkpoint.export:
            return False
        outcome = final_export.export(self._plan, self._group, self._engine, self._inputs, state)
        if isinstance(outcome, ExportError):
            self.export_error = outcome
        elif outcome:
            self._output.console.print_table({"export": verify_export.summary(outcome)})
        failed = bool(self._group.agree(int(self.export_error is not None)))
        if failed and not self._plan.config.checkpoint.at_end:
            self._saves.save(state)
        return failed

    def _report(
        self, state: RunState, record: dict[str, Any], samples: Sequence[Sample], seconds: float, done: bool
    ) -> None:
        final_report.write_report(self._plan, samples)
        self._output.trackers.finish({"state": "finished" if done else "failed", **record})
        tokens = state.tokens - self._first_tokens
        final_report.print_report(self._plan, self._output.console, record, samples, seconds, tokens)

    def _print_outcome(self, state: RunState, early: str, best: dict[str, float], done: bool) -> None:
        console = self._output.console
        refused = refused_updates.summary(self._plan.paths, state.refused)
        for line in (early, refused, run_summary.best_checkpoint(self._plan, best)):
            if line:
                console.print_line(line)
        if done:
            final_report.print_places(self._plan, console, self._output.trackers.places())
            final_report.print_next_commands(self._plan, console)
