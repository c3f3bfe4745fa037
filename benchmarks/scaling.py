"""Which strategy fits which number of GPUs, on paper: opt-66b and a Llama of 70B on 8 to 512 H100s.

    python -m benchmarks.scaling [--gpu H100-80G] [--length 2048]

Needs no GPU and no torch. A cell holds the fastest plan of a strategy that fits: GiB of each GPU, tokens a second and
GPU-hours for a billion tokens; or what is too small.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tunefleet.base.units import GIB, count
from tunefleet.config.parallel import Place
from tunefleet.plan.estimate.forecast import Forecast, forecast
from tunefleet.plan.estimate.gpus import Cluster, cluster
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture

ROOT = Path(__file__).parents[1]
LLAMA_70B: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
GPUS = (8, 16, 32, 64, 128, 256, 512)
TOKENS = 4 * 2**20  # of a step, the same for every number of GPUs
_BILLION = 1e9


def strategies(gpus: int) -> dict[str, Spread]:
    """What is compared; tensor peers stay within a host."""
    return {
        "zero1": Spread(1, gpus),
        "zero2": Spread(2, gpus),
        "zero3": Spread(3, gpus),
        "zero3, optimizer on the host": Spread(3, gpus, optimizer_on=Place.CPU),
        "tensor 8 x zero1": Spread(1, gpus // 8, tensor=8),
        "tensor 8 x zero2": Spread(2, gpus // 8, tensor=8),
        "pipeline 16 x zero1": Spread(1, gpus // 16, pipeline=16),
        "tensor 8 x pipeline 4 x zero1": Spread(1, gpus // 32, tensor=8, pipeline=4),
    }


def main() -> None:
    """Prints a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", default="H100-80G")
    parser.add_argument("--length", type=int, default=2048)
    chosen = parser.parse_args()
    for name, shape in (("opt-66b", _published("opt-66b")), ("Llama 70B", Architecture(LLAMA_70B))):
        print(f"\n### {name}, hosts of 8 {chosen.gpu}, {count(TOKENS)} tokens a step in rows of {chosen.length}\n")
        print("| GPUs | " + " | ".join(strategies(GPUS[0])) + " |")
        print("|---|" + "---|" * len(strategies(GPUS[0])))
        for gpus in GPUS:
            place = cluster(f"{gpus // 8}x8x{chosen.gpu}")
            cells = [_cell(shape, spread, place, chosen.length) for spread in strategies(gpus).values()]
            print(f"| {gpus} | " + " | ".join(cells) + " |")
        whole = shape.parameters.total * 4 * 8 / GIB
        print(
            f"\nFrom scratch each host needs {whole:,.0f} GiB before the first step, as 8 processes build the whole "
            "model in fp32; from files they read one weight after another."
        )


def _cell(shape: Architecture, spread: Spread, place: Cluster, length: int) -> str:
    if not spread.data_parallel:
        return "too few GPUs"
    tried = list(_tried(shape, spread, place, length))
    fitting = [seen for seen in tried if not _on_device(seen)]
    if not fitting:
        least = min(tried, key=lambda seen: seen.device_need)
        return f"no: {least.device_need:.0f} GiB"
    best = min(fitting, key=lambda seen: seen.speed.seconds or 0)
    rate = best.speed.tokens_per_second or 1
    hours = _BILLION / rate * best.spread.world_size / 3600
    work = best.work
    how = f"{work.rows} row{'s' * (work.rows > 1)}{', checkpointing' if work.checkpointing else ''}"
    return f"{best.device_need:.0f} GiB, {count(rate)}/s, {hours:,.0f} GPU-h ({how})"


def _tried(shape: Architecture, spread: Spread, place: Cluster, length: int) -> Iterator[Forecast]:
    for checkpointing in (False, True):
        for rows in (1, 2, 4, 8, 16):
            accumulation = TOKENS // (rows * length * spread.data_parallel)
            if accumulation:
                work = Work(rows, length, accumulation, packed=True, checkpointing=checkpointing)
                yield forecast(shape, spread, work, place, True, place.gpus)


def _on_device(seen: Forecast) -> bool:
    """Whether a GPU is too small; a host is told of beside."""
    return seen.device_limit is not None and seen.device_need > seen.device_limit


def _published(name: str) -> Architecture:
    card: dict[str, Any] = yaml.safe_load((ROOT / "conf" / "model" / f"{name}.yaml").read_text())
    return Architecture(card["published"])


if __name__ == "__main__":
    main()
