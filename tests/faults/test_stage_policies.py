"""Does a run do what `train.on_non_finite` says at each ZeRO stage, also while a checkpoint is being written?"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.faults.poisoned_runs import POISONED_ROW
from tests.ranks import run_in_ranks

BESIDE = ("checkpoint.asynchronous=true", "checkpoint.every=1", "checkpoint.keep=9")
STAGES = {
    "ddp": ("parallel=ddp",),
    "zero2": ("parallel=zero2",),
    "zero3": ("parallel=zero3",),
    "ddp, saved beside": ("parallel=ddp", *BESIDE),
    "zero2, saved beside": ("parallel=zero2", *BESIDE),
    "zero3, saved beside": ("parallel=zero3", *BESIDE),
    "zero3 in bf16": ("parallel=zero3", "train.precision=bf16", *BESIDE),
}


def ended(folder: Path, names: list[str], *overrides: str) -> list[dict[str, Any]]:
    """What each of two ranks saw of runs with the policies of `names`."""
    argument = {"names": names, "overrides": ["train.micro_batch=1", *overrides]}
    return run_in_ranks("tests.faults.stage_policies:policies", 2, folder, argument)


def losses(run: dict[str, Any]) -> dict[int, float | None]:
    """By step; None where the update was refused."""
    return {record["step"]: record.get("train/loss") for record in run["metrics"] if "train/lr" in record}


def test_a_run_goes_back_to_the_checkpoint_that_was_being_written(tmp_path: Path) -> None:
    expect_back(ended(tmp_path, ["rewind"], "parallel=zero2", *BESIDE), beside=True)


@pytest.mark.exhaustive
@pytest.mark.parametrize("stage", STAGES)
def test_each_policy_at_each_stage(tmp_path: Path, stage: str) -> None:
    ranks = ended(tmp_path, ["stop", "skip", "budget", "rewind"], *STAGES[stage])
    for rank in ranks:
        assert [rank[name]["code"] for name in ("stop", "skip", "budget")] == [3, 0, 3]
    runs, is_beside = ranks[0], BESIDE[0] in STAGES[stage]
    for name in ("stop", "budget"):
        assert runs[name]["error"].startswith("non-finite loss: the loss became nan at step 3, ")
        assert f":{POISONED_ROW}'" in str(runs[name]["batches"])
        assert ("has used up train.skip_budget=0" in runs[name]["error"]) is (name == "budget")
        assert ("step-00000002" in runs[name]["checkpoints"]) is is_beside
    assert [step for step, loss in losses(runs["skip"]).items() if loss is None] == [3]
    expect_back(ranks, is_beside)
    assert losses(runs["rewind"])[2] == losses(runs["skip"])[2]
    assert losses(runs["rewind"])[3] == pytest.approx(losses(runs["skip"])[4], rel=0.1)  # the same, a step earlier


def expect_back(ranks: list[dict[str, Any]], beside: bool) -> None:
    """The run went back and was finished; what was being written `beside` counted first, and status.json said so."""
    run = ranks[0]["rewind"]
    assert all(rank["rewind"]["code"] == 0 for rank in ranks)
    assert list(losses(run)) == [1, 2, 3, 4, 5]
    assert None not in losses(run).values()
    if not beside:
        return
    for rank in ranks:
        assert any(step["refused"] and step["beside"] for step in rank["rewind"]["steps"]), "the fault did not fire"
    steps = run["steps"]
    saved = [after["saved"] for before, after in pairwise(steps) if before["refused"]]
    assert saved == [record["step"] - 1 for record in run["batches"]]
