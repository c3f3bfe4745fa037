"""Choices of groups: complaints about those that do not exist, several values without -m, empty sweeps."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import Any

from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode

from tunefleet.base.errors import ConfigError
from tunefleet.config.suggest import did_you_mean
from tunefleet.doors.arguments import MAIN

LOCAL = "local"
"""The group of this cluster's own settings."""
FALLBACK = "tunefleet"
"""The provider of our own configs behind a primary folder of the user's, which may hold any of their names."""


def complaints(
    override: Override, repository: CachingConfigRepository, run_mode: RunMode, is_search: bool = False
) -> list[str]:
    """About one override, with what to type instead. A search takes intervals too."""
    mistakes = _sweep(override, run_mode, is_search)
    return mistakes or _choice(override, repository)


def by_group(repository: CachingConfigRepository, below: str = "") -> dict[str, list[str]]:
    """{group: choices} of every group, those in folders of others too; Hydra's own are left out."""
    groups = [f"{below}{name}" for name in repository.get_group_options(below.rstrip("/"), ObjectType.GROUP)]
    by_name: dict[str, list[str]] = {}
    for group in groups:
        if group != "hydra":
            by_name |= {group: _choices(group, repository), **by_group(repository, f"{group}/")}
    return {group: options for group, options in by_name.items() if options}


def is_group(override: Override, repository: CachingConfigRepository) -> bool:
    """Whether it chooses configs; `data={path: x}` sets values."""
    return repository.group_exists(override.key_or_group) and not isinstance(override.value(), dict)


def expect_unshadowed(config_path: str, repository: CachingConfigRepository) -> None:
    """Raises `ConfigError` where two folders hold a config of this name: Hydra takes the first without a word."""
    if config_path.startswith("hydra/"):
        return
    sources = [source for source in repository.get_sources() if source.provider not in ("schema", FALLBACK)]
    origins = list(dict.fromkeys(_origin(source) for source in sources if source.is_config(config_path)))
    if len(origins) > 1:
        raise ConfigError(
            f"{config_path}: there are two configs of this name, and Hydra takes the first: "
            f"{' before '.join(origins)}. Give yours another name, or put its folder first: --config-path=FOLDER."
        )


def expect_local(default: ResultDefault, repository: CachingConfigRepository) -> None:
    """Raises `ConfigError` where a file of `conf/local`, which every command takes, holds more than `launch`."""
    path = default.config_path or ""
    if not path.startswith(f"{LOCAL}/"):
        return
    if default.package != "launch":
        raise ConfigError(
            f"{path}: holds settings of the group launch alone. Type local@launch={path.partition('/')[2]}."
        )
    loaded = repository.load_config(path)
    if loaded is not None and any(not element.is_self() for element in loaded.defaults_list or ()):
        raise ConfigError(f"{path}: chooses other configs. It may hold settings of the group launch alone.")


def _origin(source: ConfigSource) -> str:
    from tunefleet.doors.compose import CONF

    return str(CONF) if source.full_path() == MAIN else os.path.realpath(source.path)


def _sweep(override: Override, run_mode: RunMode, is_search: bool) -> list[str]:
    if not override.is_sweep_override():
        return []
    key, value = override.get_key_element(), override.get_value_string()
    if override.is_hydra_override():
        return [f"{key}: Hydra's own settings are the same for all points of a grid."]
    if run_mode is RunMode.RUN:
        text = shlex.quote(f"{key}={QuotedString(value, Quote.double).with_quotes()}")
        return [f"{key}: {value} is several values. A grid of them needs -m; one list is [{value}], one text {text}"]
    if key.startswith(("sweep.", "sweeps")):
        return [f"{key}: {value} is several values, and a search is one. Several seeds are sweep.seeds=[1,2,3]."]
    if not override.is_discrete_sweep():
        return (
            []
            if is_search
            else [f"{key}: {value} has no end of values between. Use range(start,stop,step) or choice(a,b)."]
        )
    if next(iter(override.sweep_string_iterator()), None) is None:
        return [f"{key}: {value} gives no value, so the grid has no point."]
    return []


def _choice(override: Override, repository: CachingConfigRepository) -> list[str]:
    group = override.key_or_group
    if override.is_delete() or isinstance(override.value(), dict):
        return []
    if not repository.group_exists(group):
        return [f"{group}: no such group.{did_you_mean(group, _groups(repository))}"] if "/" in group else []
    bad = [name for name in _names_of(override) if not _exists(f"{group}/{name}", repository)]
    options = _choices(group, repository) if bad else []
    return [f"{override.get_key_element()}: no choice named {name!r}.{did_you_mean(name, options)}" for name in bad]


def _exists(config_path: str, repository: CachingConfigRepository) -> bool:
    """Whether there is such a config; a name that no file can have is none."""
    try:
        return repository.config_exists(config_path)
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def _names_of(override: Override) -> Iterator[str]:
    """The names that it chooses; what an interpolation chooses is Hydra's to find."""
    value: Any = override.value()
    items = override.sweep_iterator() if override.is_sweep_override() else value if isinstance(value, list) else [value]
    for item in items:
        name = item.text if isinstance(item, QuotedString) else item
        if name is not None and not str(name).startswith("$"):
            yield str(name)


def _choices(group: str, repository: CachingConfigRepository) -> list[str]:
    """The choices of a group; those in folders below it as `folder/choice`."""
    inner = repository.get_group_options(group, ObjectType.GROUP)
    below = [f"{name}/{choice}" for name in inner for choice in _choices(f"{group}/{name}", repository)]
    return repository.get_group_options(group, ObjectType.CONFIG) + below


def _groups(repository: CachingConfigRepository) -> list[str]:
    return repository.get_group_options("", ObjectType.GROUP)
