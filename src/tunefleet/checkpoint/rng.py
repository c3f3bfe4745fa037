"""Random states of a process: saved and restored, so that dropout resumes where it was; DeepSpeed saves none."""

from __future__ import annotations

import random
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from tunefleet.base import files
from tunefleet.base.errors import RunError

States = dict[str, Tensor]
"""The generators' states as tensors: `python`, `python_gauss`, `numpy`, `torch`, and `cuda` where there is one."""


def seed_all(seed: int, rank: int, step: int = 0) -> None:
    """Seeds this rank after `step`: equal ranks of two runs draw the same numbers, two ranks of a run do not."""
    rank_seed = int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0])
    random.seed(rank_seed)
    np.random.seed(rank_seed)
    torch.manual_seed(rank_seed)


def capture() -> States:
    """The states of Python, NumPy, torch and CUDA."""
    version, integers, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)["state"]
    states = {
        "python": torch.tensor([version, *integers]),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([numpy_state["pos"], *numpy_state["key"].tolist()]),
        "torch": torch.get_rng_state(),
    }
    return states | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def restore(states: States) -> None:
    """Puts captured states back."""
    version, *integers = states["python"].tolist()
    gauss = states["python_gauss"].tolist()
    random.setstate((version, tuple(integers), gauss[0] if gauss else None))
    position, *key = states["numpy"].tolist()
    numpy_state = {"key": np.array(key, dtype=np.uint32), "pos": position}
    np.random.set_state({"bit_generator": "MT19937", "state": numpy_state})
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def file_name(rank: int) -> str:
    """The file of a rank's states in a checkpoint."""
    return f"random-{rank}.safetensors"


def to_bytes(states: States) -> bytes:
    """The content of that file."""
    return safetensors.save(states)


def read(checkpoint: Path, rank: int) -> States:
    """The states of a rank in the folder `checkpoint`. Raises `RunError` where its file holds something else."""
    path = checkpoint / file_name(rank)
    if not path.exists():
        return _of_0_1(checkpoint / f"random-{rank}.pt")
    try:
        return safetensors.load(files.read_bytes(path))
    except SafetensorError as error:
        raise RunError(f"{path}: cannot be read: {error}") from None


def _of_0_1(path: Path) -> States:
    """What version 0.1 saved, with torch."""
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
    except UnpicklingError:
        raise RunError(f"{path}: holds more than random states and was not read. No part of it was run.") from None
    version, integers, gauss = saved["python"]
    key, position = saved["numpy"]
    states = {
        "python": torch.tensor([version, *integers]),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([position, *key.tolist()]),
        "torch": saved["torch"],
    }
    return states | ({} if saved["cuda"] is None else {"cuda": saved["cuda"]})
