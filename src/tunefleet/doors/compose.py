"""How a command line becomes a typed configuration: Hydra composes it once, here."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig, load
from tunefleet.config.load import dump
from tunefleet.doors import friendly, overrides

CONF = Path(__file__).parents[3] / "conf"
CONFIG_NAME = "train"


def register_defaults() -> None:
    """Gives Hydra every setting's default, from the dataclasses; their types are checked by `load`.

    Hydra copies the store for every question about a group, a second in all for `--help`; one is enough, because it
    copies again what it takes out.
    """
    ConfigStore.instance().store(name="base", node=dump(RunConfig()))
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]


def typed(composed: DictConfig) -> RunConfig:
    """The typed configuration. Raises `ConfigError` with every complaint at once."""
    try:
        values: Any = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'configuration'}: {str(error.msg or error).splitlines()[0]}") from None
    values.pop("hydra", None)
    return load(RunConfig, values)


def from_words(words: Sequence[str], conf: Path = CONF) -> RunConfig:
    """The configuration of `train.py WORDS`, for commands beside it and for tests. Raises `ConfigError`."""
    register_defaults()
    with initialize_config_dir(str(conf), version_base="1.3"):
        try:
            composed = compose(CONFIG_NAME, overrides.accept(words, conf))
        except HydraException as error:
            raise ConfigError(friendly.in_one_line(error)) from None
    return typed(composed)


def points(words: Sequence[Sequence[str]], hydra: Callable[[list[str]], DictConfig]) -> list[DictConfig]:
    """Every point of a grid. Composing is slow, so Hydra composes once for each choice of groups.

    `hydra` composes one point. Plain values are set afterwards, as Hydra does it: last, and in their order.
    """
    composed: dict[tuple[str, ...], DictConfig] = {}
    found = []
    for point in words:
        values = [word for word in point if word.startswith(overrides.PLAIN)]
        rest = tuple(word for word in point if not word.startswith(overrides.PLAIN))
        if rest not in composed:
            composed[rest] = hydra(list(rest))
        found.append(_with_values(composed[rest], values))
    return found


def _with_values(composed: DictConfig, words: Sequence[str]) -> DictConfig:
    config = copy.deepcopy(composed)
    OmegaConf.set_struct(config, False)
    for override in OverridesParser.create().parse_overrides(list(words)):
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True, force_add=True)
    return config
