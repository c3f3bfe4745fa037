"""Is one flipped bit in one rank's weight named, with its rank, and are good replicas never blamed?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.faults.drifts import FAULTY_RANK, flip_lowest_bit
from tests.ranks import run_in_ranks
from tunefleet.engine.replicas import fingerprints


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of three ranks says."""
    return run_in_ranks("tests.faults.drifts:drifted", 3, tmp_path_factory.mktemp("three"), ["ddp", "zero2", "zero3"])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two says that share layers, or have a stage each."""
    return run_in_ranks("tests.faults.drifts:drifted", 2, tmp_path_factory.mktemp("two"), ["tensor", "pipeline"])


@pytest.mark.parametrize("case", ["ddp", "zero2", "zero3"])
def test_of_three_ranks_the_majority_is_right(three: list[dict[str, Any]], case: str) -> None:
    for rank in three:
        assert rank[case]["before"] == ""
        assert f"the weights of rank {FAULTY_RANK} (" in rank[case]["after"]
        assert f") differs from the others in {rank[case]['name']}: " in rank[case]["after"]


def test_of_two_both_are_named_where_tensor_parallel_ranks_repeat_a_weight(two: list[dict[str, Any]]) -> None:
    for rank in two:
        assert rank["tensor"]["before"] == ""
        assert rank["tensor"]["after"].startswith("the weights of ranks 0 (")
        assert f"differ in {rank['tensor']['name']}: " in rank["tensor"]["after"]


def test_stages_hold_different_weights_and_one_embedding(two: list[dict[str, Any]]) -> None:
    for rank in two:
        assert rank["pipeline"]["before"] == ""
        assert "differ in tied embedding: " in rank["pipeline"]["after"]


def test_no_checkpoint_is_made_of_it_and_the_control_makes_one(tmp_path: Path) -> None:
    """The control is train.check_replicas=null."""
    for rank in run_in_ranks("tests.faults.drifts:runs", 2, tmp_path):
        assert rank["compared"] == [6, ["step-00000001"]]
        assert rank["control"] == [0, ["step-00000001", "step-00000002"]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1, 7, 1000, (1 << 20) + 3])
def test_any_bit_counts_wherever_the_memory_begins(dtype: torch.dtype, size: int) -> None:
    weight = torch.randn(size + 1, dtype=dtype)[1:]
    flipped = weight.clone()
    flip_lowest_bit(flipped)
    first, again, other = (fingerprints({"w": tensor})["w"] for tensor in (weight, weight.clone(), flipped))
    assert first == again != other
