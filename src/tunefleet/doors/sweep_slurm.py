"""SLURM trials: the runs of a sweep as jobs; what a site takes no more of waits for a later round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunefleet.base.errors import RunError
from tunefleet.doors import submit
from tunefleet.doors.sweep_world import Trials
from tunefleet.launch.run_state import StatusReader
from tunefleet.launch.slurm import Earlier, Outcome
from tunefleet.plan import Plan
from tunefleet.sweep.world import Start


class SlurmTrials(Trials):
    """Trials that ask for the same are one array."""

    def capacity(self) -> None:
        """No limit of ours."""

    def start(self, starts: Sequence[Start]) -> Mapping[str, str]:
        """Submits what the site takes; runs that cannot begin, with the reason.

        Raises `RunError` where SLURM refuses a job: its trials wait as they stood, because none of them is at fault.
        """
        refused: dict[str, str] = {}
        plans: list[Plan] = []
        for start in starts:
            try:
                plans.append(self.prepared(start))
            except RunError as error:
                refused[start.run.run_dir] = str(error)
        earlier = {plan.run_dir: Earlier.read(plan) for plan in plans}
        outcomes = submit.send_quietly(plans, StatusReader())
        for outcome in outcomes:
            _report(outcome)
            for plan in outcome.refused:
                earlier[plan.run_dir].restore()
        if not_taken := [plan for outcome in outcomes for plan in outcome.refused]:
            messages = "; ".join(dict.fromkeys(outcome.message for outcome in outcomes if outcome.refused))
            raise RunError(
                f"{messages}. {len(not_taken)} runs wait, and none has failed. Once that is mended: "
                f"tunefleet sweep advance {self._definition.name}"
            )
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
