"""`tunefleet check`: whether a strategy computes the right thing on this machine, in a minute or two."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefleet.base import files, text
from tunefleet.base.errors import DONE, FAILED
from tunefleet.config import RunConfig
from tunefleet.doors import compose
from tunefleet.doors.rank import prepare_environment
from tunefleet.launch import local
from tunefleet.libraries.heavy_imports import heavy_imports
from tunefleet.plan import Machine, Plan, make
from tunefleet.plan.families import tiny
from tunefleet.plan.processes.layout import layout

if TYPE_CHECKING:
    from tunefleet.runs.strategy_check import Comparison

_RANK_MODULE = "tunefleet.doors.check_rank"
_DEFAULTS = (
    "data=demo",
    "model=opt-tiny",
    "optimizer.lr=1e-3",  # three times as much magnifies the rounding of other processors tenfold in twenty steps
    "optimizer.weight_decay=0.1",
    "train.precision=fp32",
    "train.sequence_length=48",
    "checkpoint.every=null",
    "tracking=files",
)


def check(argv: Sequence[str]) -> int:
    """Trains tiny models with `OVERRIDES`, on this machine's processes, and by a plain torch loop; compares.

    Returns the exit code: 1 where a loss, a gradient norm or the weights go another way.
    """
    machine = Machine.this()
    with tempfile.TemporaryDirectory(prefix="tunefleet-check-") as folder:
        plan = make(_config(argv, machine, Path(folder)), machine)
        print(f"checking {plan.summary()['spread']}, {plan.batch}: twenty steps of tiny models against a plain loop")
        print(*(f"note: {note}" for note in plan.notes), sep="\n", flush=True)
        plan.save()
        code = local.run(plan, _RANK_MODULE)
        return _compared(plan, files.read_json(plan.paths.trajectories)) if code == DONE else code


def _config(argv: Sequence[str], machine: Machine, folder: Path) -> RunConfig:
    """What was typed, with enough processes and rows for every rank to have two micro-batches a step."""
    config = compose.from_overrides([*_DEFAULTS, *argv])
    if not (machine.gpus or config.launch.processes):
        parallel = config.parallel
        most = parallel.max_processes or max(2, parallel.tensor * parallel.pipeline * parallel.sequence)
        config = replace(config, launch=replace(config.launch, processes=most))
    copies = layout(config.parallel, config.launch, machine).data_parallel
    rows = copies * max(2, -(-4 // copies))
    model = replace(config.model, architecture=tiny.architecture(tiny.MODELS[0], config.parallel).to_json())
    train = replace(config.train, micro_batch=1, global_batch=rows)
    return replace(config, output_dir=str(folder), model=model, train=train)


def _compared(plan: Plan, trained: Mapping[str, Any]) -> int:
    prepare_environment(plan)
    with heavy_imports():
        from tunefleet.runs import strategy_check, trajectory  # torch starts here

    plain = {name: trajectory.plain(strategy_check.tiny_plan(plan, name)) for name in tiny.MODELS}
    precision = plan.config.train.precision
    comparisons = [
        comparison
        for name in plain
        for comparison in strategy_check.compare(name, plain[name], trained[name], precision)
    ]
    print(_steps(plain, trained))
    print(_table(comparisons))
    correct = all(comparison.is_within_tolerance for comparison in comparisons)
    verdict = "follows the plain loop" if correct else "DOES NOT follow the plain loop: do not train with it here"
    print(f"\n{plan.config.parallel.name} {verdict}")
    return DONE if correct else FAILED


def _steps(plain: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """The losses side by side, of every fifth step and the last."""
    last = len(next(iter(plain.values()))["losses"]) - 1
    head = ("step", *(f"{name}, {loop}" for name in plain for loop in ("plain", "here")))
    shown = [
        (str(step + 1), *(f"{losses[name]['losses'][step]:.6f}" for name in plain for losses in (plain, trained)))
        for step in sorted({*range(0, last, 5), last})
    ]
    return text.columns([head, *shown])


def _table(comparisons: Sequence[Comparison]) -> str:
    head = ("model", "quantity", "difference", "allowed", "")
    shown = [
        (
            comparison.model,
            comparison.quantity,
            f"{comparison.difference:.1e}",
            f"{comparison.allowed:.0e}",
            "right" if comparison.is_within_tolerance else "WRONG",
        )
        for comparison in comparisons
    ]
    return "\n" + text.columns([head, *shown])
