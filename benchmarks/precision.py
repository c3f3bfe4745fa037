"""How much slower are products of 16-bit numbers than of fp32 ones, on this CPU?

The three products of a linear layer (2,048 to 8,192, 128 tokens) on one core: forward, gradient of its inputs, gradient
of its weights. What tunefleet chooses for train.precision=auto is printed beside it.

    python -m benchmarks.precision [--tokens 128]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tunefleet.plan.processes.machine import Machine

INPUTS, OUTPUTS = 2048, 8192


def main() -> None:
    """A line for each product, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=128)
    tokens = parser.parse_args().tokens
    torch.set_num_threads(1)
    single, half = (measured(tokens, number) for number in (torch.float32, torch.bfloat16))
    for name, seconds in single.items():
        print(f"{name:<22} bf16 takes {half[name] / seconds:6.1f} times as long as fp32")
    print(f"{'together':<22} bf16 takes {sum(half.values()) / sum(single.values()):6.1f} times as long as fp32")
    print(f"train.precision=auto is {'bf16' if Machine.this().fast_bf16 else 'fp32'} on this CPU")


def measured(tokens: int, number: torch.dtype) -> dict[str, float]:
    """Seconds of each product."""
    inputs, weight = torch.randn(tokens, INPUTS, dtype=number), torch.randn(OUTPUTS, INPUTS, dtype=number)
    gradient = torch.randn(tokens, OUTPUTS, dtype=number)
    products: dict[str, Callable[[], Tensor]] = {
        "forward": lambda: inputs @ weight.t(),
        "gradient of inputs": lambda: gradient @ weight,
        "gradient of weights": lambda: gradient.t() @ inputs,
    }
    return {name: _seconds(product) for name, product in products.items()}


def _seconds(product: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    product()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
