"""How much memory does train.loss_tile save, and what does it cost?

One forward and backward pass of a small OPT (2 layers x 256, the published vocabulary of 50,272, fp32) over a row of
2,048 tokens that all learn; each setting in a process of its own, since a peak never falls.

    python -m benchmarks.loss_tiles [--tiles 0 1024 256]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from typing import Any

LENGTH = 2048
ARCHITECTURE: dict[str, Any] = {
    "model_type": "opt",
    "vocab_size": 50272,
    "hidden_size": 256,
    "word_embed_proj_dim": 256,
    "ffn_dim": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": LENGTH,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}


def main() -> None:
    """One line for each number of tokens in a tile; 0 is no tiles."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--tiles", type=int, nargs="+", default=[0, 1024, 256])
    asked.add_argument("--one", type=int, help=argparse.SUPPRESS)
    chosen = asked.parse_args()
    if chosen.one is not None:
        return _one(chosen.one)
    for tile in chosen.tiles:
        subprocess.run([sys.executable, "-m", "benchmarks.loss_tiles", "--one", str(tile)], check=True)
    return None


def _one(tile: int) -> None:
    import torch

    from tunefleet.contracts import MicroBatch
    from tunefleet.model.build import build
    from tunefleet.model.learner import Learner
    from tunefleet.plan.families.architecture import Architecture
    from tunefleet.plan.paths.model_files import Sources

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    learner = Learner(build(Sources(None, "", Architecture(ARCHITECTURE)), seed=0), tile=tile or None)
    tokens = torch.randint(3, 50272, (1, LENGTH))
    for weight in learner.parameters():
        weight.grad = torch.zeros_like(weight)  # there in any run
    before, started = _peak(), time.perf_counter()
    loss = learner(MicroBatch(tokens, torch.arange(LENGTH)[None], tokens.roll(-1, 1), None))
    loss.backward()
    seconds = time.perf_counter() - started
    said = f"tiles of {tile:>5}" if tile else "no tiles      "
    print(f"{said}  {_peak() - before:6.0f} MB at most  {seconds:5.1f} s  loss {loss.item() / LENGTH:.6f}", flush=True)


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
