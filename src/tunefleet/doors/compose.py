"""Composing: a command line becomes a typed configuration; Hydra composes it once, here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.load import dump
from tunefleet.doors import arguments, interpolations, overrides
from tunefleet.doors.arguments import Arguments
from tunefleet.doors.composed import task_overrides, typed
from tunefleet.doors.hydra_loader import Loader, open_loader
from tunefleet.doors.points import typed_points

CONF = (Path(__file__).parents[1] / "conf").resolve()
"""Our own configs: the repository's `conf`, or the copy of it in an installed package."""


def register_defaults() -> None:
    """Gives Hydra every setting's default, from the dataclasses; their types are checked by `load`.

    Hydra copies the store for every question about a group, a second in all for `--help`; one is enough, because it
    copies again what it takes out.
    """
    ConfigStore.instance().store(name="base", node=dump(RunConfig()))
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]


def from_overrides(argv: Sequence[str], conf: str | Path = arguments.MAIN, with_project_conf: bool = True) -> RunConfig:
    """The configuration of `train.py OVERRIDES`, for commands beside it and for tests. Raises `ConfigError`.

    With `with_project_conf` the folder `conf` of the current directory is searched too, as train.py does it.
    """
    typed_words = _of_a_run(argv, conf, with_project_conf)
    loader = opened(typed_words)
    return typed(loader.load_configuration(typed_words.config_name, list(typed_words.overrides), RunMode.RUN))


def opened(typed_words: Arguments) -> Loader:
    """Hydra's loader for a command line."""
    register_defaults()
    interpolations.restrict()
    return open_loader(typed_words)


def grid(argv: Sequence[str]) -> list[tuple[list[str], RunConfig | ConfigError]]:
    """The points of `train.py -m OVERRIDES`: the overrides of each, and its configuration or what is wrong with it.

    Raises `ConfigError` where no point can be composed.
    """
    typed_words = _of_a_run(argv, arguments.MAIN, with_project_conf=True)
    loader = opened(typed_words)
    config = loader.load_configuration(typed_words.config_name, list(typed_words.overrides), RunMode.MULTIRUN)
    if "sweep" in config:
        raise ConfigError("sweep: is a search. `python train.py -m ... --dry-run` plans it and shows what it costs.")
    return points(config, loader)


def points(config: DictConfig, loader: Loader) -> list[tuple[list[str], RunConfig | ConfigError]]:
    """The points of a composed grid, as `grid` returns them."""
    texts = point_overrides(config, loader)
    return list(zip(texts, typed_points(texts, loader, partial(loader.load_sweep_config, config)), strict=True))


def point_overrides(config: DictConfig, loader: Loader) -> list[list[str]]:
    """Every combination of what was swept; what is typed replaces the same key of `hydra.sweeper.params`."""
    params: Any = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create(), resolve=False)
    texts = [*(f"{key!s}={value}" for key, value in params.items()), *task_overrides(config)]
    complaints: list[str] = []
    parsed = overrides.parse_all(texts, complaints)
    if complaints:
        raise ConfigError(*complaints)
    for override in parsed:
        override.config_loader = loader
    return BasicSweeper.split_arguments(parsed, None)[0]


def _of_a_run(argv: Sequence[str], conf: str | Path, with_project_conf: bool) -> Arguments:
    """The arguments, of which none may want something else than a run."""
    path = [f"--config-path={conf}"] if str(conf) != arguments.MAIN else []
    typed_arguments = arguments.parse([*path, *argv], with_project_conf)
    if typed_arguments.act != "run" or typed_arguments.multirun:
        flag = "-m" if typed_arguments.multirun else f"--{typed_arguments.act.replace('_', '-')}"
        raise ConfigError(f"{flag}: only `tunefleet train` and train.py take it.")
    return typed_arguments


__all__ = [
    "CONF",
    "from_overrides",
    "grid",
    "opened",
    "point_overrides",
    "points",
    "register_defaults",
    "typed",
    "typed_points",
]
