"""Random states of a process: saved and restored, so that dropout resumes where it was; DeepSpeed saves none."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int, rank: int, step: int = 0) -> None:
    """Seeds this rank after `step`: equal ranks of two runs draw the same numbers, two ranks of a run do not."""
    rank_seed = int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0])
    random.seed(rank_seed)
    np.random.seed(rank_seed)
    torch.manual_seed(rank_seed)


def capture() -> dict[str, Any]:
    """The states of Python, NumPy, torch and CUDA, in types that torch.load takes with weights_only."""
    numpy_state = np.random.get_state(legacy=False)["state"]
    return {
        "python": random.getstate(),
        "numpy": (torch.from_numpy(numpy_state["key"].astype(np.int64)), int(numpy_state["pos"])),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore(states: dict[str, Any]) -> None:
    """Puts captured states back."""
    random.setstate(states["python"])
    keys, position = states["numpy"]
    numpy_state = {"key": keys.numpy().astype(np.uint32), "pos": position}
    np.random.set_state({"bit_generator": "MT19937", "state": numpy_state})
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
