"""Points of a grid: Hydra composes once for each choice of groups; a point's values are set on that, and taken back."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import MISSING, DictConfig, OmegaConf

from tunefleet.base import modes
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig, load
from tunefleet.doors import composed
from tunefleet.doors.hydra_loader import Loader

Compose = Callable[[list[str]], DictConfig]
"""Composes the overrides that choose configs. Raises `ConfigError`."""


def typed_points(texts: Sequence[Sequence[str]], loader: Loader, compose: Compose) -> Iterator[RunConfig | ConfigError]:
    """The typed configuration of every point in order, or what is wrong with it. `texts` are the overrides of each."""
    points = Points(loader, compose)
    for number, overrides in enumerate(texts):
        try:
            point = points.point(overrides, number)
        except ConfigError as error:
            yield ConfigError(*error.complaints)  # without the frames of its traceback: a grid holds all of them
        else:
            yield point


class Points:
    """Composes points, one after another.

    Composing takes a tenth of a second, so it is done once for each choice of groups, when a point first needs it:
    later points do not see what has changed in `conf` since. What a point does not change is one object in all
    points of its choice.
    """

    def __init__(self, loader: Loader, compose: Compose) -> None:
        self._loader, self._compose = loader, compose
        self._choices: dict[tuple[str, ...], Choice | tuple[str, ...]] = {}

    def point(self, overrides: Sequence[str], number: int = 0) -> RunConfig:
        """The typed configuration of a point; `number` is its `${hydra:job.num}`. Raises `ConfigError`."""
        groups, values = self._loader.values_apart(overrides)
        if groups not in self._choices:
            self._choices[groups] = self._choice(list(groups))
        choice = self._choices[groups]
        if isinstance(choice, tuple):
            raise ConfigError(*choice)
        return choice.point(number, overrides, values)

    def _choice(self, groups: list[str]) -> Choice | tuple[str, ...]:
        """What is composed, or the complaints about it."""
        try:
            return Choice(self._compose(groups), self._loader)
        except ConfigError as error:
            return tuple(error.complaints)


class Choice:
    """What one choice of groups composes; a section is a name at its top, such as `train`.

    A copy of it for each point would take most of the time, so only the sections that a point changes are saved and
    put back, and read anew with those that interpolate: `train.seed` follows `seed`.
    """

    def __init__(self, config: DictConfig, loader: Loader) -> None:
        self._config, self._loader = config, loader
        unresolved: Any = OmegaConf.to_container(config, resolve=False)
        sections = {name: unresolved[name] for name in composed.sections(config)}
        self._following = {name for name, value in sections.items() if "${" in str(value) or value == MISSING}
        self._values = {name: value for name, value in sections.items() if name not in self._following}
        self._typed: dict[str, Any] = {}

    def point(self, number: int, overrides: Sequence[str], values: Sequence[Override]) -> RunConfig:
        """The typed configuration with `values` set. Raises `ConfigError` with every complaint at once."""
        self._number(number, overrides)
        originals: dict[str, Any] = {}
        try:
            self._set(values, originals)
            return self._load(self._following | originals.keys())
        finally:
            self.put_back(originals)

    def _number(self, number: int, overrides: Sequence[str]) -> None:
        """For `${hydra:job.num}`."""
        HydraConfig.instance().cfg = self._config  # type: ignore[assignment]
        self._config.hydra.job.num = number
        self._config.hydra.overrides.task = list(overrides)

    def _set(self, values: Sequence[Override], originals: dict[str, Any]) -> None:
        """Sets values as Hydra does it, last and in their order; saves the sections that they change in `originals`."""
        for value in values:
            for section in _sections(self._config, value.key_or_group) - originals.keys():
                originals[section] = copy.deepcopy(_content(self._config).get(section))
            self._loader.set_values([value], self._config)

    def put_back(self, originals: dict[str, Any]) -> None:
        """Gives the sections their nodes again; None is one that was not there."""
        content = _content(self._config)
        for section, node in originals.items():
            content.pop(section, None)
            if node is not None:
                content[section] = node

    def _load(self, changed: set[str]) -> RunConfig:
        """Reads the `changed` sections; the others are as they are in every point."""
        values = {
            name: composed.plain(self._config, name) if name in changed else self._values[name]
            for name in composed.sections(self._config)
        }
        unchanged = {name: value for name, value in self._typed.items() if name not in changed}
        config = load(RunConfig, values, unchanged)
        modes.keep(config.launch.access.value)
        for name in self._values.keys() - self._typed.keys() - changed:
            self._typed[name] = getattr(config, name)
        return config


def _sections(config: DictConfig, key: str) -> set[str]:
    """The sections that setting or deleting `key` may change: an interpolation above it leads into another one."""
    above = (OmegaConf.select(config, key.rsplit(".", depth)[0]) for depth in range(1, key.count(".") + 1))
    node = next((node for node in above if isinstance(node, DictConfig)), None)
    return {re.split(r"[.\[]", place)[0] for place in (key, node._get_full_key(None) if node is not None else key)}


def _content(config: DictConfig) -> dict[str, Any]:
    """Its nodes themselves: what OmegaConf gives out and takes in publicly is copied and checked."""
    nodes: dict[str, Any] = config.__dict__["_content"]
    return nodes
