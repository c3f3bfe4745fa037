"""Does every strategy and every split of the same global batch follow one trajectory? Here with four processes."""

from __future__ import annotations

import pytest

from tests.equivalence.table import Case, parameters
from tests.equivalence.trajectory import followed_by, furthest
from tests.selection import selected
from tunefleet.runs.trajectory import Trajectory


@pytest.fixture(scope="module")
def followed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, steps: int
) -> dict[Case, Trajectory]:
    return followed_by(4, tmp_path_factory.mktemp("four"), selected(request, "case"), steps)


@pytest.mark.parametrize("case", parameters(4), ids=str)
def test_follows_the_plain_loop(case: Case, followed: dict[Case, Trajectory], reference: dict[str, Trajectory]) -> None:
    assert furthest(case, followed, reference) == []
