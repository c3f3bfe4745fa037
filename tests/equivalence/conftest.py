"""What every number of ranks is compared with: the plain loop of each model."""

from __future__ import annotations

import pytest

from tests.equivalence.table import RANKS, cases
from tests.plans import tiny_plan
from tunefleet.runs.trajectory import STEPS, Trajectory, plain

STEPS_OF_MAKE_TEST = 10  # the rate has warmed up in three and decays; all that is compared has been updated ten times


@pytest.fixture(scope="session")
def steps(request: pytest.FixtureRequest) -> int:
    """Of each trajectory: all twenty where exhaustive cases are followed too (`make test-all`)."""
    return STEPS_OF_MAKE_TEST if request.config.getoption("markexpr") else STEPS


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, steps: int) -> dict[str, Trajectory]:
    folder = tmp_path_factory.mktemp("plain")
    models = sorted({case.model for ranks in RANKS for case in cases(ranks)})
    return {m: plain(tiny_plan(folder, model=m, micro_batch=4), steps) for m in models}
