"""Trial planner: from the values of a point to its plan, composed as the sweep began."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.types import RunMode

from tunefleet.base.errors import ConfigError, RunError
from tunefleet.config import RunConfig
from tunefleet.config.load import dump
from tunefleet.doors import arguments, compose
from tunefleet.doors.hydra_loader import Loader
from tunefleet.doors.plan import shortfalls
from tunefleet.doors.points import Points
from tunefleet.plan import Machine, Plan, make
from tunefleet.plan.choose import fit_check
from tunefleet.plan.writable import expect_writable
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.point_filter import Lookup, settings_of
from tunefleet.sweep.space import Axis, Space
from tunefleet.sweep.study import TrialRun


class TrialPlanner:
    """Composes once for each choice of groups; the values of a point are set on that."""

    def __init__(self, definition: Definition, machine: Machine | None = None) -> None:
        self._definition = definition
        self._machine = machine or definition.machine
        self._planned: dict[str, Plan] = {}

    def plan(self, values: Mapping[str, str], seed: int | None, warm_from: TrialRun | None) -> Plan:
        """The plan of one run of a point. Raises `ConfigError` with every complaint."""
        texts = [f"{key}={value}" for key, value in values.items()]
        texts += [] if seed is None else [f"seed={seed}"]
        texts += [] if warm_from is None else [f"train.start_from={warm_from.run_dir}"]
        plan = self._plan(texts)
        self._planned[plan.run_dir] = plan
        return plan

    def lookup(self, values: Mapping[str, str]) -> Lookup:
        """The settings of a point, composed when the first of them is asked for, which raises `ConfigError`."""

        @cache
        def settings() -> Lookup:
            with self._in_folder():
                return settings_of(self._compose([f"{key}={value}" for key, value in values.items()]))

        return lambda name: settings()(name)

    def saved(self, run: TrialRun) -> Plan:
        """The plan of a run, as saved, or made again. Raises `RunError` where that would be another run."""
        folder = Path(run.run_dir)
        if (folder / "plan.json").exists():
            return Plan.read(folder)
        if run.run_dir in self._planned:
            return self._planned.pop(run.run_dir)
        recorded = len(self._arguments.recorded(self._fixed))
        plan = self._plan(run.overrides[recorded:])
        if plan.identity != run.identity:
            raise RunError(
                f"{folder.name}: planned again it would be another run: the configuration has changed since."
            )
        return plan

    def settings(self, space: Space) -> dict[str, Any]:
        """The settings that trials begin with, by choice of a searched group; "" is without any."""
        groups = self._loader.choices_by_group()
        choices = [text for axis in space.axes for text in _texts(axis) if text.partition("=")[0] in groups]
        return {text: dump(self._compose([text] if text else [])) for text in ["", *choices]}

    def _plan(self, texts: Sequence[str]) -> Plan:
        with self._in_folder():
            texts = [*texts, *self._tracking(texts)]
            config = self._compose(texts)
            plan = make(config, self._machine, self._arguments.recorded([*self._fixed, *texts]))
            fit_check.expect_fit(plan, self._machine)
            expect_writable(plan)
            self._expect_fit_elsewhere(config)
        return plan

    def _expect_fit_elsewhere(self, config: RunConfig) -> None:
        """Raises `ConfigError` where a point does not fit the machine that the sweep is meant for."""
        machine = self._definition.sweep.fits
        if machine and (lacking := shortfalls(config, machine)):
            raise ConfigError(f"sweep.fits: does not fit {machine}: {lacking}.")

    def _tracking(self, texts: Sequence[str]) -> list[str]:
        """Trials are one group of the tracker's, each named by what differs, unless the user named them."""
        base = self._base.tracking
        named = {text.partition("=")[0] for text in texts}
        label = QuotedString(" ".join(texts), Quote.double).with_quotes()
        group = [] if base.group or "tracking.group" in named else [f"tracking.group={self._definition.name}"]
        return group + ([] if base.run_name or "tracking.run_name" in named else [f"tracking.run_name={label}"])

    @cached_property
    def _base(self) -> RunConfig:
        return self._compose([])

    def _compose(self, texts: Sequence[str]) -> RunConfig:
        return self._points.point([*self._fixed, *texts])

    @cached_property
    def _points(self) -> Points:
        name = self._arguments.config_name
        return Points(self._loader, lambda groups: self._loader.load_configuration(name, groups, RunMode.RUN))

    @cached_property
    def _arguments(self) -> arguments.Arguments:
        return arguments.parse(self._definition.overrides, with_project_conf=False)

    @cached_property
    def _fixed(self) -> list[str]:
        return [text for text in self._arguments.overrides if not text.startswith("hydra.searchpath=")]

    @cached_property
    def _loader(self) -> Loader:
        return compose.opened(self._arguments)

    def _in_folder(self) -> contextlib.AbstractContextManager[None]:
        """Relative paths mean what they meant where the sweep began. Raises `RunError` where that folder is gone."""
        if not Path(self._definition.folder).is_dir():
            raise RunError(
                f"{self._definition.name}: began in {self._definition.folder}, which is not there (any more)."
            )
        return contextlib.chdir(self._definition.folder)


def _texts(axis: Axis) -> list[str]:
    """What its values set, a text each; of an interval nothing, which no group can be."""
    texts = getattr(axis.dimension, "texts", ())
    return [f"{key}={value}" for text in texts for key, value in axis.values(text).items()]
