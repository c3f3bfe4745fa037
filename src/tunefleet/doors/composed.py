"""Composed configuration: what Hydra composed, as the typed configuration of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tunefleet.base import modes
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig, load
from tunefleet.config.sweep import SweepConfig
from tunefleet.doors import interpolations
from tunefleet.doors.overrides import parse

_NOT_OF_A_RUN = ("hydra", "sweep")
_INSTANTIATE = ("target", "partial", "args", "recursive", "convert")


def typed(composed: DictConfig) -> RunConfig:
    """The typed configuration, whose `launch.access` holds from now on. Raises `ConfigError` with every complaint."""
    config = load(RunConfig, _values(composed))
    modes.keep(config.launch.access.value)  # before anything is written for it
    return config


def complaints(composed: DictConfig) -> list[str]:
    """What `typed` complains of."""
    try:
        typed(composed)
    except ConfigError as error:
        return list(error.complaints)
    return []


def sweep(composed: DictConfig) -> SweepConfig | None:
    """The search that the key `sweep` holds; None where there is no such key. Raises `ConfigError`."""
    if "sweep" not in composed:
        return None
    values = plain(composed, "sweep") or {}
    objectives = [parse(text) for text in task_overrides(composed) if text.startswith("sweep.objective=")]
    if objectives:  # Hydra would add those that are typed to those of the file
        values["objective"] = objectives[-1].value()
    try:
        return load(SweepConfig, values)
    except ConfigError as error:
        raise ConfigError(*(f"sweep.{complaint}" for complaint in error.complaints)) from None


def task_overrides(composed: DictConfig) -> list[str]:
    """The overrides of the run's settings as they were typed: an interpolation is not resolved."""
    typed: Any = OmegaConf.to_container(composed.hydra.overrides.task, resolve=False)
    return [str(override) for override in typed]


def sections(composed: DictConfig) -> list[str]:
    """The names at the top of what is a run's; Hydra's own settings and a search are none."""
    return [str(key) for key in composed if key not in _NOT_OF_A_RUN]


def plain(composed: DictConfig, section: str) -> Any:
    """The plain values of a section, its interpolations resolved. Raises `ConfigError`, for what names code too."""
    try:
        value = composed[section]
        values = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        raise ConfigError(interpolations.complaint(error)) from None
    if named := list(targets(values, section)):
        raise ConfigError(*named)
    return values


def target_complaints(composed: DictConfig) -> list[str]:
    """One for each key of a run's settings that names code, such as `_target_`; interpolations are not resolved."""
    values: Any = OmegaConf.to_container(composed, resolve=False)
    return [complaint for name in sections(composed) for complaint in targets(values[name], name)]


def targets(values: Any, key: str) -> Iterator[str]:
    """A complaint about each key with which Hydra's `instantiate` would be told to call something."""
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for name, value in inner:
        if isinstance(name, str) and name.startswith("_") and name.strip("_") in _INSTANTIATE:
            yield f"{key}.{name}: settings name no code. Leave it out."
        yield from targets(value, f"{key}.{name}")


def _values(composed: DictConfig) -> dict[str, Any]:
    """Plain values. `${hydra:job.num}` is that of this point."""
    if "hydra" in composed:
        HydraConfig.instance().set_config(composed)
    return {section: plain(composed, section) for section in sections(composed)}
