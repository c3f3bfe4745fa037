"""Does every strategy and every split of the same global batch follow one trajectory?

How near is near enough: runs/check.py, which `tunefleet check` shares.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.equivalence.table import RANKS, Case, cases
from tests.equivalence.trajectory import mean_of_means
from tests.plans import tiny_plan
from tests.ranks import run_in_ranks
from tunefleet.config.train import Precision
from tunefleet.data.order import OrderedBatches
from tunefleet.runs.check import compare
from tunefleet.runs.trajectory import Trajectory, plain, rows

ALL = [case for ranks in RANKS for case in cases(ranks)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trajectory]:
    folder = tmp_path_factory.mktemp("plain")
    models = sorted({case.model for case in ALL})
    return {m: plain(tiny_plan(folder, model=m, micro_batch=4)) for m in models}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Trajectory]:
    found = {}
    for ranks in RANKS:
        folder = tmp_path_factory.mktemp(f"ranks{ranks}")
        asked = [asdict(case) for case in cases(ranks)]
        results = run_in_ranks("tests.equivalence.trajectory:all_cases", ranks, folder, asked)
        found |= dict(zip(cases(ranks), results[0], strict=True))
    return found


@pytest.mark.parametrize("case", ALL, ids=str)
def test_follows_the_plain_loop(case: Case, followed: dict[Case, Trajectory], reference: dict[str, Trajectory]) -> None:
    found = compare(case.model, reference[case.model], followed[case], Precision(case.precision))
    assert all(one.right for one in found), found


def test_the_reference_learns_something(reference: dict[str, Trajectory]) -> None:
    for found in reference.values():
        assert found["losses"][-1] < found["losses"][0] - 0.1
        assert np.isfinite(found["norms"]).all()


def test_control_mean_of_means_is_another_loss(tmp_path: Path, reference: dict[str, Trajectory]) -> None:
    plan = tiny_plan(tmp_path, micro_batch=1, global_batch=4)
    batches = OrderedBatches(rows(), plan.batch, 0, seed=3, pad=0, packed=True)
    wrong = mean_of_means(plan, batches.take(4))
    assert abs(wrong / reference["opt"]["losses"][0] - 1) > 1e-4
