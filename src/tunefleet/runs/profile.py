"""Profile of a run: torch's profiler around the steps of `train.profile` on rank 0, and what it writes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from tunefleet.base import files, modes, pulse
from tunefleet.base.errors import ConfigError
from tunefleet.config import profile_steps
from tunefleet.contracts import RunState, StepResult
from tunefleet.plan.plan import Plan
from tunefleet.runs import profile_table


class StepProfile:
    """Profiles the steps that are still to come, once for each start; `announce` gets what was written, or why not.

    Raises `ConfigError` where the run has no such steps.
    """

    def __init__(self, plan: Plan, rank: int, total: int, state: RunState, announce: Callable[[str], None]) -> None:
        text = plan.config.train.profile
        if text and (complaint := profile_steps.outside(text, total)):
            raise ConfigError(complaint)
        self._plan = plan
        self._announce = announce
        self._steps = profile_steps.parse(text) if text and rank == 0 else None
        self._profiler: profile | None = None
        if self._steps and state.step >= self._steps[1]:
            announce(f"profile: steps {text} were done in an earlier start; nothing is profiled")
            self._steps = None

    def before_step(self, done: int) -> None:
        """Begins where the step after `done` is the first of those that are left."""
        if self._steps is None or self._profiler or not self._steps[0] <= done + 1 <= self._steps[1]:
            return
        activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * torch.cuda.is_available()]
        self._profiler = profile(activities=activities)
        self._first = done + 1
        self._profiler.start()
        self._began = time.perf_counter()

    def start_next(self, state: RunState, result: StepResult) -> None:
        """After everything else that is done between two steps."""
        self.before_step(state.step)

    def end_step(self, state: RunState, result: StepResult) -> None:
        """Before everything else that is done between two steps; ends after the last one, and writes."""
        if self._profiler and self._steps and state.step >= self._steps[1]:
            self._finish(state.step)

    def close(self, state: RunState) -> None:
        """Ends early, where the run stops on its way."""
        if self._profiler and state.step >= self._first:
            self._finish(state.step)
        elif self._profiler:
            self._profiler.stop()
            self._profiler = None

    def _finish(self, last: int) -> None:
        profiler, self._profiler, self._steps = self._profiler, None, None
        assert profiler is not None
        seconds = time.perf_counter() - self._began
        profiler.stop()
        with pulse.solo_work("writing the profile"):
            try:
                self._write(profiler, last, seconds)
            except (OSError, RuntimeError) as error:  # the run is worth more than its profile
                self._announce(f"profile: not written: {error}")

    def _write(self, profiler: Any, last: int, seconds: float) -> None:
        folder = self._plan.paths.profile
        modes.make(folder)
        stem = f"steps-{self._first}-{last}"
        profiler.export_chrome_trace(str(folder / f"{stem}.trace.json.gz"))
        table = profile_table.tabulate(profiler, self._first, last, seconds)
        files.write_text(folder / f"{stem}.json", json.dumps(table, indent=2) + "\n")
        files.write_text(folder / f"{stem}.txt", profile_table.as_text(table))
        self._announce(f"profile of steps {self._first} to {last}: {folder / f'{stem}.txt'}; the trace lies beside it")
