"""What did the person type: checks group choices, and lets unknown keys through to be named all at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunefleet.base.errors import ConfigError
from tunefleet.config.load import did_you_mean

PLAIN = "++"  # how a setting that is no group reaches Hydra: set it, whether or not it is known
_NO_GROUPS = ("hydra", "local")  # `local` holds a cluster's own settings, which are always taken
_LAUNCHER = re.compile(r"^hydra/launcher=(submitit_)?(?=slurm$|local$)")  # how Hydra's own launchers are spelled
_OF_LAUNCHERS = ("--local_rank", "--local-rank")  # LOCAL_RANK says the same
_MULTIRUN = ("-m", "--multirun")
_OVERRIDE = re.compile(r"(?P<key>[A-Za-z_][\w.\-/]*)=(?P<value>.*)", re.DOTALL)


def groups(conf: Path) -> dict[str, set[str]]:
    """The config groups below `conf` and the choices of each."""
    folders = [folder for folder in conf.iterdir() if folder.is_dir() and folder.name not in _NO_GROUPS]
    return {folder.name: {choice.stem for choice in folder.glob("*.yaml")} for folder in folders}


def accept(arguments: Sequence[str], conf: Path) -> list[str]:
    """The arguments for Hydra. Raises `ConfigError` for choices that do not exist.

    Hydra stops at the first key that it does not know. `key=value` becomes `++key=value`, which Hydra
    always takes, so that the loader can name every unknown key and every bad value together.
    """
    known = groups(conf)
    arguments = [_LAUNCHER.sub("launch=", argument) for argument in arguments]
    complaints = [complaint for argument in arguments for complaint in _bad_choices(argument, known)]
    if complaints:
        raise ConfigError(*complaints)
    kept = [_forced(argument, known) for argument in arguments if not argument.startswith(_OF_LAUNCHERS)]
    return sorted(kept, key=lambda argument: argument not in _MULTIRUN)  # Hydra wants it before all overrides or after


def typed(overrides: Sequence[str]) -> list[str]:
    """Overrides as the person typed them."""
    return [override.removeprefix(PLAIN) for override in overrides]


def _forced(argument: str, known: Mapping[str, set[str]]) -> str:
    match = _OVERRIDE.fullmatch(argument)
    if match and match["key"] in known and match["value"] == "null":
        return f"~{match['key']}"  # Hydra does not take null for a group
    if not match or match["key"] in known or match["key"].split(".")[0].split("/")[0] == "hydra":
        return argument
    return f"{PLAIN}{argument}"


def _bad_choices(argument: str, known: Mapping[str, set[str]]) -> list[str]:
    match = _OVERRIDE.fullmatch(argument)
    if not match or match["key"] not in known or match["value"].startswith(("$", "choice(", "glob(")):
        return []
    choices = known[match["key"]]
    typed_choices = [choice.strip() for choice in match["value"].split(",")]
    bad = [choice for choice in typed_choices if choice not in choices | {"null"}]
    return [f"{match['key']}: no choice named {choice!r}.{did_you_mean(choice, sorted(choices))}" for choice in bad]
