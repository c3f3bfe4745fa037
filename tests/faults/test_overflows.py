"""Is fp16's search for its loss scale told from a NaN, and is its end a refused update like any other?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.non_finite import FAULTY_RANK
from tests.faults.overflows import CASES, MORE_CASES, SCALE
from tests.ranks import run_in_ranks


def expect_searched(ranks: list[dict[str, Any]], case: str) -> None:
    """All ranks see the same; a NaN leaves the scale alone, an overflow lowers it, and at 1 it is refused."""
    for number, rank in enumerate(ranks):
        steps = [*rank[case]["nan"], *rank[case]["overflow"]]
        assert all(fired == (number == FAULTY_RANK) for *_, fired in steps)
        assert all(skipped for _, skipped, *_ in steps)
        assert [(scale, reason) for scale, _, reason, _ in rank[case]["nan"]] == [(SCALE, "the loss became nan")] * 3
        overflows = [(scale, reason) for scale, _, reason, _ in rank[case]["overflow"]]
        searching = [reason for scale, reason in overflows if scale > 1]
        refused = [reason for scale, reason in overflows if scale <= 1]
        assert len(searching) >= 2
        assert set(searching) == {""}
        assert len(refused) >= 2  # also the second of them is no exception of DeepSpeed's
        assert all(reason.startswith("the gradient norm became ") for reason in refused)
        assert rank[case]["resumed"]


@pytest.mark.parametrize("case", CASES)
def test_an_overflow_lowers_the_loss_scale_and_a_nan_is_refused(tmp_path: Path, case: str) -> None:
    expect_searched(run_in_ranks("tests.faults.overflows:searched", 2, tmp_path, [case]), case)


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", MORE_CASES)
def test_so_do_the_other_strategies(tmp_path: Path, case: str) -> None:
    expect_searched(run_in_ranks("tests.faults.overflows:searched", 2, tmp_path, [case]), case)


@pytest.mark.exhaustive
@pytest.mark.parametrize("stage", ["zero1", "zero2", "zero3"])
def test_a_run_at_the_least_loss_scale_ends_with_one_line_and_its_rows(tmp_path: Path, stage: str) -> None:
    overrides = [f"parallel={stage}", "train.micro_batch=1"]
    ranks = run_in_ranks("tests.faults.overflows:ended", 2, tmp_path, overrides)
    assert "spoiled" in ranks[FAULTY_RANK]["fired"]
    for rank in ranks:
        assert (rank["code"], rank["step"]) == (3, 1)
        assert rank["error"].startswith("non-finite loss: the gradient norm became ")
        assert "at step 2, and the weights are as they were" in rank["error"]
        assert "take train.precision=bf16" in rank["error"]
    [record] = ranks[0]["batches"]
    assert len([row for part in record["micro_batches"] for row in part["sequences"]]) == 4
