"""Refuses a run that cannot fit, before anything is started or submitted."""

from __future__ import annotations

from tunefleet.base.errors import ConfigError
from tunefleet.plan.choose import auto
from tunefleet.plan.choose.advice import advice
from tunefleet.plan.estimate.forecast import Forecast
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.machine import Machine


def foreseen(plan: Plan, machine: Machine) -> Forecast | None:
    """The forecast of a plan; None for a family that cannot be counted."""
    try:
        return auto.foreseen(plan.config, plan.layout, plan.sources.architecture, auto.where(plan.config, machine))
    except ValueError:
        return None


def expect_fit(plan: Plan, machine: Machine) -> None:
    """Raises `ConfigError` with what is too small and what would fit, unless `plan.force`."""
    seen = None if plan.config.plan.force else foreseen(plan, machine)
    if seen is None or seen.fits:
        return
    others = advice(plan, seen)
    fitting = "; ".join(f"{' '.join(one.words)} ({need(one.forecast)})" for one in others[:3])
    move = f"These fit, best first: {fitting}. plan.force=true starts it anyway" if others else auto.nearest(seen)
    raise ConfigError(
        f"memory: {plan.config.model.name} does not fit {seen.machine.name}: {'; '.join(seen.shortfalls)}. "
        f"{move.rstrip('.')}. Every item: tunefleet plan with the same words."
    )


def need(seen: Forecast) -> str:
    """The larger number in words."""
    return f"{seen.device_need:.1f} GiB of each GPU" if seen.on_gpu else f"{seen.host_need:.1f} GiB of the host"
