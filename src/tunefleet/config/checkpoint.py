"""Group `checkpoint`: when a run is saved, and what is kept."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.base.units import Cadence
from tunefleet.config.fields import ranged


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints for resuming, and the export for using."""

    every: Cadence | None = Cadence(minutes=30)
    """Between checkpoints: `30 minutes`, `500` (steps), `1 epoch`, `10%`; null saves only at the end and when
    interrupted."""
    keep: int = ranged(2, at_least=1)
    """Newest checkpoints that stay on the disk."""
    at_end: bool = True
    """Whether the last step is saved."""
    export: bool = True
    """Whether a finished run is written in Hugging Face form."""
