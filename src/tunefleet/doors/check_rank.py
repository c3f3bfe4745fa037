"""Rank of `tunefleet check`: `python -m tunefleet.doors.check_rank RUN_DIRECTORY`; trains the tiny models."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tunefleet.base import files, stdio
from tunefleet.doors.rank import end_with_launcher, guarded, prepare_environment
from tunefleet.libraries.heavy_imports import heavy_imports
from tunefleet.plan.families import tiny
from tunefleet.plan.plan import Plan


def main() -> None:
    """Ends with 0 when the trajectories are written, or with the exit code of what went wrong."""
    stdio.protect()
    end_with_launcher()
    plan = Plan.read(Path(sys.argv[1]))
    prepare_environment(plan)
    sys.exit(guarded(plan, lambda: _follow(plan)))


def _follow(plan: Plan) -> int:
    with heavy_imports():
        from tunefleet.engine.group import join  # torch starts here
        from tunefleet.engine.hardware_check import expect_planned
        from tunefleet.runs import strategy_check, trajectory

    expect_planned(plan)
    group = join()
    trajectories = {name: trajectory.trained(strategy_check.tiny_plan(plan, name), group) for name in tiny.MODELS}
    if int(os.environ["RANK"]) == 0:
        files.write_json(plan.paths.trajectories, trajectories)
    group.destroy()
    return 0


if __name__ == "__main__":
    main()
