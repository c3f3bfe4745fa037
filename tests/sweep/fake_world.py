"""World for tests of the driver: its runs outlive every driver; what they measure is in files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tunefleet.base.errors import ConfigError
from tunefleet.base.status import Cause, State, Status
from tunefleet.sweep.study import Study, TrialRun
from tunefleet.sweep.world import Start

STEPS = 8


@dataclass
class Run:
    """A run of the world: how it stands, where it pauses, and its settings."""

    status: Status
    until: int | None
    loss: float
    begun: int = 1


@dataclass
class FakeWorld:
    """`before` is called ahead of every effect, and may raise: there the driver dies."""

    folder: Path
    slots: int = 3
    before: Callable[[], None] = lambda: None
    runs: dict[str, Run] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    dropped: set[str] = field(default_factory=set)
    clock: Any = field(default_factory=lambda: itertools.count(1))

    def refresh(self) -> None:
        """Nothing is remembered."""

    def lookup(self, values: Mapping[str, str]) -> Any:
        return {"train.max_steps": STEPS}.get

    def plan(self, values: Mapping[str, str], seed: int | None, warm_from: TrialRun | None) -> Any:
        if values.get("optimizer.lr") in self.refused:
            raise ConfigError("optimizer.lr: refused by the plan")
        name = "-".join([*(f"{key}={value}" for key, value in sorted(values.items())), f"{seed}"])
        name += f"-from-{Path(warm_from.run_dir).name}" if warm_from else ""
        overrides = tuple(f"{key}={value}" for key, value in values.items())
        train = SimpleNamespace(max_steps=STEPS)
        return SimpleNamespace(
            run_dir=str(self.folder / name),
            identity=name,
            overrides=overrides,
            config=SimpleNamespace(train=train),
            layout=SimpleNamespace(world_size=1),
            parameters=None,
        )

    def finished(self, plan: Any) -> str | None:
        run = self.runs.get(plan.run_dir)
        return plan.run_dir if run and run.status.state is State.FINISHED else None

    def capacity(self) -> int:
        return self.slots

    def status(self, run_dir: str) -> Status | None:
        return self.runs[run_dir].status if run_dir in self.runs else None

    def start(self, starts: Sequence[Start]) -> Mapping[str, str]:
        for start in starts:
            if len(self.live) >= self.slots:
                break
            self.before()
            self._begin(start)
        return {}

    def prune(self, run_dir: str, reason: str) -> None:
        self.before()
        self.move(run_dir, State.PRUNED, Cause.PRUNED, reason=reason)

    def stop(self, run_dir: str) -> None:
        self.before()
        self.move(run_dir, State.CANCELLED, Cause.CANCELLED, reason="cancelled by the user")

    def drop_checkpoints(self, run_dir: str) -> None:
        self.dropped.add(run_dir)

    def record(self, study: Study) -> None:
        self.before()

    # What happens there

    @property
    def live(self) -> list[str]:
        """The directories of the runs that are going."""
        return [run_dir for run_dir, run in self.runs.items() if run.status.state is State.RUNNING]

    def move(self, run_dir: str, state: State, cause: Cause = Cause.NONE, **changes: Any) -> None:
        run = self.runs[run_dir]
        run.status = replace(run.status, state=state, cause=cause, updated=float(next(self.clock)), **changes)

    def reach(self, run_dir: str) -> None:
        """The run trains to where it was asked to, and writes its metrics."""
        run = self.runs[run_dir]
        step = run.until or STEPS
        records = [{"step": n, "evaluation/validation/loss": run.loss + 1 / n} for n in range(1, step + 1)]
        Path(run_dir).mkdir(parents=True, exist_ok=True)
        Path(run_dir, "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        self.move(run_dir, State.PAUSED if run.until else State.FINISHED, step=step, seconds=float(step))

    def _begin(self, start: Start) -> None:
        run_dir = start.run.run_dir
        run = self.runs.get(run_dir)
        if run is None:
            loss = float(dict(word.split("=", 1) for word in start.run.overrides)["optimizer.lr"])
            self.runs[run_dir] = Run(Status(State.RUNNING, updated=float(next(self.clock))), start.until, loss)
            return
        assert run.status.state not in (State.RUNNING, State.FINISHED), f"{run_dir} is started twice"
        run.until, run.begun = start.until, run.begun + 1
        self.move(run_dir, State.RUNNING)
