"""Training of a plan in one rank: prepares, builds, resumes, loops, evaluates, saves, exports."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from tunefleet.base import failures, files, progress, pulse, refused_updates, status, sweep_requests
from tunefleet.base.errors import DONE, FAILED, INTERRUPTED, DiskError, ExportError, NonFiniteLoss, OutOfMemory
from tunefleet.base.failures import cause_of
from tunefleet.base.status import Cause, State
from tunefleet.base.units import clock
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.config.train import OnRefusal
from tunefleet.contracts import Engine, RunState, StepResult
from tunefleet.engine.group import DataParallelGroup, ProcessGroup, join
from tunefleet.engine.hardware_check import expect_planned
from tunefleet.engine.peak_memory import peak_gib
from tunefleet.evaluation.interruption import CutShort
from tunefleet.evaluation.metrics import own_metrics
from tunefleet.launch import rank_signals
from tunefleet.launch.ending import Ending, of_stop
from tunefleet.plan.horizon import Pace
from tunefleet.plan.paths import validation_splits
from tunefleet.plan.plan import Plan
from tunefleet.runs import (
    final_export,
    final_report,
    own_callbacks,
    resume_checks,
    run_summary,
    saved_tokenizer,
    step_order,
    validation,
    verify_export,
)
from tunefleet.runs.checkpoint_files import checkpoint_store
from tunefleet.runs.deciding_metrics import DecidingMetrics
from tunefleet.runs.decoding_rules import decoding_of
from tunefleet.runs.efficiency import Efficiency
from tunefleet.runs.inputs import RunInputs, load_inputs, training_batches
from tunefleet.runs.profile import StepProfile
from tunefleet.runs.refused_steps import RefusedSteps
from tunefleet.runs.run_engine import build_engine
from tunefleet.runs.run_trackers import trackers_of_rank
from tunefleet.runs.status_writer import StatusWriter
from tunefleet.runs.step_record import step_record
from tunefleet.runs.training_clock import TrainingClock
from tunefleet.runs.validation import Sample
from tunefleet.tracking import metrics
from tunefleet.tracking.console import Console
from tunefleet.train.deadline import Deadline
from tunefleet.train.hooks import Hooks
from tunefleet.train.loop import fit
from tunefleet.train.spikes import Spikes
from tunefleet.train.stop import Reason, Stop
from tunefleet.train.update_refusals import Refusals, Rewind


def train(plan: Plan) -> int:
    """Trains to the end or to a reason to stop; returns the exit code. Every rank calls it."""
    began = time.perf_counter()
    expect_planned(plan)
    pulse.enter("reading data")
    inputs = load_inputs(plan)
    decoding_of(plan, inputs)  # raises what would otherwise be known at the end
    pulse.enter("joining")
    group = join(watched=bool(plan.config.launch.start_limit and plan.config.launch.step_limit != 0))
    pulse.enter("building the model")
    if group.rank == 0:
        saved_tokenizer.save(plan)
    try:
        engine = build_engine(plan, group, inputs)
        pulse.enter("restoring")
        store = checkpoint_store(plan, group, inputs.data.template.source, inputs.horizon.keep_every)
        run = _Run(plan, group, inputs, engine, store, began)
        code = run.train()
    except (RuntimeError, MemoryError) as error:
        if cause_of(error) is Cause.OUT_OF_MEMORY:
            raise OutOfMemory(run_summary.out_of_memory(plan, error, peak_gib())) from error
        raise
    pulse.enter("leaving")
    engine.close()
    group.destroy()
    if run.export_error:
        raise run.export_error
    return DONE if code == FAILED else code  # rank 0 says why


class _Run:
    """One rank of a running plan."""

    def __init__(
        self,
        plan: Plan,
        group: ProcessGroup,
        inputs: RunInputs,
        engine: Engine,
        store: CheckpointStore,
        began: float,
    ) -> None:
        self._plan = plan
        self._group = group
        self._copies = DataParallelGroup(group, plan.layout)
        self._inputs = inputs
        self._engine = engine
        self._store = store
        self._steps = inputs.horizon
        self._deciding = DecidingMetrics(plan, group, store)
        self._deadline = Deadline(plan.config.launch)
        self._stop = Stop(self._steps.total, plan.paths, group, self._deciding.early_stopping, self._deadline)
        restored = store.restore(engine)
        self._state = restored or RunState()
        self._saved_step = self._state.step if restored else -1
        self._save_began = began
        self._deciding.resume()
        resume_checks.expect_template(store.origin, inputs.data.template.source)
        self._is_first_rank = group.rank == 0
        self._console = Console(self._is_first_rank, self._steps.total, self._state.step, plan.paths.log(0))
        self._trackers = trackers_of_rank(plan, group.rank, self._console, self._state.step)
        self._status = StatusWriter(plan.paths, self._steps.total, began) if self._is_first_rank else None
        self._unlogged: tuple[RunState, StepResult] | None = None
        self.export_error: ExportError | None = None
        """Why the export of rank 0 failed, after everything else was done."""
        self._clock = TrainingClock(plan.paths.metrics, self._state.step)
        self._efficiency = Efficiency(plan)
        self._profile = StepProfile(plan, group.rank, self._steps.total, self._state, self._console.print_line)
        own_metrics.expect(plan.config.evaluation.own_metrics)
        self._started = time.perf_counter()
        self._first_tokens = self._state.tokens

    def train(self) -> int:
        """The run, from its first or its resumed step on; where it fails, its trackers get the reason."""
        failures.at_exit(lambda reason: self._trackers.finish({"state": "failed", "reason": reason}))
        self._announce()
        self._save_for_rewinds()
        self._evaluate_again()
        reason = None
        while reason is None:
            try:
                reason = self._fit()
            except Rewind as rewind:
                self._go_back(rewind)
        self._console.close_bar()
        self._leave_if_unwritten()
        if reason in (Reason.COMPLETE, Reason.NO_BETTER):
            return self._complete(self._deciding.early_stopping.reason if reason is Reason.NO_BETTER else "")
        return self._leave_for_sweep(reason) if reason in (Reason.RUNG, Reason.PRUNED) else self._interrupted(reason)

    def _fit(self) -> Reason:
        """Trains until there is a reason to stop. Raises what `Refusals` raises."""
        plan, group = self._plan, self._group
        spikes = Spikes(plan.config.train.spike_sigma, plan.config.train.spike_window, group)
        record = RefusedSteps(plan, group, self._inputs.data.train).record
        refusals = Refusals(plan.config.train, plan.batch.total, record)
        with closing(training_batches(plan, group, self._inputs, self._state)) as batches:
            loop = partial(fit, self._engine, batches, plan.batch.accumulation, self._state, self._stop, self._hooks())
            self._profile.before_step(self._state.step)
            try:
                self._state, reason = loop(spikes, refusals)
            except NonFiniteLoss:  # on all ranks: what is being saved is from before it
                self._note_saved(self._store.advance(wait=True))
                raise
            finally:
                self._profile.close(self._state)
                self._log_last()
        return reason

    def _save_for_rewinds(self) -> None:
        """A run that may have to go back has something to go back to, from its first step on."""
        train = self._plan.config.train
        may_rewind = train.on_non_finite is OnRefusal.REWIND or (
            train.spike_sigma and train.on_spike is OnRefusal.REWIND
        )
        if may_rewind and self._store.origin is None:
            self._save()

    def _go_back(self, rewind: Rewind) -> None:
        """To the newest checkpoint, from which the refused step is left out; on all ranks alike."""
        pulse.enter("going back")
        saved = self._store.restore(self._engine)
        assert saved is not None, "saved before the first step"
        left_out = tuple(sorted({*saved.left_out, *self._state.left_out, rewind.step.position}))
        self._state = replace(saved, left_out=left_out, refused=rewind.refused)
        self._note_order()
        self._trackers.rewind(saved.step)
        self._clock = TrainingClock(self._plan.paths.metrics, saved.step)
        self._group.barrier()  # every rank reads the evaluations that are left
        self._deciding.resume()
        self._write_status(State.RUNNING)
        if self._store.note:
            self._console.print_line(self._store.note)
        self._console.print_line(
            f"  step {rewind.step.step}: {rewind.step.refusal.reason}: back to step {saved.step}, and without its "
            "sequences from now on (batches.jsonl)"
        )

    def _hooks(self) -> Hooks:
        hooks = Hooks(self._group)
        if self._plan.config.train.profile:
            hooks.add("end of profile", Pace(steps=1), self._profile.end_step)
        hooks.add("remember", Pace(steps=1), self._remember)
        if self._plan.config.checkpoint.asynchronous:
            hooks.add("commit", Pace(steps=1), self._commit)
        hooks.add("log", self._steps.log_every, self._log)
        hooks.add("evaluate", self._steps.evaluate_every, self._evaluate)
        hooks.add("compare replicas", self._steps.check_replicas, lambda *_: self._engine.expect_equal_replicas())
        hooks.add("save", self._steps.save_every, self._save_on_cadence)
        for name, act in own_callbacks.acts(self._plan, self._group.rank).items():
            hooks.add(f"callback {name}", Pace(steps=1), act)
        if self._plan.config.train.profile:
            hooks.add("profile", Pace(steps=1), self._profile.start_next)
        return hooks

    def _announce(self) -> None:
        previous = status.read(self._plan.paths.status)
        self._deadline.save_seconds = previous.save_seconds if previous else 0.0
        self._write_status(State.RUNNING, saved_step=self._state.step)
        if self._is_first_rank:
            with self._stop.noting():
                files.write_json(self._plan.paths.data, asdict(self._inputs.data.train.card))
        self._note_order()
        self._console.print_table({**run_summary.data_rows(self._plan, self._inputs), **self._efficiency.legend})
        if self._store.note:
            self._console.print_line(self._store.note)
        if previous and previous.saved_step and not self._state.step:
            self._console.print_line(
                f"step {previous.saved_step} was saved, and {self._plan.paths.checkpoints} has no checkpoint any more: "
                "starting again from the first step"
            )
        if self._state.step:
            self._console.print_line(f"resuming from step {self._state.step}")
        for note in resume_checks.notes(self._store.origin, self._plan):
            self._console.print_line(f"note: {note}")

    def _note_order(self) -> None:
        """Writes down which sequences the steps from now on take, and by how many processes."""
        if self._is_first_rank:
            with self._stop.noting():
                step_order.begin(self._plan, self._state)

    def _remember(self, state: RunState, result: StepResult) -> None:
        self._state = state
        self._clock.add(result)
        self._deadline.step_seconds = result.seconds
        self._unlogged = (state, result)
        if result.refusal:
            self._log(state, result)
            left_out = f"left out, {state.refused} of at most {self._plan.config.train.skip_budget} (batches.jsonl)"
            self._console.print_line(f"  step {state.step}: {result.refusal.reason}: its update is {left_out}")

    def _log_last(self) -> None:
        """The last step has a record too, whatever `tracking.log_every` and however the run ends."""
        if self._unlogged:
            self._log(*self._unlogged)

    def _log(self, state: RunState, result: StepResult) -> None:
        if not self._unlogged:  # a refused step has its record whatever the cadence is
            return
        self._unlogged = None
        with self._stop.noting():
            record = step_record(self._plan, state, result, self._steps.steps_per_epoch, self._clock.seconds)
            self._trackers.log({**record, **self._efficiency.mfu(result)})
        self._write_status(
            State.RUNNING,
            **({"loss": result.loss} if math.isfinite(result.loss) else {}),
            tokens_per_second=result.tokens / result.seconds,
            seconds_left=self._console.seconds_left(state.step),
        )

    def _evaluate(self, state: RunState, result: StepResult) -> None:
        if state.step == self._steps.total:  # it is measured at the end, with answers
            return
        self._evaluate_here()

    def _evaluate_here(self) -> None:
        """Evaluates, unless the run is to leave before the end of that: then it is to be made again."""
        try:
            evaluation = self._measure()
        except CutShort:
            step = self._state.step
            self._console.print_line(f"  evaluation of step {step}: left at once, and made again when the run resumes")
            return
        if self._deciding.is_to_be_saved(self._state.step, evaluation):
            self._save_beside()

    def _evaluate_again(self) -> None:
        """Makes the evaluation on the cadence that an earlier start did not come to the end of. Collective."""
        step, every = self._state.step, self._steps.evaluate_every.steps
        if not (0 < step < self._steps.total and every and step % every == 0 and self._inputs.data.validation):
            return
        if self._group.agree(int(self._is_first_rank and not self._is_measured())):
            pulse.enter("hook evaluate")
            self._evaluate_here()
        else:
            self._deciding.catch_up(step)

    def _expect_time(self) -> None:
        """Raises `CutShort` where the run is asked to leave. Collective."""
        if self._stop.is_requested():
            raise CutShort

    def _measure(self) -> dict[str, float]:
        """What was measured, as `SPLIT/loss`. Raises `CutShort`, on all ranks, where the run is asked to leave."""
        parts = self._plan, self._engine, self._copies, self._inputs, self._expect_time
        record = validation.losses(*parts)
        samples: list[Sample] = []
        if validation_splits.answers_needed(self._plan.config):
            answered, samples = validation.of_answers(*parts)
            record |= answered
        with self._stop.noting():
            self._trackers.log({**self._axes(), **record})
            self._trackers.samples(self._state.step, final_report.shown_samples(self._plan, samples))
        evaluation = run_summary.split_metrics(record)
        self._store.measured(self._state.step, evaluation)
        self._write_status(State.RUNNING, evaluation=evaluation)
        return evaluation

    def _axes(self) -> dict[str, Any]:
        """What an evaluation is drawn against."""
        epoch = round(self._state.step / self._steps.steps_per_epoch, 6)
        seconds = round(self._clock.seconds, 6)
        return {"step": self._state.step, "epoch": epoch, "seconds": seconds, "tokens": self._state.tokens}

    def _save_on_cadence(self, state: RunState, result: StepResult) -> None:
        if state.step < self._steps.total or not self._plan.config.checkpoint.at_end:  # the end saves by itself
            self._save_beside()

    def _save_beside(self) -> None:
        """Saves; with `checkpoint.asynchronous` a copy that is written beside the next steps."""
        if not self._plan.config.checkpoint.asynchronous:
            return self._save()
        pulse.enter("saving")
        self._note_saved(self._store.advance(wait=True))
        self._save_began = time.perf_counter()
        return self._store.save_beside(self._engine, self._state)

    def _commit(self, state: RunState, result: StepResult) -> None:
        self._note_saved(self._store.advance())

    def _note_saved(self, step: int | None) -> None:
        """Writes down that the checkpoint of `step` counts."""
        if step is not None:
            self._deadline.save_seconds, self._saved_step = time.perf_counter() - self._save_began, step
            saved = {"saved_step": step, "save_seconds": self._deadline.save_seconds}
            self._write_status(State.RUNNING, **saved, best=self._deciding.best())

    def _save(self) -> None:
        """Saves, and is over when the checkpoint counts."""
        pulse.enter("saving")
        self._write_status(State.CHECKPOINTING)
        began = time.perf_counter()
        if self._plan.config.train.check_replicas:
            self._engine.expect_equal_replicas()  # what has drifted must not become a checkpoint
        with progress.during(f"saving step {self._state.step}"):
            self._store.save(self._engine, self._state)
        if self._saved_step != self._state.step:  # else there was nothing to write
            self._deadline.save_seconds, self._saved_step = time.perf_counter() - began, self._state.step
        saved = {"saved_step": self._saved_step, "save_seconds": self._deadline.save_seconds}
        self._write_status(State.RUNNING, **saved, best=self._deciding.best())

    def _leave_if_unwritten(self) -> None:
        """Where one rank could not write what it alone writes, saves and raises `DiskError` on all. Collective."""
        error = self._stop.disk_error
        messages = [message for message in self._group.gather((str(error), error.errno) if error else None) if message]
        if messages:
            self._save()  # or raises why that is not possible either
            message, number = messages[0]
            saved = f"Saved at step {self._state.step}: the same command goes on from there."
            raise DiskError(f"{message} {saved}", number, agreed=True)

    def _leave_for_sweep(self, reason: Reason) -> int:
        """Leaves at a rung, or pruned, as the run's sweep asks: saved, at a rung measured too. It can be resumed.

        In a SLURM job the end of the job writes the final state: until then another job could start beside this one.
        """
        if reason is Reason.RUNG and self._group.agree(int(self._is_first_rank and not self._is_measured())):
            try:
                self._measure()
            except CutShort:
                return self._interrupted(self._stop.reason(self._state))
        self._save()
        outcome = Ending(reason.cause, sweep_requests.prune_reason(self._plan.paths) if reason is Reason.PRUNED else "")
        self._trackers.finish({"state": outcome.state.value})
        self._write_ending(outcome)
        self._console.print_line(run_summary.left_for_sweep(self._plan, outcome, self._state.step, self._steps.total))
        return DONE

    def _is_measured(self) -> bool:
        """Whether metrics.jsonl has an evaluation of this step."""
        return any(record["step"] == self._state.step for record in metrics.evaluations(self._plan.paths.metrics))

    def _interrupted(self, reason: Reason) -> int:
        """Saves, where there is time; in a SLURM job the end of the job decides whether the run resumes by itself."""
        if self._saved_step != self._state.step and self._group.agree(int(not self._deadline.fits(reason))):
            return self._leave_unsaved(reason)
        self._save()
        self._write_ending(Ending(reason.cause, ""))
        self._trackers.finish({"state": "interrupted"})
        self._console.print_line(f"saved at step {self._state.step}; the same command resumes from there")
        return INTERRUPTED

    def _leave_unsaved(self, reason: Reason) -> int:
        """Leaves with the checkpoint that is there: half of another would be nothing."""
        text = (
            f"the last save took {clock(self._deadline.save_seconds)}, and less time is left: step {self._state.step} "
            f"is not saved, and the same command resumes from step {max(0, self._saved_step)}"
        )
        self._write_ending(Ending(reason.cause, text))
        self._console.print_line(text)
        return INTERRUPTED

    def _write_ending(self, outcome: Ending) -> None:
        """Writes the final state; in a SLURM job its end does, from the cause that stands here."""
        if self._plan.job:
            self._write_status(State.CHECKPOINTING, cause=outcome.cause, reason=outcome.reason)
            return
        outcome = of_stop(outcome, self._plan.paths.cancelled.exists())
        self._write_status(outcome.state, cause=outcome.cause, reason=outcome.reason)

    def _complete(self, early: str) -> int:
        """At the last step, or where the run stops early, with that reason."""
        trained = time.perf_counter() - self._started
        pulse.enter("ending")
        self._note_saved(self._store.advance(wait=True))
        if self._plan.config.checkpoint.at_end:
            self._save()
            rank_signals.release("when it was trained to its end and saved: the same command does the rest")
        pulse.enter("exporting")
        failed = self._export()
        pulse.enter("evaluating")
        splits = self._inputs.measured_at_end
        record = validation.losses(self._plan, self._engine, self._copies, self._inputs, splits=splits)
        pulse.enter("generating")
        answered, samples = validation.of_answers(self._plan, self._engine, self._copies, self._inputs, splits=splits)
        record |= answered
        pulse.enter("reporting")
        evaluation = run_summary.split_metrics(record)
        best = self._deciding.tidy(self._state.step, evaluation)
        with self._stop.noting():
            self._trackers.log({**self._axes(), "final": True, **record})
            self._trackers.samples(self._state.step, final_report.shown_samples(self._plan, samples))
            if self._is_first_rank:
                with pulse.solo_work("reporting"):
                    self._report(record, samples, trained, early, best, done=not failed)
        self._leave_if_unwritten()
        if failed:
            self._write_status(State.RUNNING, evaluation=evaluation, best=best)
            return FAILED
        self._write_status(State.FINISHED, evaluation=evaluation, best=best, reason=early)
        return DONE

    def _export(self) -> bool:
        """Whether the export failed, on every rank; then what was trained is saved, and the run says so at its end."""
        if not self._plan.config.checkpoint.export:
            return False
        outcome = final_export.export(self._plan, self._group, self._engine, self._inputs, self._state)
        if isinstance(outcome, ExportError):
            self.export_error = outcome
        elif outcome:
            self._console.print_table({"export": verify_export.summary(outcome)})
        failed = bool(self._group.agree(int(self.export_error is not None)))
        if failed and not self._plan.config.checkpoint.at_end:
            self._save()
        return failed

    def _report(
        self,
        record: dict[str, Any],
        samples: list[Sample],
        seconds: float,
        early: str,
        best: dict[str, float],
        done: bool,
    ) -> None:
        final_report.write_report(self._plan, samples)
        self._trackers.finish({"state": "finished" if done else "failed", **record})
        tokens = self._state.tokens - self._first_tokens
        final_report.print_report(self._plan, self._console, record, samples, seconds, tokens)
        refused = refused_updates.summary(self._plan.paths, self._state.refused)
        for line in (early, refused, run_summary.best_checkpoint(self._plan, best)):
            if line:
                self._console.print_line(line)
        if done:
            final_report.print_places(self._plan, self._console, self._trackers.places())
            final_report.print_next_commands(self._plan, self._console)

    def _write_status(self, state: State, **changes: Any) -> None:
        if self._status:
            with self._stop.noting():
                self._status.write(state, self._state, **changes)
