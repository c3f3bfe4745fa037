"""What ranks do in the equivalence tests: every case, one engine after another; and the loss that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.equivalence.table import Case
from tunefleet.engine.group import join
from tunefleet.model.learner import Learner
from tunefleet.plan.contracts import MicroBatch
from tunefleet.plan.plan import Plan
from tunefleet.runs.trajectory import Trajectory, model, trained


def all_cases(folder: Path, cases: Sequence[dict[str, Any]]) -> list[Trajectory]:
    """Every case, in the ranks that are there."""
    torch.set_num_threads(1)
    group = join()
    found = [trained(Case(**case).plan(folder), group) for case in cases]
    group.part()
    return found


def mean_of_means(plan: Plan, batches: Sequence[MicroBatch]) -> float:
    """The loss that a trainer gets which averages micro-batches instead of tokens; for the control."""
    learner = Learner(model(plan.sources.architecture))
    return float(np.mean([float(learner(b).detach()) / int((b.labels >= 0).sum()) for b in batches]))
