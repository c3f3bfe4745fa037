"""Do random states resume where they were, and differ from rank to rank?"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from tunefleet.checkpoint import rng


def draw() -> tuple[float, float, list[float]]:
    return random.random(), float(np.random.rand()), torch.rand(3).tolist()


def test_a_restored_state_draws_what_was_to_come(tmp_path: Path) -> None:
    """Also through a file that is read without running anything."""
    rng.seed_all(3, rank=0)
    draw()
    torch.save(rng.capture(), tmp_path / "random.pt")
    expected = draw()
    rng.seed_all(4, rank=0)
    assert draw() != expected
    rng.restore(torch.load(tmp_path / "random.pt", weights_only=True))
    assert draw() == expected


def test_seed_rank_and_step_each_change_the_draws() -> None:
    draws = []
    for seed, rank, step in ((3, 0, 0), (3, 1, 0), (4, 0, 0), (3, 0, 5), (3, 0, 0)):
        rng.seed_all(seed, rank, step)
        draws.append(draw())
    assert draws[0] == draws[-1]
    assert len(set(map(str, draws))) == 4
