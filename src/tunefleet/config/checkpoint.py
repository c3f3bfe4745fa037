"""Group `checkpoint`: when a run is saved, and what is kept."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.base.units import Cadence, Size
from tunefleet.config.fields import ranged


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints for resuming, and the export for using."""

    every: Cadence | None = Cadence(minutes=30)
    """Between checkpoints: `30 minutes`, `500` (steps), `1 epoch`, `10%`; null saves only at the end and when
    interrupted."""
    keep: int = ranged(2, at_least=1)
    """Newest checkpoints that stay on the disk."""
    keep_best: int = ranged(0, at_least=0)
    """Best checkpoints by `metric` that stay besides; an evaluation that is among the best of the run is saved at
    once. `tunefleet export RUN --checkpoint best` writes the best of those that are there."""
    metric: str = "loss"
    """What is best: `validation/loss` or another metric of an evaluation; `loss` alone is that of the first split. Of
    `SPLIT/exact_match` and other metrics of answers it is the largest; every evaluation then generates answers."""
    keep_every: Cadence | None = None
    """How far apart checkpoints are that stay for good: the first saved at or after each `1000` (steps), `1 epoch`,
    `10%`, `6 hours`."""
    disk_budget: Size | None = None
    """The most that all checkpoints take together, while one is saved too: `200 GB`; the oldest go first, but never
    the newest nor the best."""
    asynchronous: bool = False
    """Whether a save on the way is copied into memory, and written and committed beside the next steps. The copy stays
    in the memory of each process, as large as its part of a checkpoint."""
    at_end: bool = True
    """Whether the last step is saved."""
    export: bool = True
    """Whether a finished run is written in Hugging Face form."""
