"""Group `tracking`: where the numbers of a run go besides its own files."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.base.units import Cadence, steps


class WandbMode(Enum):
    """`auto` is online where a key is there, else offline."""

    AUTO = "auto"
    ONLINE = "online"
    OFFLINE = "offline"
    DISABLED = "disabled"


@dataclass(frozen=True)
class TrackingConfig:
    """Weights & Biases and the console; `metrics.jsonl` is always written."""

    wandb: WandbMode = WandbMode.AUTO
    """Whether and how Weights & Biases logs the run."""
    project: str = "tunefleet"
    """Weights & Biases project."""
    entity: str | None = None
    """Weights & Biases team or user; null is the key's own."""
    group: str | None = None
    """Runs of one group are drawn together; null takes data and model."""
    run_name: str | None = None
    """What Weights & Biases calls the run; null is the run's own name."""
    tags: tuple[str, ...] = ()
    """Words to find the run by."""
    log_every: Cadence = Cadence((steps(1),))
    """Between two records: `10` (steps), `1%`, `5 minutes`; the last step always has one."""
