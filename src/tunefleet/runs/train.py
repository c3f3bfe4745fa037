"""Training of a plan in one rank: prepares, builds, resumes, loops; what else a run does has files of its own."""

from __future__ import annotations

import time
from contextlib import closing

from tunefleet.base import failures, pulse
from tunefleet.base.errors import DONE, FAILED, NonFiniteLoss, OutOfMemory
from tunefleet.base.failures import cause_of
from tunefleet.base.status import Cause
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import Engine, RunState, StepResult
from tunefleet.engine.group import ProcessGroup, join
from tunefleet.engine.hardware_check import expect_planned
from tunefleet.engine.peak_memory import peak_gib
from tunefleet.evaluation.metrics import own_metrics
from tunefleet.plan.horizon import Pace
from tunefleet.plan.plan import Plan
from tunefleet.runs import own_callbacks, resume_checks, run_summary, saved_tokenizer
from tunefleet.runs.announcement import announce
from tunefleet.runs.checkpoint_files import checkpoint_store
from tunefleet.runs.deciding_metrics import DecidingMetrics
from tunefleet.runs.decoding_rules import decoding_of
from tunefleet.runs.efficiency import Efficiency
from tunefleet.runs.inputs import RunInputs, load_inputs, training_batches
from tunefleet.runs.leaving import Leaving
from tunefleet.runs.profile import StepProfile
from tunefleet.runs.refused_steps import RefusedSteps
from tunefleet.runs.rewinds import Rewinds, may_rewind
from tunefleet.runs.run_completion import RunCompletion
from tunefleet.runs.run_engine import build_engine
from tunefleet.runs.run_evaluations import RunEvaluations
from tunefleet.runs.run_output import RunOutput
from tunefleet.runs.run_saves import RunSaves
from tunefleet.runs.step_log import StepLog
from tunefleet.runs.training_clock import TrainingClock
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
    if run.completion.export_error:
        raise run.completion.export_error
    return DONE if code == FAILED else code  # rank 0 says why


class _Run:
    """One rank of a running plan: its parts, and the loop."""

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
        self._inputs = inputs
        self._engine = engine
        self._store = store
        self._steps = steps = inputs.horizon
        self._deciding = deciding = DecidingMetrics(plan, group, store)
        deadline = Deadline(plan.config.launch)
        self._stop = stop = Stop(steps.total, plan.paths, group, deciding.early_stopping, deadline)
        restored = store.restore(engine)
        state = restored or RunState()
        deciding.resume()
        resume_checks.expect_template(store.origin, inputs.data.template.source)
        self._output = output = RunOutput(plan, group.rank, steps.total, state.step, began, stop.noting)
        clock = TrainingClock(plan.paths.metrics, state.step)
        self._efficiency = Efficiency(plan)
        self._profile = StepProfile(plan, group.rank, steps.total, state, output.console.print_line)
        own_metrics.expect(plan.config.evaluation.own_metrics)
        saved_step = state.step if restored else -1
        self._saves = RunSaves(plan, engine, store, deadline, output, deciding.best, saved_step)
        self._log = StepLog(plan, state, steps.steps_per_epoch, clock, deadline, self._efficiency, output)
        self._evaluations = RunEvaluations(plan, group, inputs, engine, stop, clock, deciding, output)
        self._rewinds = Rewinds(group, engine, store, clock, deciding, output)
        self._leaving = Leaving(plan, group, stop, deadline, self._saves, self._evaluations, output, steps.total)
        self.completion = RunCompletion(
            plan, group, inputs, engine, self._saves, self._evaluations, deciding, self._leaving, output, state.tokens
        )

    def train(self) -> int:
        """The run, from its first or its resumed step on; where it fails, its trackers get the reason."""
        failures.at_exit(lambda reason: self._output.trackers.finish({"state": "failed", "reason": reason}))
        self._begin(self._log.state)
        reason = None
        while reason is None:
            try:
                reason = self._fit(self._log.state)
            except Rewind as rewind:
                self._log.state = self._rewinds.go_back(rewind, self._log.state)
                self._saves.saved_step = self._log.state.step
        self._output.console.close_bar()
        state = self._log.state
        self._leaving.leave_if_unwritten(state)
        if reason in (Reason.COMPLETE, Reason.NO_BETTER):
            early = self._deciding.early_stopping.reason if reason is Reason.NO_BETTER else ""
            return self.completion.complete(state, early)
        return self._leaving.leave(reason, state)

    def _begin(self, state: RunState) -> None:
        """What comes before the first step of this start."""
        announce(self._plan, self._inputs, self._store, state, self._output, self._efficiency.legend)
        if may_rewind(self._plan.config.train) and self._store.origin is None:
            self._saves.save(state)  # to go back to, from the first step on
        if self._evaluations.make_up(state):
            self._saves.save_beside(state)

    def _fit(self, state: RunState) -> Reason:
        """Trains until there is a reason to stop. Raises what `Refusals` raises."""
        plan, group = self._plan, self._group
        spikes = Spikes(plan.config.train.spike_sigma, plan.config.train.spike_window, group)
        record = RefusedSteps(plan, group, self._inputs.data.train).record
        refusals = Refusals(plan.config.train, plan.batch.total, record)
        with closing(training_batches(plan, group, self._inputs, state)) as batches:
            hooks = self._hooks()
            self._profile.before_step(state.step)
            try:
                _, reason = fit(
                    self._engine, batches, plan.batch.accumulation, state, self._stop, hooks, spikes, refusals
                )
            except (NonFiniteLoss, Rewind):  # on all ranks: what is being saved is from before it
                self._saves.finish_background(self._log.state)
                raise
            finally:
                self._profile.close(self._log.state)
                self._log.log_last()
        return reason

    def _hooks(self) -> Hooks:
        hooks = Hooks(self._group)
        if self._plan.config.train.profile:
            hooks.add("end of profile", Pace(steps=1), self._profile.end_step)
        hooks.add("remember", Pace(steps=1), self._log.remember)
        if self._plan.config.checkpoint.asynchronous:
            hooks.add("commit", Pace(steps=1), self._saves.commit)
        hooks.add("log", self._steps.log_every, self._log.log)
        hooks.add("evaluate", self._steps.evaluate_every, self._evaluate)
        hooks.add("compare replicas", self._steps.check_replicas, lambda *_: self._engine.expect_equal_replicas())
        hooks.add("save", self._steps.save_every, self._save)
        for name, act in own_callbacks.acts(self._plan, self._group.rank).items():
            hooks.add(f"callback {name}", Pace(steps=1), act)
        if self._plan.config.train.profile:
            hooks.add("profile", Pace(steps=1), self._profile.start_next)
        return hooks

    def _evaluate(self, state: RunState, result: StepResult) -> None:
        """The last step is measured at the end, with answers."""
        if state.step != self._steps.total and self._evaluations.evaluate(state):
            self._saves.save_beside(state)

    def _save(self, state: RunState, result: StepResult) -> None:
        """After the last step the end saves by itself."""
        if state.step < self._steps.total or not self._plan.config.checkpoint.at_end:
            self._saves.save_beside(state)
