"""Does every strategy and every split of the same global batch follow one trajectory?

fp32: losses and gradient norms within 1e-5 relative of a plain torch loop, weights within 1e-4 of the
largest (Adam divides by tiny second moments early on, which magnifies rounding there).
bf16: within 3 %: weights and activations have 8 bits of mantissa (2^-8 = 0.4 %), errors of 20 steps add up.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.equivalence import trajectory
from tests.equivalence.table import RANKS, Case, cases
from tests.equivalence.trajectory import Trajectory
from tests.plans import tiny_plan
from tests.ranks import run_in_ranks
from tunefleet.data.order import OrderedBatches

ALL = [case for ranks in RANKS for case in cases(ranks)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trajectory]:
    folder = tmp_path_factory.mktemp("plain")
    models = sorted({case.model for case in ALL})
    return {m: trajectory.plain(tiny_plan(folder, model=m, micro_batch=4)) for m in models}


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
    ours, plain = followed[case], reference[case.model]
    tolerance = 1e-5 if case.precision == "fp32" else 0.03
    np.testing.assert_allclose(ours["losses"], plain["losses"], rtol=tolerance)
    np.testing.assert_allclose(ours["norms"], plain["norms"], rtol=tolerance * 5)
    if case.precision == "fp32":
        largest = np.abs(plain["weights"]).max()
        np.testing.assert_allclose(ours["weights"], plain["weights"], atol=1e-4 * largest, rtol=0)


def test_the_reference_learns_something(reference: dict[str, Trajectory]) -> None:
    for found in reference.values():
        assert found["losses"][-1] < found["losses"][0] - 0.1
        assert np.isfinite(found["norms"]).all()


def test_control_mean_of_means_is_another_loss(tmp_path: Path, reference: dict[str, Trajectory]) -> None:
    plan = tiny_plan(tmp_path, micro_batch=1, global_batch=4)
    batches = OrderedBatches(trajectory.data(), plan.batch, 0, seed=3, pad=0, packed=True)
    wrong = trajectory.mean_of_means(plan, batches.take(4))
    assert abs(wrong / reference["opt"]["losses"][0] - 1) > 1e-4
