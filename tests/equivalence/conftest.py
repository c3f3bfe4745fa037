"""What every number of ranks is compared with: the plain loop of each model."""

from __future__ import annotations

import pytest

from tests.equivalence.table import RANKS, cases
from tests.plans import tiny_plan
from tunefleet.runs.trajectory import Trajectory, plain


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trajectory]:
    folder = tmp_path_factory.mktemp("plain")
    models = sorted({case.model for ranks in RANKS for case in cases(ranks)})
    return {m: plain(tiny_plan(folder, model=m, micro_batch=4)) for m in models}
