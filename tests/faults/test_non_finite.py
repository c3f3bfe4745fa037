"""Is a NaN of one rank noticed by all of them at its step, before the update, at every stage and precision?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.non_finite import CASES, FAULTS, FAULTY_RANK, MORE_CASES
from tests.ranks import run_in_ranks

RANKS = 2


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each rank says to each case and fault."""
    return run_in_ranks("tests.faults.non_finite:refused", RANKS, tmp_path_factory.mktemp("refused"), list(CASES))


@pytest.fixture(scope="module")
def more_outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The same of the other cases."""
    return run_in_ranks("tests.faults.non_finite:refused", RANKS, tmp_path_factory.mktemp("more"), list(MORE_CASES))


def expect_refused(outcomes: list[dict[str, Any]], case: str) -> None:
    """One rank was spoiled, all refuse for the same reason, and go on as if the steps had never been."""
    for fault in FAULTS:
        of_ranks = [rank[f"{case}: {fault}"] for rank in outcomes]
        assert [bool(rank["fired"]) for rank in of_ranks] == [number == FAULTY_RANK for number in range(RANKS)]
        reason = "the loss became nan" if fault == "loss" else "the gradient norm became "
        assert all(rank["refusal"].startswith(reason) for rank in of_ranks), of_ranks
        assert all(rank["skipped"] for rank in of_ranks)
    assert {rank[f"{case}: rule"] for rank in outcomes} == {
        "True True"
    }  # a rule, such as that of spikes, was asked too
    assert all(rank[case]["resumed"] for rank in outcomes)


@pytest.mark.parametrize("case", CASES)
def test_all_ranks_refuse_the_update_and_keep_weights_and_moments(outcomes: list[dict[str, Any]], case: str) -> None:
    expect_refused(outcomes, case)


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", MORE_CASES)
def test_so_do_the_other_strategies(more_outcomes: list[dict[str, Any]], case: str) -> None:
    expect_refused(more_outcomes, case)


def test_the_micro_batches_of_the_faulty_rank_are_known(outcomes: list[dict[str, Any]]) -> None:
    good, bad = (rank["zero1: loss"]["micro_losses"] for rank in outcomes)
    assert "nan" not in good
    assert set(bad) == {"nan"}


def test_control_without_the_gate_every_weight_becomes_nan(tmp_path: Path) -> None:
    for rank in run_in_ranks("tests.faults.non_finite:unguarded", RANKS, tmp_path):
        assert not any(rank.values())
