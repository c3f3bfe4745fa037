"""Rung ends: the step at which the runs of a trial stop to be compared."""

from __future__ import annotations

from tunefleet.config.sweep import SweepConfig
from tunefleet.sweep.rungs import RUNG_PRUNERS, rung_steps


def last_rung(sweep: SweepConfig) -> int:
    """The rung that is the whole run; the only one where there are none."""
    return sweep.pruner.rungs - 1 if sweep.pruner.name in RUNG_PRUNERS else 0


def end_of(rung: int, total_steps: int | None, sweep: SweepConfig) -> int | None:
    """The step at which a run of `total_steps` pauses at the end of `rung`; None where it trains to its end."""
    return None if rung >= last_rung(sweep) else rung_steps(total_steps, sweep.pruner)[rung]
