"""How much of a step is padding or waiting without packing, and is it worth it that workers collate ahead?

    python -m benchmarks.batches [--data alpaca_data.json --tokenizer FOLDER]

prints, for each way of `data.group_by_length` and some splits of a global batch, the share of padding in the first
epoch and the tokens of the slowest rank (of a step, and of each micro-batch) relative to the padded tokens of a random
order shared evenly; then the time that training waits for a micro-batch, with 0, 1 and 2 workers, between pauses as
long as a step on a GPU and without them. Lengths are those of Alpaca: see benchmarks/alpaca_lengths.py.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import alpaca_lengths

SPLITS = ((4, 1, 1), (4, 8, 1), (4, 32, 1), (4, 4, 8), (8, 8, 8))  # micro, accumulation, data-parallel
_STEPS = 60
_SEQUENCE = 512
_PAUSE = 0.05  # seconds


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    chosen = parser.parse_args()
    rows = alpaca_lengths.random_rows(alpaca_lengths.lengths(chosen.data, chosen.tokenizer, 20_000), _SEQUENCE)
    print(f"{'split':<64}{'group':<8}{'padding':>9}{'slowest of a step':>20}{'of a micro-batch':>18}")
    for split in SPLITS:
        padding(alpaca_lengths.dataset(rows, _SEQUENCE, packed=False), split)
    print(
        f"\n{'rows':<10}{'workers':<9}{'first':>9}{'without pauses':>17}{'behind a pause':>17}   ms a micro-batch of 4"
    )
    for packed in (True, False):
        waiting(alpaca_lengths.dataset(rows, _SEQUENCE, packed=packed), packed)


def padding(data: Any, split: tuple[int, int, int]) -> None:
    """A line for each way to group."""
    from tunefleet.config.data import Grouping
    from tunefleet.data.batches.grouping import sequence_lengths
    from tunefleet.data.batches.order import Order
    from tunefleet.plan.processes.batch import Batch

    batch = Batch(*split)
    even = 0.0
    for grouping in Grouping:
        share = Order(sequence_lengths(data), 0, batch.total, grouping).padding(batch.micro)
        widths = _widths(data, batch, grouping)
        even = even or float(widths.mean(axis=0).sum())
        step, each = (float(slowest.sum()) / even for slowest in (widths.sum(axis=2).max(axis=0), widths.max(axis=0)))
        print(f"{batch!s:<64}{grouping.value:<8}{share:>9.1%}{step:>20.2f}{each:>18.2f}")


def _widths(data: Any, batch: Any, grouping: Any) -> Any:
    """Of the micro-batches, in tokens: [ranks, steps, accumulation]."""
    from tunefleet.data.batches.order import OrderedBatches

    def one(rank: int) -> list[int]:
        batches = OrderedBatches(data, batch, rank, seed=0, pad=1, packed=False, grouping=grouping)
        return [taken.tokens.shape[1] for taken in batches.take(_STEPS * batch.accumulation)]

    return np.asarray([one(rank) for rank in range(batch.data_parallel)]).reshape(batch.data_parallel, _STEPS, -1)


def waiting(data: Any, packed: bool) -> None:
    """A line for each number of workers."""
    from tunefleet.data.batches.order import OrderedBatches
    from tunefleet.plan.processes.batch import Batch

    for workers in (0, 1, 2):
        started = time.perf_counter()
        batches = OrderedBatches(data, Batch(4, 1, 1), 0, seed=0, pad=1, packed=packed, workers=workers)
        batches.take(1)
        first = time.perf_counter() - started
        close = median(_timed(batches, 0.0) for _ in range(300))
        apart = median(_timed(batches, _PAUSE) for _ in range(40))
        batches.close()
        name = f"{_SEQUENCE} packed" if packed else "unpacked"
        print(f"{name:<12}{workers:<7}{first * 1e3:>9.1f}{close * 1e3:>17.2f}{apart * 1e3:>17.2f}")


def _timed(batches: Any, pause: float) -> float:
    time.sleep(pause)
    started = time.perf_counter()
    batches.take(1)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
