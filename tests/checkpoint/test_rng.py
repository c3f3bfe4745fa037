"""Do random states resume where they were, and differ from rank to rank?"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from tunefleet.checkpoint import rng


def draw() -> tuple[float, float, list[float]]:
    return random.gauss(0, 1), float(np.random.rand()), torch.rand(3).tolist()


def test_a_restored_state_draws_what_was_to_come(tmp_path: Path) -> None:
    """Also through a file, and where a normal number was drawn, of which Python keeps the next one."""
    rng.seed_all(3, rank=0)
    draw()
    (tmp_path / rng.file_name(0)).write_bytes(rng.to_bytes(rng.capture()))
    expected = draw()
    rng.seed_all(4, rank=0)
    assert draw() != expected
    rng.restore(rng.read(tmp_path, 0))
    assert draw() == expected


def test_what_version_0_1_saved_is_read(tmp_path: Path) -> None:
    rng.seed_all(3, rank=0)
    key = np.random.get_state(legacy=False)["state"]
    numpy_state = (torch.from_numpy(key["key"].astype(np.int64)), int(key["pos"]))
    states = {"python": random.getstate(), "numpy": numpy_state, "torch": torch.get_rng_state(), "cuda": None}
    torch.save(states, tmp_path / "random-0.pt")
    expected = draw()
    rng.restore(rng.read(tmp_path, 0))
    assert draw() == expected


def test_seed_rank_and_step_each_change_the_draws() -> None:
    draws = []
    for seed, rank, step in ((3, 0, 0), (3, 1, 0), (4, 0, 0), (3, 0, 5), (3, 0, 0)):
        rng.seed_all(seed, rank, step)
        draws.append(draw())
    assert draws[0] == draws[-1]
    assert len(set(map(str, draws))) == 4
