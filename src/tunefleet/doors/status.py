"""Shows how runs stand: `tunefleet status` and `ls`, and the table of `launch.wait`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from tunefleet.base import fitting
from tunefleet.base.errors import DONE, FAILED, INTERRUPTED
from tunefleet.base.fitting import Column
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status
from tunefleet.base.units import clock, count
from tunefleet.launch import settings, submission
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader

_EVERY = 2.0  # seconds between two looks


def status(runs: Sequence[Run]) -> None:
    """A card for one run, a table for several."""
    reader = StatusReader()
    found = [(run, reader.status(run.paths)) for run in runs]
    if len(found) == 1:
        print(fitting.card(_card(*found[0]), fitting.terminal_width()))
    else:
        print(_table(found))
    if reader.slurm_is_silent:
        print("SLURM did not answer: this is what the runs' own files say.")


def ls(runs: Sequence[Run], states: Sequence[State] = ()) -> None:
    """A table of the runs in any of `states`; of all where none is given."""
    reader = StatusReader()
    found = [(run, reader.status(run.paths)) for run in runs]
    print(_table([(run, now) for run, now in found if not states or (now and now.state in states)]))


def wait(runs: Sequence[RunPaths]) -> int:
    """Shows the table until every run has ended; returns the exit code. Ctrl-C leaves the jobs alone."""
    from rich.live import Live  # 0.1 s, only for those who stay
    from rich.text import Text  # a reason may hold [brackets], which rich would take for its own

    shown = [Run(run) for run in runs]
    names = " ".join(os.path.relpath(run.root) for run in runs[:3])
    try:
        with Live(auto_refresh=False, vertical_overflow="visible") as live:
            for found in _looks(shown):
                live.update(Text(_table(found)), refresh=live.console.is_terminal)
    except KeyboardInterrupt:
        print(f"\nThe jobs go on. Come back with: tunefleet status {names}")
        return INTERRUPTED
    return FAILED if any(now is None or now.state is not State.FINISHED for _, now in found) else DONE


def _looks(runs: Sequence[Run]) -> Iterator[list[tuple[Run, Status | None]]]:
    """How the runs stand, again and again, until all have ended."""
    while True:
        reader = StatusReader()
        found = [(run, reader.status(run.paths)) for run in runs]
        yield found
        if all(now and now.state.final for _, now in found):
            return
        time.sleep(_EVERY)


def _table(found: Sequence[tuple[Run, Status | None]]) -> str:
    return fitting.table(_columns(found), fitting.terminal_width()) if found else "no runs"


def _columns(found: Sequence[tuple[Run, Status | None]]) -> list[Column]:
    """What a table says of runs; the least important columns have the largest ranks."""
    states = [now for _, now in found]
    apart = settings.differences([run for run, _ in found])
    return [
        Column("run", tuple(run.name for run, _ in found)),
        Column("state", tuple(state(run, now) for run, now in found)),
        Column("step", tuple(_step(now) for now in states), 2),
        Column("loss", tuple(_number(now.loss if now else None) for now in states), 3),
        Column("evaluation", tuple(_evaluated(now) for now in states), 4),
        Column("tokens/s", tuple(_speed(now) for now in states), 7),
        Column("left", tuple(_left(now) or "-" for now in states), 5),
        Column("restarts", tuple(str(now.restarts if now else 0) for now in states), 8),
        Column("updated", tuple(_date(run, now) for run, now in found), 6),
        Column("differs", tuple(" ".join(f"{k}={v}" for k, v in one.items()) for one in apart), 1, flexible=True),
        Column("why", tuple(_shortened(_why(now)) if now else "" for now in states), 1, flexible=True),
    ]


def state(run: Run, now: Status | None) -> str:
    """The state in a word."""
    if now:
        return now.state.value
    return "unknown" if run.paths.status.exists() else "planned"


def _step(now: Status | None) -> str:
    return f"{now.step}/{now.total_steps}" if now and now.total_steps else "-"


def _speed(now: Status | None) -> str:
    return count(now.tokens_per_second) if now and now.tokens_per_second else "-"


def _left(now: Status | None) -> str:
    return clock(now.seconds_left) if now and now.seconds_left is not None and now.state.alive else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _evaluated(now: Status | None) -> str:
    """Of the first split: its loss, and the share of answers that are exact matches."""
    splits = _splits(now)
    return next(iter(splits.values())) if splits else "-"


def _splits(now: Status | None) -> dict[str, str]:
    """{split: what was measured} of the last evaluation."""
    measured = now.evaluation if now else {}
    splits = {key.rpartition("/")[0]: "" for key in measured if key.endswith("/loss")}
    matches = {split: measured.get(f"{split}/exact_match") for split in splits}
    return {
        split: f"{measured[f'{split}/loss']:.4f}" + (f" {match:.0%}" if (match := matches[split]) is not None else "")
        for split in splits
    }


def _date(run: Run, now: Status | None) -> str:
    """When the run was heard of last, in local time; of one that never started, when it was planned."""
    try:
        seconds = now.updated if now else run.paths.plan.stat().st_mtime
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OSError, ValueError, OverflowError):
        return "-"


def _why(now: Status) -> str:
    return ": ".join(part for part in (now.cause.value, now.reason) if part)


def _shortened(said: str) -> str:
    return said if len(said) <= 90 else f"{said[:87]}..."


def _card(run: Run, now: Status | None) -> dict[str, str]:
    card = {"run": run.name, "state": now.state.value if now else "planned, never started"}
    if now is None:
        return {**card, "state": f"unknown: {run.paths.status} is damaged"} if run.paths.status.exists() else card
    told = {
        "why": _why(now),
        "step": f"{now.step} of {now.total_steps}, saved at {now.saved_step}" if now.total_steps else "",
        "loss": f"{now.loss:.4f}" if now.loss is not None else "",
        **{f"  {split.replace('_', ' ')}": measured for split, measured in _splits(now).items()},
        "speed": f"{count(now.tokens_per_second)} tokens/s" if now.tokens_per_second else "",
        "left": _left(now),
        "job": _job(run, now),
        "restarts": str(now.restarts) if now.restarts else "",
        "heard": f"{clock(now.age)} ago ({_date(run, now)}), from {now.host}",
        "saved to": os.path.relpath(run.paths.root),
    }
    return {**card, **{name: value for name, value in told.items() if value}}


def _job(run: Run, now: Status) -> str:
    place = submission.place(run.paths)
    return now.job or (place.job if place else "") or ""
