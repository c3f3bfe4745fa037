"""A row that makes the loss NaN: is it named, is nothing lost, and does the run go on without it where it may?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.poisoned_runs import POISONED_ROW
from tests.ranks import run_in_ranks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are."""
    return tmp_path_factory.mktemp("poisoned")


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Any]:
    """What rank 0 of two saw of each run."""
    ranks = run_in_ranks("tests.faults.poisoned_runs:story", 2, folder, ["parallel=zero1", "train.micro_batch=1"])
    assert [rank["stop"]["error"] for rank in ranks] == [ranks[0]["stop"]["error"]] * 2
    first: dict[str, Any] = ranks[0]
    return first


@pytest.fixture(scope="module")
def finished(folder: Path, runs: dict[str, Any]) -> dict[str, Any]:
    """The halves, which one rank has trained on."""
    assert runs["half-skip"]["step"] == 4
    [rank] = run_in_ranks("tests.faults.poisoned_runs:finished", 1, folder, ["parallel=zero1", "train.micro_batch=4"])
    return dict(rank)


def losses(run: dict[str, Any]) -> dict[int, float | None]:
    """By step; None where the update was refused."""
    return {record["step"]: record.get("train/loss") for record in run["metrics"] if "train/lr" in record}


def poisoned_rows(record: dict[str, Any]) -> list[str]:
    """The rows of the micro-batches whose loss is not finite."""
    bad = [part for part in record["micro_batches"] if "nan" in part["losses"].values()]
    return [row for part in bad for rows in part["sequences"].values() for row in rows]


def test_it_stops_before_the_update_with_its_rows_and_its_checkpoint(runs: dict[str, Any], folder: Path) -> None:
    run = runs["stop"]
    assert (run["code"], run["step"]) == (3, 2)
    assert run["error"].startswith("non-finite loss: the loss became nan at step 3, and the weights are as they were")
    [record] = run["batches"]
    assert (record["step"], record["act"], record["loss"]) == (3, "stop", "nan")
    assert poisoned_rows(record) == [f"{folder}/rows.jsonl:{POISONED_ROW}"]
    assert sum(len(part["sequences"]) for part in record["micro_batches"]) == 4


def test_it_leaves_the_step_out_and_counts_it(runs: dict[str, Any]) -> None:
    run = runs["skip"]
    assert (run["code"], run["step"], run["refused"]) == (0, 5, 1)
    assert [step for step, loss in losses(run).items() if loss is None] == [3]
    assert [record["train/refused"] for record in run["metrics"] if "train/refused" in record] == [
        "the loss became nan"
    ]


def test_it_goes_back_and_takes_other_sequences(runs: dict[str, Any]) -> None:
    run = runs["rewind"]
    assert (run["code"], run["step"]) == (0, 5)
    assert list(losses(run)) == [1, 2, 3, 4, 5]
    assert None not in losses(run).values()
    assert run["refused"] == len(run["batches"]) > 0
    assert {record["act"] for record in run["batches"]} == {"rewind"}
    assert all(f":{POISONED_ROW}" in poisoned_rows(record)[0] for record in run["batches"])
    assert losses(run)[2] == losses(runs["skip"])[2]
    assert losses(run)[3] == pytest.approx(losses(runs["skip"])[4], rel=0.1)  # the same sequences, one step earlier


@pytest.mark.parametrize("policy", ["skip", "rewind"])
def test_another_number_of_ranks_resumes_the_same_trajectory(
    runs: dict[str, Any], finished: dict[str, Any], policy: str
) -> None:
    whole, resumed = losses(runs[policy]), losses(finished[policy])
    assert whole.keys() == resumed.keys()
    assert resumed[5] == pytest.approx(whole[5], rel=1e-5)
    assert resumed[5] != pytest.approx(losses(runs["rewind" if policy == "skip" else "skip"])[5], rel=1e-3)
    assert finished[policy]["refused"] == runs[policy]["refused"]
