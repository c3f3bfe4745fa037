"""Typed overrides: what would have to be typed for a configuration that somebody built in Python."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.load import dump, leaves
from tunefleet.doors import arguments, compose


def typed(config: RunConfig) -> list[str]:
    """The groups' choices, and `group.key=value` for what they set otherwise.

    A plan keeps them, so that `tunefleet reproduce` composes the same run again. Raises `ConfigError` for a
    configuration that no command line composes.
    """
    values = dump(config)
    choices = list(_choices(values))
    overrides = [*choices, *_changes(values, dict(leaves(_composed(choices))))]
    if _composed(overrides) != values:
        raise ConfigError(f"{' '.join(overrides)}: composes another configuration. Type what differs into compose().")
    return overrides


def _composed(overrides: Sequence[str]) -> Mapping[str, Any]:
    composed: Mapping[str, Any] = dump(compose.from_overrides(overrides, with_project_conf=False))
    return composed


def _choices(values: Mapping[str, Any]) -> Iterator[str]:
    """`model=opt-1.3b` of every group that was chosen by name."""
    offered = compose.opened(arguments.parse([], with_project_conf=False)).choices_by_group()
    for group, settings in values.items():
        name = settings.get("name") if isinstance(settings, Mapping) else None
        if name in offered.get(group, ()):
            yield f"{group}={name}"


def _changes(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    for key, value in leaves(values):
        if key not in defaults or defaults[key] != value:
            yield f"{key if key in defaults else f'++{key}'}={_spelled(value)}"


def _spelled(value: Any) -> str:
    """The value in Hydra's grammar of overrides."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_spelled(key)}:{_spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_spelled, value)) + "]"
    if isinstance(value, str):
        return QuotedString(value, Quote.double).with_quotes()
    return json.dumps(value)
