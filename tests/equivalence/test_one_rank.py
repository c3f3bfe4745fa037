"""Does every strategy and every split of the same global batch follow one trajectory? Here with one process.

Files of their own for two and four ranks, so that they can run side by side. How near is near enough: runs/check.py,
which `tunefleet check` shares.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.equivalence.table import MODELS, Case, parameters
from tests.equivalence.trajectory import followed_by, furthest, mean_of_means
from tests.plans import tiny_plan
from tests.selection import selected
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.runs.trajectory import Trajectory, rows


@pytest.fixture(scope="module")
def followed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, steps: int
) -> dict[Case, Trajectory]:
    return followed_by(1, tmp_path_factory.mktemp("one"), selected(request, "case"), steps)


@pytest.mark.parametrize("case", parameters(1), ids=str)
def test_follows_the_plain_loop(case: Case, followed: dict[Case, Trajectory], reference: dict[str, Trajectory]) -> None:
    assert furthest(case, followed, reference) == []


def test_the_reference_learns_something(reference: dict[str, Trajectory]) -> None:
    """Those that follow the whole table; the families that are only cut into stages move more slowly."""
    for name in MODELS:
        assert reference[name]["losses"][-1] < reference[name]["losses"][0] - 0.1, name
    assert all(np.isfinite(trajectory["norms"]).all() for trajectory in reference.values())


def test_control_mean_of_means_is_another_loss(tmp_path: Path, reference: dict[str, Trajectory]) -> None:
    plan = tiny_plan(tmp_path, micro_batch=1, global_batch=4)
    batches = OrderedBatches(rows(), plan.batch, 0, seed=3, pad=0, packed=True)
    wrong = mean_of_means(plan, batches.take(4))
    assert abs(wrong / reference["opt"]["losses"][0] - 1) > 1e-4
