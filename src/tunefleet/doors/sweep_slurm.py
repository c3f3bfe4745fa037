"""SLURM trials: the runs of a sweep as jobs; what a site takes no more of waits for a later round."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from tunefleet.base.errors import RunError
from tunefleet.doors import submit
from tunefleet.doors.sweep_world import Trials
from tunefleet.launch.run_state import StatusReader
from tunefleet.launch.slurm import Outcome
from tunefleet.plan import Plan
from tunefleet.sweep.world import Start


class SlurmTrials(Trials):
    """Trials that ask for the same are one array."""

    def capacity(self) -> None:
        """No limit of ours."""

    def start(self, starts: Sequence[Start]) -> Mapping[str, str]:
        """Submits what the site takes; runs that cannot begin, with the reason."""
        refused: dict[str, str] = {}
        plans: list[Plan] = []
        for start in starts:
            try:
                plans.append(self.prepared(start))
            except RunError as error:
                refused[start.run.run_dir] = str(error)
        for outcome in submit.send_quietly(plans, StatusReader()):
            _report(outcome)
        return refused


def _report(outcome: Outcome) -> None:
    for part, submitted in outcome.submitted:
        array = f", an array of {len(part.plans)} runs" if len(part.plans) > 1 else f": {part.plans[0].name}"
        print(f"submitted  job {submitted.job}{array}", flush=True)
    if outcome.waiting:
        print(
            f"{len(outcome.waiting)} runs wait, not submitted: the site takes no more now ({outcome.message}). "
            "Whoever advances the sweep next submits them.",
            flush=True,
        )
    elif outcome.message:
        print(f"tunefleet: {outcome.message}", file=sys.stderr, flush=True)
