"""`tunefleet resume`, `retry` and `reproduce`: start runs again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tunefleet.base import sweep_requests
from tunefleet.base.errors import DONE, RunError
from tunefleet.base.status import State
from tunefleet.config import RunConfig
from tunefleet.config.load import dump, leaves
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

    A run that is paused or pruned trains on to its end. Of several runs, or a `sweep`, those are left to their sweep:
    what starts is neither done nor running, whether or not it ever started.
    """
    if len(runs) > 1:
        reader = StatusReader()
        states = [(run, _state(run, reader)) for run in runs]
        runs = [run for run, state in states if state is None or (state.final and not state.ended_well)]
        skipped = Counter(state.value for run, state in states if run not in runs and state)
        counts = "".join(f", {count} {state}" for state, count in skipped.items())
        print(f"{len(runs)} of {len(states)} runs to start{counts}", flush=True)
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
    run_status = reader.status(run.paths)
    return run_status.state if run_status else None


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
    """Composes a run's command again, prints what differs from then, and runs it beside the old one.

    Raises `RunError` where the directory holds no run.
    """
    old = Plan.read(run.paths.root)
    config = compose.from_overrides(old.overrides, with_project_conf=False)
    renamed = replace(config, name=_free_name(run), output_dir=str(run.paths.root.parent))
    new = unchanged.recorded(make(renamed, machine_for(renamed), old.overrides))
    recorded = provenance.read(run.paths.provenance)
    changes = provenance.differences(recorded, provenance.record(REPOSITORY)) if recorded else []
    changes += [*_changed(old, new), *contents.changes(old.contents, new.contents, new)]
    print(
        "\n".join(["differs from then:", *(f"  {line}" for line in changes)])
        if changes
        else "nothing differs from then"
    )
    return _begin([new])


def _begin(plans: Sequence[Plan], sweep: str = "") -> int:
    """Jobs together, runs of this machine as a grid; one that cannot start does not stop the others."""
    for plan in plans:
        sweep_requests.withdraw(plan.paths)
    jobs = [plan for plan in plans if plan.job]
    local = [plan for plan in plans if not plan.job]
    folders = dict.fromkeys(plan.paths.root.parent for plan in jobs)
    codes = [submit([plan for plan in jobs if plan.paths.root.parent == folder], sweep) for folder in folders]
    codes += [_start(local[0]) if len(local) == 1 else grid.resume(local)] if local else []
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
    values_then, values_now = _settings(old.config), _settings(new.config)
    values_then["processes"], values_now["processes"] = old.layout.world_size, new.layout.world_size
    keys = sorted({**values_then, **values_now}.keys() - {"name", "output_dir"})
    changed = [key for key in keys if values_then.get(key) != values_now.get(key)]
    return [f"{key}: {values_then.get(key)!r} then, {values_now.get(key)!r} now" for key in changed]


def _settings(config: RunConfig) -> dict[str, object]:
    return {key: value for key, value in leaves(dump(config)) if value != {}}
