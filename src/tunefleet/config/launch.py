"""Which processes run it."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.config.fields import ranged


@dataclass(frozen=True)
class LaunchConfig:
    """Processes on this machine."""

    name: str = "local"
    """The launcher's name."""
    processes: int | None = ranged(None, at_least=1)
    """Processes (ranks) of a run; null is one per GPU, or one where there is none."""
    port: int | None = ranged(None, at_least=1024, at_most=65535)
    """Port of rank 0 on this machine; null takes a free one."""
