"""What ranks do in the equivalence tests: every case, one engine after another; and the loss that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.equivalence.table import Case
from tests.plans import ARCHITECTURES
from tests.ranks import run_in_ranks
from tunefleet.config.train import Precision
from tunefleet.contracts import Group, MicroBatch
from tunefleet.engine.group import join
from tunefleet.model.learner import Learner
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.plan import Plan
from tunefleet.runs.strategy_check import Comparison, compare
from tunefleet.runs.trainable_model import build_model
from tunefleet.runs.trajectory import Trajectory, model, trained


def all_cases(folder: Path, argument: dict[str, Any]) -> list[Trajectory]:
    """Every one of `cases`, for `steps`, in the ranks that are there."""
    torch.set_num_threads(1)
    group = join()
    if group.rank == 0:
        for name in {case["model"] for case in argument["cases"]}:
            model(Architecture(ARCHITECTURES[name])).save_pretrained(folder / name)
    group.barrier()
    trajectories = [_trained(Case(**case), folder, group, argument["steps"]) for case in argument["cases"]]
    group.destroy()
    return trajectories


def _trained(case: Case, folder: Path, group: Group, steps: int) -> Trajectory:
    plan = case.plan(folder)
    return trained(plan, group, steps, untrained=build_model(plan, None) if case.files else None)


def followed_by(ranks: int, folder: Path, cases: Sequence[Case], steps: int) -> dict[Case, Trajectory]:
    """Cases of the table for so many ranks, which are started once."""
    argument = {"cases": [asdict(case) for case in cases], "steps": steps}
    results = run_in_ranks("tests.equivalence.trajectory:all_cases", ranks, folder, argument)
    return dict(zip(cases, results[0], strict=True))


def furthest(case: Case, followed: dict[Case, Trajectory], reference: dict[str, Trajectory]) -> list[Comparison]:
    """The quantities that are further from the plain loop than is allowed."""
    trajectories = compare(case.model, reference[case.model], followed[case], Precision(case.precision))
    return [comparison for comparison in trajectories if not comparison.is_within_tolerance]


def mean_of_means(plan: Plan, batches: Sequence[MicroBatch]) -> float:
    """The loss that a trainer gets which averages micro-batches instead of tokens; for the control."""
    learner = Learner(model(plan.sources.architecture))
    return float(np.mean([float(learner(b).detach()) / int((b.labels >= 0).sum()) for b in batches]))
