"""Starts runs again: `tunefleet resume`, `retry` and `reproduce`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tunefleet.base.errors import DONE, RunError
from tunefleet.base.status import State
from tunefleet.config.load import dump
from tunefleet.doors import compose, grid, unchanged
from tunefleet.doors.start import REPOSITORY, start
from tunefleet.doors.submit import submit
from tunefleet.launch import provenance
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader
from tunefleet.plan import Machine, Plan, contents, machine_for, make

_FAILED = (State.FAILED, State.PREEMPTED)


def resume(runs: Sequence[Run], sweep: str = "") -> int:
    """Starts saved plans again, each from its newest checkpoint; returns the largest exit code.

    Of several runs, or a `sweep`, those that are neither done nor under way, whether or not they ever started.
    """
    if len(runs) > 1:
        reader = StatusReader()
        states = [(run, _state(run, reader)) for run in runs]
        runs = [run for run, state in states if state is None or (state.final and state is not State.FINISHED)]
        others = Counter(state.value for run, state in states if run not in runs and state)
        told = "".join(f", {count} {state}" for state, count in others.items())
        print(f"{len(runs)} of {len(states)} runs to start{told}", flush=True)
    plans, code = _saved(runs)
    return max(code, _begin(plans, sweep))


def retry(
    runs: Sequence[Run], states: Sequence[State] | None = (State.FAILED, State.PREEMPTED), sweep: str = ""
) -> int:
    """Resumes those of `runs` that are in one of `states`; None means all that are not finished."""
    if states is None:
        return resume(runs, sweep)
    reader = StatusReader()
    failed = [run for run in runs if _state(run, reader) in states]
    print(f"{len(failed)} of {len(runs)} runs failed" + (": starting them again" if failed else ""), flush=True)
    plans, code = _saved(failed)
    return max(code, _begin(plans, sweep))


def _state(run: Run, reader: StatusReader) -> State | None:
    now = reader.status(run.paths)
    return now.state if now else None


def _saved(runs: Sequence[Run]) -> tuple[list[Plan], int]:
    """Their plans; one that cannot be read is named, and keeps no other from starting."""
    plans, code = [], DONE
    for run in runs:
        try:
            plans.append(Plan.read(run.paths.root))
        except RunError as error:
            print(f"tunefleet: {error}", file=sys.stderr)
            code = error.exit_code
    return plans, code


def reproduce(run: Run) -> int:
    """Composes a run's command again, says what differs from then, and runs it beside the old one.

    Raises `RunError` where the directory holds no run.
    """
    old = Plan.read(run.paths.root)
    config = compose.from_words(old.overrides, here=False)
    again = replace(config, name=_free_name(run), output_dir=str(run.paths.root.parent))
    new = unchanged.recorded(make(again, machine_for(again), old.overrides))
    then = provenance.read(run.paths.provenance)
    found = provenance.differences(then, provenance.record(REPOSITORY)) if then else []
    found += [*_changed(old, new), *contents.changes(old.contents, new.contents, new)]
    print("\n".join(["differs from then:", *(f"  {line}" for line in found)]) if found else "nothing differs from then")
    return _begin([new])


def _begin(plans: Sequence[Plan], sweep: str = "") -> int:
    """Jobs together, runs of this machine as a grid; one that cannot start does not stop the others."""
    jobs = [plan for plan in plans if plan.job]
    here = [plan for plan in plans if not plan.job]
    codes = [submit(jobs, sweep)] if jobs else []
    codes += [_start(here[0]) if len(here) == 1 else grid.resume(here)] if here else []
    return max(codes, default=DONE)


def _start(plan: Plan) -> int:
    try:
        return start(plan, Machine.this())
    except RunError as error:
        print(f"tunefleet: {error}", file=sys.stderr)
        return error.exit_code


def _free_name(run: Run) -> str:
    numbered = (f"{run.name}-again-{number}" for number in range(1, 1000))
    return next(name for name in numbered if not (run.paths.root.parent / name).exists())


def _changed(old: Plan, new: Plan) -> list[str]:
    """Settings whose values are others today: a default that was changed since, or another machine."""
    before, after = _flat(dump(old.config)), _flat(dump(new.config))
    before["processes"], after["processes"] = old.layout.world_size, new.layout.world_size
    keys = sorted({**before, **after}.keys() - {"name", "output_dir"})
    changed = [key for key in keys if before.get(key) != after.get(key)]
    return [f"{key}: {before.get(key)!r} then, {after.get(key)!r} now" for key in changed]


def _flat(values: dict[str, object], where: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= _flat(value, f"{where}{key}.") if isinstance(value, dict) else {f"{where}{key}": value}
    return found
