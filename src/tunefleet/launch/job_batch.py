"""Batch of runs for SLURM: those that ask for the same, and so become one job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunefleet.config.launch import LaunchConfig
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.slurm_job import Job


@dataclass(frozen=True)
class Batch:
    """Runs that ask for the same, and so can be one array; `code` is what goes in front of PYTHONPATH."""

    job: Job
    launch: LaunchConfig
    plans: tuple[Plan, ...]
    code: Path

    @property
    def is_array(self) -> bool:
        """Whether its job is an array."""
        return len(self.plans) > 1

    @property
    def name(self) -> str:
        """The name of the job, which may have any characters."""
        first = self.plans[0].name
        return first if not self.is_array else f"{first} and {len(self.plans) - 1} more"

    def part(self, plans: Sequence[Plan], after: str | None) -> Batch:
        """Some of its runs; with `launch.array_limit` they start when the job `after` has ended."""
        if after is None or self.launch.array_limit is None:
            return replace(self, plans=tuple(plans))
        dependencies = self.job.options.get("dependency")
        dependency = f"{dependencies},afterany:{after}" if dependencies else f"afterany:{after}"
        job = replace(self.job, options={**self.job.options, "dependency": dependency})
        return replace(self, plans=tuple(plans), job=job)


def batches(plans: Sequence[Plan], code: Path) -> list[Batch]:
    """Plans for SLURM, those with equal requests together, in the order in which they came."""
    groups: dict[str, list[Plan]] = {}
    for plan in plans:
        groups.setdefault(repr((plan.job, _shared(plan.config.launch))), []).append(plan)
    return [
        Batch(_job(plans_alike[0]), plans_alike[0].config.launch, tuple(plans_alike), code)
        for plans_alike in groups.values()
    ]


def _job(plan: Plan) -> Job:
    assert plan.job is not None, "only runs with launch=slurm come here"
    return plan.job


def _shared(launch: LaunchConfig) -> tuple[object, ...]:
    """What the batch script holds of the settings beside the job's options."""
    code = launch.snapshot, launch.snapshot_untracked
    return launch.setup, launch.srun_args, launch.python, launch.array_limit, launch.signal_before, launch.access, code
