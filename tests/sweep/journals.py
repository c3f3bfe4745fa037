"""Sweeps that tests look at: a real journal with its definition, and run directories with real metrics."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunefleet.base import files, status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status
from tunefleet.base.sweeps import SweepPaths
from tunefleet.config.load import dump
from tunefleet.config.sweep import Direction, PrunerConfig, PrunerName, SweepConfig
from tunefleet.sweep.journal import Event, Journal
from tunefleet.tracking.metrics import MetricsFile

MEASURED = {"steps": 30, "tokens": 3000, "tokens_per_second": 500.0, "gpu_hours": 0.25, "restarts": 0}


class SweepWriter:
    """Writes a sweep as its driver does: a definition, then one event after another."""

    def __init__(self, outputs: Path, name: str = "lr-1a2b3c4d", **settings: Any) -> None:
        self.outputs = outputs
        self.paths = SweepPaths(outputs / "sweeps" / name)
        config = SweepConfig(name=name, **{"objective": {"validation/loss": Direction.MIN}, **settings})
        files.write_json(self.paths.definition, {"name": name, "folder": str(outputs.parent), "sweep": dump(config)})
        self.journal, self._trials = Journal.read(self.paths.journal), 0

    def add(self, kind: str, **data: Any) -> Event:
        """Appends an event."""
        return self.journal.append(kind, **data)

    def drawn(self, values: dict[str, str], seeds: Sequence[int] = (), words: Sequence[str] = (), **more: Any) -> int:
        """A new trial; returns its number."""
        self._trials += 1
        number = self._trials
        typed = [*words, *(f"{key}={value}" for key, value in values.items())]
        runs = [self._run(number, seed, typed) for seed in (seeds or [None])]
        self.add("drawn", **{"trial": number, "values": values, "runs": runs, "source": "sampler", **more})
        return number

    def finished(self, values: dict[str, str], *means: float, spreads: Sequence[float] = (), **more: Any) -> int:
        """A trial that ran to its end; returns its number."""
        number = self.drawn(values, **more)
        self.started(number)
        self.add("finished", trial=number, means=means, spreads=spreads or [0.0] * len(means), measured=MEASURED)
        return number

    def started(self, number: int, rung: int = 0) -> None:
        """It is to run to the end of a rung."""
        self.add("started", trial=number, rung=rung, stood={})

    def ended(self, number: int, kind: str, reason: str) -> None:
        """It was pruned, failed or was stopped."""
        self.add(kind, trial=number, reason=reason, measured=MEASURED)

    def run_dir(self, number: int, seed: int | None = None) -> Path:
        """Where a run of a trial is."""
        return self.outputs / (f"run-{number}" if seed is None else f"run-{number}-seed-{seed}")

    def _run(self, number: int, seed: int | None, typed: Sequence[str]) -> dict[str, Any]:
        overrides = [*typed, *([f"seed={seed}"] if seed is not None else [])]
        run_dir, identity = str(self.run_dir(number, seed)), f"{number:032x}{seed or 0:032x}"
        facts = {"run_dir": run_dir, "identity": identity, "seed": seed, "total_steps": 30, "world_size": 1}
        return {**facts, "overrides": overrides}


def trained(run_dir: Path, steps: int, best: float, state: State = State.FINISHED, **more: Any) -> None:
    """A run directory whose loss fell towards `best` in `steps` steps, evaluated every fifth of them."""
    paths = RunPaths(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    metrics = MetricsFile(paths.metrics, 0)
    for step in range(1, steps + 1):
        loss = best + 3 * math.exp(-step / 8) + 0.05 * math.sin(step * 7)
        record = {"step": step, "time": 1000.0 + step, "tokens": step * 100}
        metrics.log({**record, "train/loss": loss, "train/tokens_per_second": 500.0 + step})
        if step % max(1, steps // 5) == 0:
            metrics.log({"step": step, "tokens": step * 100, "evaluation/validation/loss": loss})
    metrics.finish({})
    facts = {"step": steps, "total_steps": steps, "tokens": steps * 100, "seconds": 1.0 * steps, "loss": best}
    evaluation = {"validation/loss": best}
    status.write(paths.status, Status(**{"state": state, **facts, "evaluation": evaluation, **more}))


def searched(outputs: Path, name: str = "lr_asha-1a2b3c4d", trials: int = 27, steps: int = 60) -> SweepWriter:
    """A search of three rungs that is over: a trial went on to each rung in three, one failed, a user pinned one."""
    space = {"optimizer.lr": "tag(log,interval(1e-4,1e-1))", "schedule.warmup": "0%,10%", "schedule": "cosine,wsd"}
    objective = {"validation/loss": Direction.MIN}
    card = {"question": "Which learning rate does the demo want?", "expected": "0.001 to 0.01, loss 0.4 ± 0.1"}
    writer = SweepWriter(outputs, name, space=space, objective=objective, pruner=PrunerConfig(PrunerName.ASHA), **card)
    draw = random.Random(0)
    writer.add("pinned", act="a1", values={"optimizer.lr": "0.01"}, source="pin")
    for number in range(1, trials + 1):
        lr = 10 ** draw.uniform(-4, -1)
        values = {"optimizer.lr": f"{lr:.3g}", "schedule.warmup": draw.choice(("0%", "10%"))}
        writer.drawn(values | {"schedule": draw.choice(("cosine", "wsd"))}, words=["train.max_steps=60"])
        best = 0.4 + 0.5 * abs(math.log10(lr) + 2.3) + draw.uniform(0, 0.05)
        _to_its_end(writer, number, best, steps)
    writer.add("left_out", values={"optimizer.lr": "9", "schedule": "wsd"}, reason="optimizer.lr < 1 is not so")
    writer.add("closed", reason=f"all {trials} trials have ended")
    return writer


def _to_its_end(writer: SweepWriter, number: int, best: float, steps: int) -> None:
    """A trial whose number is divisible by 3 reaches the second rung, by 9 the third; the fifth one fails."""
    last = 2 if number % 9 == 0 else 1 if number % 3 == 0 else 0
    for rung in range(last + 1):
        writer.started(number, rung)
        if number == 5:
            trained(writer.run_dir(number), 4, best, State.FAILED, reason="<b>the loss</b> became NaN at step 4")
            return writer.ended(number, "failed", "<b>the loss</b> became NaN at step 4")
        if rung < 2:
            means = [best + 1 - rung / 2]
            writer.add("rung", trial=number, rung=rung, means=means, spreads=[0.0], measured=MEASURED)
        if rung < last:
            writer.add("promoted", trial=number, rung=rung + 1)
    trained(writer.run_dir(number), steps // 3 ** (2 - last), best)
    cost = {**MEASURED, "steps": steps // 3 ** (2 - last), "gpu_hours": 0.01 * 3**last}
    if last == 2:
        writer.add("finished", trial=number, means=[best], spreads=[0.0], measured=cost)
    else:
        writer.add("pruned", trial=number, reason=f"not among the best third of rung {last}", measured=cost)
