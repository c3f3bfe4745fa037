"""Are loss and gradients of shared rows those of whole rows in every family that may share them?"""

from __future__ import annotations

import pytest

from tests.families import EVERY
from tests.ranks import run_in_ranks
from tunefleet.plan.families import sequence

CLOSE = 1e-5
"""fp32, relative; measured are up to 7e-7 for losses and 3e-6 for gradients."""
Differences = dict[str, dict[str, float] | str]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Differences:
    differences: Differences = run_in_ranks(
        "tests.model.sharing:differences", 2, tmp_path_factory.mktemp("two"), list(EVERY)
    )[0]
    return differences


@pytest.mark.parametrize("name", EVERY)
def test_split_sequences_equal_whole_ones_or_the_plan_refuses(name: str, two: Differences) -> None:
    """Packed and padded rows (whose length the ranks do not divide), with activations computed again."""
    differences = two[name]
    if EVERY[name]["model_type"] not in sequence.exact_families():
        assert isinstance(differences, str)
        return
    assert isinstance(differences, dict), differences
    for way in ("", ", by document"):
        assert max(differences[f"packed{way}"], differences[f"padded{way}"]) < CLOSE
        assert differences[f"no segments{way}"] > 0.1  # the control
