"""Throughput: its contestants train the same thing."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from benchmarks import contestant, strong_loop, throughput

from tunefleet.model.learner import Learner

OPTIONS = {"sequence": 128, "micro": 4, "lora": False, "data": None}


@pytest.mark.parametrize("model", ["opt-3m", "llama-3m"])
def test_the_strong_loop_and_ours_have_the_same_loss_and_gradients(tmp_path: Path, model: str) -> None:
    throughput.write_inputs(tmp_path, argparse.Namespace(**OPTIONS, model=model))
    plan = contestant.plan_of(tmp_path, {"sequence": 128, "micro": 4, "accumulation": 2}, 0, packed=True)
    batch = contestant.batches_of(tmp_path, plan, packed=True).take(1)[0]
    strong_loop.register()
    theirs = contestant.model_of(tmp_path, strong_loop.ATTENTION)
    ours = Learner(contestant.model_of(tmp_path), by_document=True)
    strong = strong_loop.StrongLoop(theirs, autocast=False)
    loss = strong.loss(batch.tokens, batch.positions, batch.labels, batch.segments)
    our_loss = ours(batch)
    assert our_loss.item() == pytest.approx(loss.item(), rel=1e-6)
    loss.backward()
    our_loss.backward()
    for mine, other in zip(ours.model.parameters(), theirs.parameters(), strict=True):
        assert (mine.grad - other.grad).norm() <= 1e-5 * other.grad.norm() + 1e-6  # that of a bias of keys is 0


def test_the_table_says_what_was_measured() -> None:
    turns = {
        "tunefleet-0": [{"useful": 4000, "cpu": 4.0, "wall": 5.0, "loss": 2.0}] * 3,
        "padded": [{"useful": 900, "cpu": 3.0, "wall": 4.0, "loss": 2.5}] * 3,
    }
    lines = throughput.table(turns, [1e11, 2e11, 3e11], flops_per_token=1e8).splitlines()
    assert lines[1].split() == ["tunefleet-0", "1,000", "5.00", "50%", "1.00", "x", "2.0000"]
    assert lines[2].split() == ["padded", "300", "4.00", "15%", "3.33", "x", "2.5000"]
