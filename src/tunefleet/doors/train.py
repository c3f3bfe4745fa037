"""The door `train.py`: composes what was typed, plans it, starts it."""

from __future__ import annotations

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from tunefleet.doors import compose, overrides
from tunefleet.doors.friendly import friendly
from tunefleet.doors.start import start
from tunefleet.doors.submit import submit
from tunefleet.plan import guard, machine_for, make


def main() -> None:
    """Composes once, in the process that the person started, and ends with the run's exit code."""
    with friendly(mistakes=(HydraException,)):
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra lets its errors through to `friendly`
        compose.register_defaults()
        sys.argv[1:] = overrides.accept(sys.argv[1:], compose.CONF)
        hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name=compose.CONFIG_NAME)(one)()


def one(composed: DictConfig) -> None:
    """One run; does not return. Hydra would show our own errors with a traceback, so they end here."""
    with friendly():
        config = compose.typed(composed)
        machine = machine_for(config)
        plan = make(config, machine, overrides.typed(HydraConfig.get().overrides.task))
        guard.expect_fit(plan, machine)
        sys.exit(submit([plan]) if plan.job else start(plan, machine))
