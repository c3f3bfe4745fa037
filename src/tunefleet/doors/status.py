"""`tunefleet status` and `ls`: the state of runs, and the table of `launch.wait`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from tunefleet.base import fitting, refused_updates
from tunefleet.base.errors import DONE, FAILED, INTERRUPTED
from tunefleet.base.fitting import Column
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status
from tunefleet.base.units import clock, count
from tunefleet.config.evaluation import VALUES_OF, metric_text
from tunefleet.launch import settings, submission
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader

INTERVAL = 2.0  # seconds between two looks


def status(runs: Sequence[Run]) -> None:
    """A card for one run, a table for several."""
    reader = StatusReader()
    statuses = [(run, reader.status(run.paths)) for run in runs]
    if len(statuses) == 1:
        print(fitting.card(_card(*statuses[0]), fitting.terminal_width()))
    else:
        print(_table(statuses))
    if reader.slurm_is_silent:
        print("SLURM did not answer: this is what the runs' own files say.")


def ls(runs: Sequence[Run], states: Sequence[State] = ()) -> None:
    """A table of the runs in any of `states`; of all where none is given."""
    reader = StatusReader()
    statuses = [(run, reader.status(run.paths)) for run in runs]
    print(
        _table(
            [
                (run, run_status)
                for run, run_status in statuses
                if not states or (run_status and run_status.state in states)
            ]
        )
    )


def wait(runs: Sequence[RunPaths]) -> int:
    """Shows the table until every run has ended; returns the exit code. Ctrl-C leaves the jobs alone."""
    from rich.console import Console  # 0.1 s, only for those who stay
    from rich.live import Live
    from rich.text import Text  # a reason may hold [brackets], which rich would take for its own

    shown = [Run(run) for run in runs]
    names = " ".join(os.path.relpath(run.root) for run in runs[:3])
    console = Console(force_terminal=sys.stdout.isatty())
    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            for statuses in _looks(shown):
                live.update(Text(_table(statuses)), refresh=live.console.is_terminal)
    except KeyboardInterrupt:
        print(f"\nThe jobs keep running. Come back with: tunefleet status {names}")
        return INTERRUPTED
    return FAILED if any(run_status is None or not run_status.state.ended_well for _, run_status in statuses) else DONE


def _looks(runs: Sequence[Run]) -> Iterator[list[tuple[Run, Status | None]]]:
    """How the runs stand, again and again, until all have ended."""
    while True:
        reader = StatusReader()
        statuses = [(run, reader.status(run.paths)) for run in runs]
        yield statuses
        if all(run_status and run_status.state.final for _, run_status in statuses):
            return
        time.sleep(INTERVAL)


def _table(statuses: Sequence[tuple[Run, Status | None]]) -> str:
    return fitting.table(_columns(statuses), fitting.terminal_width()) if statuses else "no runs"


def _columns(statuses: Sequence[tuple[Run, Status | None]]) -> list[Column]:
    """The columns of the table of runs; the least important columns have the largest ranks."""
    states = [run_status for _, run_status in statuses]
    differences = settings.differences([run for run, _ in statuses])
    return [
        Column("run", tuple(run.name for run, _ in statuses)),
        Column("state", tuple(state(run, run_status) for run, run_status in statuses)),
        Column("step", tuple(_step(run_status) for run_status in states), 2),
        Column("loss", tuple(_number(run_status.loss if run_status else None) for run_status in states), 3),
        Column("evaluation", tuple(_evaluated(run_status) for run_status in states), 4),
        Column("tokens/s", tuple(_speed(run_status) for run_status in states), 7),
        Column("left", tuple(_time_left(run_status) or "-" for run_status in states), 5),
        Column("restarts", tuple(str(run_status.restarts if run_status else 0) for run_status in states), 8),
        Column("updated", tuple(_date(run, run_status) for run, run_status in statuses), 6),
        Column(
            "differs",
            tuple(" ".join(f"{k}={v}" for k, v in settings_of_run.items()) for settings_of_run in differences),
            1,
            flexible=True,
        ),
        Column(
            "reason",
            tuple(_shortened(_reason(run_status) or run_status.note) if run_status else "" for run_status in states),
            1,
            flexible=True,
        ),
    ]


def state(run: Run, run_status: Status | None) -> str:
    """The state as one word."""
    if run_status:
        return run_status.state.value
    return "unknown" if run.paths.status.exists() else "planned"


def _step(run_status: Status | None) -> str:
    return f"{run_status.step}/{run_status.total_steps}" if run_status and run_status.total_steps else "-"


def _speed(run_status: Status | None) -> str:
    return count(run_status.tokens_per_second) if run_status and run_status.tokens_per_second else "-"


def _time_left(run_status: Status | None) -> str:
    return (
        clock(run_status.seconds_left)
        if run_status and run_status.seconds_left is not None and run_status.state.alive
        else ""
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _evaluated(run_status: Status | None) -> str:
    """Of the first split: its loss, and the first metric of its answers."""
    splits = _splits(run_status)
    return next(iter(splits.values())) if splits else "-"


def _splits(run_status: Status | None) -> dict[str, str]:
    """{split: what was measured} of the last evaluation."""
    measured = run_status.evaluation if run_status else {}
    splits = {key.rpartition("/")[0]: "" for key in measured if key.endswith("/loss")}
    return {split: f"{measured[f'{split}/loss']:.4f}{_first_metric(measured, split)}" for split in splits}


def _first_metric(measured: Mapping[str, float], split: str) -> str:
    """` 81%` of exact matches, ` accuracy 92.0%`; empty where no answers were measured."""
    if (match := measured.get(f"{split}/exact_match")) is not None:
        return f" {match:.0%}"
    present = (name for names in VALUES_OF.values() for name in names if f"{split}/{name}" in measured)
    return next((f" {metric_text(name, measured[f'{split}/{name}'])}" for name in present), "")


def _date(run: Run, run_status: Status | None) -> str:
    """The last update, in local time; of one that never started, when it was planned."""
    try:
        seconds = run_status.updated if run_status else run.paths.plan.stat().st_mtime
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OSError, ValueError, OverflowError):
        return "-"


def _reason(run_status: Status) -> str:
    return ": ".join(part for part in (run_status.cause.value, run_status.reason) if part)


def _shortened(reason: str) -> str:
    return reason if len(reason) <= 90 else f"{reason[:87]}..."


def _card(run: Run, run_status: Status | None) -> dict[str, str]:
    card = {"run": run.name, "state": run_status.state.value if run_status else "planned, never started"}
    if run_status is None:
        return {**card, "state": f"unknown: {run.paths.status} is damaged"} if run.paths.status.exists() else card
    lines = {
        "reason": _reason(run_status),
        "note": run_status.note,
        "step": f"{run_status.step} of {run_status.total_steps}, saved at {run_status.saved_step}"
        if run_status.total_steps
        else "",
        "refused": refused_updates.summary(run.paths, run_status.refused),
        "loss": f"{run_status.loss:.4f}" if run_status.loss is not None else "",
        **{f"  {split.replace('_', ' ')}": measured for split, measured in _splits(run_status).items()},
        "best": _best(run_status),
        "speed": f"{count(run_status.tokens_per_second)} tokens/s" if run_status.tokens_per_second else "",
        "left": _time_left(run_status),
        "job": _job(run, run_status),
        "restarts": str(run_status.restarts) if run_status.restarts else "",
        "last update": f"{clock(run_status.age)} ago ({_date(run, run_status)}), from {run_status.host}",
        "saved to": os.path.relpath(run.paths.root),
    }
    return {**card, **{name: value for name, value in lines.items() if value}}


def _best(run_status: Status) -> str:
    """The best checkpoint that is there, where best ones are kept or some were measured."""
    metrics = [f"{name} {value:.4f}" for name, value in run_status.best.items() if name != "step"]
    return f"saved at step {run_status.best.get('step', 0):g}, {metrics[0]}" if metrics else ""


def _job(run: Run, run_status: Status) -> str:
    place = submission.place(run.paths)
    return run_status.job or (place.job if place else "") or ""
