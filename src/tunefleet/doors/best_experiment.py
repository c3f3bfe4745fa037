"""Best experiment: the winner of a sweep as an experiment file, which trains the same run again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.types import RunMode

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.load import dump, literal
from tunefleet.doors import arguments, compose
from tunefleet.doors.hydra_loader import Loader
from tunefleet.plan import Plan, machine_for, make

_NOT_WRITTEN = ("name", "output_dir", "tracking", "launch", "plan", "experiment")
"""Where a run is computed and how it is watched, which is not what won."""
_EXPERIMENT = "experiment=best"


def write(path: Path, plan: Plan, searched: Iterable[str], card: Mapping[str, str]) -> str:
    """Writes the experiment of a run that won; returns the command that trains it. Raises `ConfigError`.

    `card` is the experiment's: claim, expected, cost. The settings are those of the keys that were searched, and what
    else the run was composed with that is no default; the sequences of a step are those of all its processes.
    """
    typed = arguments.parse(plan.overrides, with_project_conf=False)
    loader = compose.opened(typed)
    search = [text for text in typed.overrides if text.startswith("hydra.searchpath=")]
    options = [*typed.recorded([]), f"--config-dir={os.path.relpath(path.parent.parent)}"]
    command = shlex.join(["python", "train.py", *options, _EXPERIMENT])
    settings = _settings(loader, [typed.config_name, *search], _config(plan), set(searched))
    files.write_text(path, _text(settings, card, command))
    return command


def difference(path: Path, plan: Plan) -> str:
    """Why the file at `path` would not train the run of `plan`; empty where it would."""
    typed = arguments.parse(plan.overrides, with_project_conf=False)
    overrides = [*typed.recorded([]), f"--config-dir={path.parent.parent}", _EXPERIMENT]
    try:
        config = compose.from_overrides(overrides, with_project_conf=False)
        replanned = make(config, machine_for(config))
    except ConfigError as error:
        return f"cannot be planned here: {error.complaints[0]}"
    return (
        "" if replanned.identity == plan.identity else "is another run on this machine, or a config has changed since"
    )


def _config(plan: Plan) -> dict[str, Any]:
    """What its words compose; the global batch is pinned, so that other numbers of processes train the same."""
    config = dump(compose.from_overrides(plan.overrides, with_project_conf=False))
    if config["train"]["global_batch"] is None:
        config["train"]["global_batch"] = plan.batch.total
    return {key: value for key, value in config.items() if key not in _NOT_WRITTEN}


def _settings(
    loader: Loader, beginning: Sequence[str], config: Mapping[str, Any], searched: Collection[str]
) -> dict[str, Any]:
    """Choices of groups, as a defaults list, and then what those do not bring.

    `beginning` are the name of the primary config and the overrides that say where configs are.
    """
    default = dump(_composed(loader, beginning))
    names = {group: choice for group in config if (choice := _choice(loader, group, config))}
    choices = {group: name for group, name in names.items() if group in searched or name != default[group]["name"]}
    base = dump(_composed(loader, [*beginning, *(f"{group}={name}" for group, name in choices.items())]))
    values = _changed(config, base, searched)
    if values.get("train", {}).get("seed") == config["seed"]:
        del values["train"]["seed"]  # it follows `seed`, and shall when another one is typed
    defaults = [*({f"override /{group}": name} for group, name in choices.items()), "_self_"]
    return {"defaults": defaults, **{key: value for key, value in values.items() if value != {}}}


def _composed(loader: Loader, beginning: Sequence[str]) -> RunConfig:
    name, *overrides = beginning
    return compose.typed(loader.load_configuration(name, overrides, RunMode.RUN))


def _choice(loader: Loader, group: str, config: Mapping[str, Any]) -> str:
    """The choice of a group by its name; empty where the name is no choice."""
    name = config[group].get("name") if isinstance(config[group], Mapping) else None
    return str(name) if name and name in loader.get_group_options(group) else ""


def _changed(
    config: Mapping[str, Any], base: Mapping[str, Any], searched: Collection[str], prefix: str = ""
) -> dict[str, Any]:
    """What is not as in `base`, or was searched."""
    changed: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            inner = _changed(value, base[key], searched, f"{prefix}{key}.")
            changed |= {key: inner} if inner else {}
        elif key not in base or base[key] != value or f"{prefix}{key}" in searched:
            changed[key] = value
    return changed


def _text(settings: Mapping[str, Any], card: Mapping[str, str], command: str) -> str:
    comments = {**{name.capitalize(): text for name, text in card.items()}, "Command": command}
    lines = ["# @package _global_", *(f"# {name}: {' '.join(text.split())}" for name, text in comments.items())]
    body = literal({**settings, "experiment": dict(card)})
    return "\n".join([*lines, yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)])
