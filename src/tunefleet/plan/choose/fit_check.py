"""Fit check: a run that does not fit its machine is refused, before anything is started or submitted."""

from __future__ import annotations

from tunefleet.base.errors import ConfigError
from tunefleet.plan.choose import auto
from tunefleet.plan.choose.advice import advice
from tunefleet.plan.choose.calibration import calibrated
from tunefleet.plan.estimate.forecast import Forecast
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.machine import Machine


def expected_forecast(plan: Plan, machine: Machine) -> Forecast | None:
    """The forecast of a plan, with what finished runs taught; None for a family that cannot be counted."""
    cluster = auto.cluster_of(plan.config, machine)
    try:
        estimated = auto.estimate(plan.config, plan.layout, plan.sources.architecture, cluster)
    except ValueError:
        return None
    return calibrated(estimated, plan)


def expect_fit(plan: Plan, machine: Machine) -> None:
    """Raises `ConfigError` with what is too small and what would fit, unless `plan.force`."""
    forecast = None if plan.config.plan.force else expected_forecast(plan, machine)
    if forecast is None or forecast.fits:
        return
    options = advice(plan, forecast)
    fitting = "; ".join(f"{' '.join(option.overrides)} ({option.forecast.need})" for option in options[:3])
    move = f"These fit, best first: {fitting}. plan.force=true starts it anyway" if options else auto.nearest(forecast)
    raise ConfigError(
        f"memory: {plan.config.model.name} does not fit {forecast.machine.name}: {'; '.join(forecast.shortfalls)}. "
        f"{move.rstrip('.')}. Every item: tunefleet plan with the same overrides."
    )
