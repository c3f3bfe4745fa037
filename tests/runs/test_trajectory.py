"""Is what `tunefleet check` follows a training: rows that differ, a loss that falls, the same twice?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.plans import tiny_plan
from tunefleet.plan import Plan
from tunefleet.runs import strategy_check, trajectory


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return strategy_check.tiny_plan(tiny_plan(tmp_path, micro_batch=2), "llama")


def test_the_plain_loop_is_the_same_twice_and_learns(plan: Plan) -> None:
    first, second = trajectory.plain(plan, steps=8), trajectory.plain(plan, steps=8)
    assert first == second
    assert first["losses"][-1] < first["losses"][0]
    assert {len(first["losses"]), len(first["norms"])} == {8}


def test_sequences_are_full_and_no_two_are_alike() -> None:
    data = trajectory.rows()
    lengths = [sum(len(tokens) for tokens, _ in data.sequence(number)) for number in range(len(data))]
    assert max(lengths) <= trajectory.ROW
    assert np.mean(lengths) > 0.8 * trajectory.ROW
    sequences = {
        tuple(token for tokens, _ in data.sequence(number) for token in tokens.tolist()) for number in range(len(data))
    }
    assert len(sequences) == len(data)


def test_a_sample_has_every_weight_but_the_biases_of_keys() -> None:
    weights = {"b": torch.full((40,), 2.0), "a": torch.ones(1), "layer.k_proj.bias": torch.zeros(5)}
    assert trajectory.sampled(weights) == [1.0, 2.0, 2.0]
