"""Seconds that the comparison of replicas takes: `python -m benchmarks.replicas [millions of parameters]`."""

from __future__ import annotations

import sys
import time

import torch

from tunefleet.engine.replicas import fingerprints


def main() -> None:
    """Reads bf16 weights of 16 matrices, on a GPU where there is one."""
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 125
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = millions * 1_000_000 // 16
    weights = {str(n): torch.ones(size, dtype=torch.bfloat16, device=device) for n in range(16)}
    fingerprints(weights)
    began = time.perf_counter()
    fingerprints(weights)
    print(f"{millions}M parameters in bf16 on {device}: {time.perf_counter() - began:.3f} s")


if __name__ == "__main__":
    main()
