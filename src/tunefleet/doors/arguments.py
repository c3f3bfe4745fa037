"""Arguments of `train.py`: Hydra's options, overrides, and what is neither."""

from __future__ import annotations

import os
import re
from argparse import Action, ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.suggest import nearest

MAIN = "pkg://tunefleet.conf"
CONFIG_NAME = "train"
_LAUNCHER = re.compile(r"^hydra/launcher=(submitit_)?(?=slurm$|local$)")  # how Hydra's own launchers are spelled
_OF_LAUNCHERS = ("--local_rank", "--local-rank")  # LOCAL_RANK holds the same
_KEY = re.compile(r"[A-Za-z_][\w.\-/@]*")


@dataclass(frozen=True)
class Arguments:
    """What was typed. Folders are absolute."""

    overrides: tuple[str, ...] = ()
    config_dirs: tuple[str, ...] = ()
    """Folders that are searched after our own configs, as with `--config-dir`."""
    config_path: str = MAIN
    """Where the primary config lies; other than our own with `--config-path`."""
    config_name: str = CONFIG_NAME
    multirun: bool = False
    act: str = "run"
    """What is wanted instead of a run: help, hydra_help, cfg, info, completion or version."""
    section: str = ""
    """Which of `--cfg job|hydra|all` or of `--info`."""
    package: str | None = None
    resolve: bool = False
    dry_run: bool = False
    """Plan and print a search, and begin nothing."""
    mistakes: tuple[str, ...] = ()
    """Complaints about arguments that are neither; composing adds its own."""
    parser: ArgumentParser = field(default_factory=ArgumentParser, repr=False, compare=False)

    def recorded(self, overrides: Sequence[str]) -> list[str]:
        """The arguments that compose the same again wherever they are typed: folders, then `overrides`."""
        path = [f"--config-path={self.config_path}"] if self.config_path != MAIN else []
        name = [f"--config-name={self.config_name}"] if self.config_name != CONFIG_NAME else []
        search = [override for override in self.overrides if override.startswith("hydra.searchpath=")]
        return [*path, *name, *(f"--config-dir={folder}" for folder in self.config_dirs), *search, *overrides]


def parse(argv: Sequence[str], with_project_conf: bool = True) -> Arguments:
    """The arguments of `train.py ARGV`; `with_project_conf` searches the folder `conf` of the current directory too.

    Raises `ConfigError` for options that do not go together, and for folders that are not there.
    """
    parser = _parser()
    right, mistakes = _sort_words([argument for argument in argv if not argument.startswith(_OF_LAUNCHERS)], parser)
    namespace = parser.parse_intermixed_args(right)
    act, section = _act(namespace)
    if mistakes and act != "run":
        raise ConfigError(*mistakes)
    return Arguments(
        tuple(_LAUNCHER.sub("launch=", argument) for argument in namespace.overrides),
        tuple(
            _folder(folder, "--config-dir")
            for folder in [*namespace.config_dir, *(_project(namespace.config_path) * with_project_conf)]
        ),
        _path(namespace.config_path),
        namespace.config_name or CONFIG_NAME,
        namespace.multirun,
        act,
        section,
        namespace.package,
        namespace.resolve,
        namespace.dry_run,
        tuple(mistakes),
        parser,
    )


def _parser() -> ArgumentParser:
    """Hydra's own, which ends with one line of ours."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> None:
        raise ConfigError(f"{message}. `--help` lists options and groups.")

    parser = get_args_parser()
    parser.allow_abbrev = False
    parser._optionals.conflict_handler = "resolve"
    parser.add_argument("--version", action="store_true", help="Show the version and exit")
    parser.add_argument("--config-dir", "-cd", action="append", default=[], help="Search this folder too (repeatable)")
    parser.add_argument("--dry-run", action="store_true", help="With -m and a search: plan it, print it, begin nothing")
    parser.error = refuse  # type: ignore[method-assign, assignment]
    return parser


def _act(namespace: object) -> tuple[str, str]:
    """What is wanted instead of a run. Raises `ConfigError` for more than one wish."""
    flags = vars(namespace)
    if flags["experimental_rerun"]:
        raise ConfigError("--experimental-rerun: no pickle is loaded here. `tunefleet reproduce RUN` runs it again.")
    wishes = {
        "version": flags["version"],
        "help": flags["help"],
        "hydra_help": flags["hydra_help"],
        "cfg": flags["cfg"],
        "info": flags["info"],
        "completion": flags["shell_completion"],
    }
    requested = [name for name, value in wishes.items() if value]
    if len(requested) > 1 or (requested and (flags["multirun"] or flags["run"])):
        spelled = [f"--{name.replace('_', '-')}" for name in requested]
        flags_typed = [*spelled, *(["-m"] if flags["multirun"] else []), *(["--run"] if flags["run"] else [])]
        raise ConfigError(
            f"{' and '.join(flags_typed)}: only one at a time. `--cfg job` shows one point: leave -m out."
        )
    if flags["resolve"] and requested not in (["cfg"], ["help"]):
        raise ConfigError("--resolve: only with --cfg or --help.")
    if not requested:
        return "run", ""
    value = wishes[requested[0]]
    return requested[0], value if isinstance(value, str) else ""


def _sort_words(argv: Sequence[str], parser: ArgumentParser) -> tuple[list[str], list[str]]:
    """The arguments that are options and overrides, and what was meant by each of the others."""
    options = parser._option_string_actions
    right: list[str] = []
    mistakes: list[str] = []
    remaining = list(argv)
    while remaining:
        argument = remaining.pop(0)
        name, equals, value = argument.partition("=")
        follows = bool(remaining) and _is_value(remaining[0], options)
        if name in options:
            right += [argument, *(remaining.pop(0) for _ in range(_has_value(options[name], equals, remaining)))]
        elif argument.startswith("-"):
            value = remaining.pop(0) if follows and not equals else value
            mistakes.append(_no_option(argument if equals else f"{argument} {value}".strip(), name, value))
        elif follows and (argument.endswith("=") or remaining[0].startswith("=")):
            parts = [argument, remaining.pop(0)]
            if parts[1] == "=" and remaining and _is_value(remaining[0], options):
                parts.append(remaining.pop(0))
            mistakes.append(f"{' '.join(parts)}: there is a space beside the =. Type {''.join(parts)}")
        elif not equals and not argument.startswith("~"):
            mistakes.append(_no_override(argument))
        else:
            right.append(argument)
    return right, mistakes


def _has_value(option: Action, equals: str, remaining: Sequence[str]) -> bool:
    takes_one = option.nargs is None or (
        option.nargs == "?" and remaining[:1] and remaining[0] in (option.choices or ())
    )
    return bool(takes_one and not equals and remaining)


def _is_value(argument: str, options: Mapping[str, Action]) -> bool:
    """Whether an argument can only be the value of the one before it."""
    key, equals, _ = argument.partition("=")
    return (
        argument not in options and not argument.startswith("~") and not (equals and _KEY.fullmatch(key.lstrip("+-")))
    )


def _no_option(argument: str, name: str, value: str) -> str:
    key = name.lstrip("-")
    suggestion = key if "." in key else nearest(key.replace("-", "_"), RunConfig)
    if suggestion is None:
        return f"{argument}: no such option. Settings are typed as group.key=value; `--help` lists options and groups."
    return f"{argument}: no such option. Did you mean '{_with(suggestion, value or '...')}'?"


def _no_override(argument: str) -> str:
    suggestion = nearest(argument, RunConfig)
    hint = f" Did you mean '{_with(suggestion, '...')}'?" if suggestion else ""
    return f"{argument}: not an override. Settings are typed as group.key=value, groups as group=choice.{hint}"


def _with(key: str, value: str) -> str:
    return key if "=" in key.split()[-1] or key.startswith("--") else f"{key}={value}"


def _project(config_path: str | None) -> list[str]:
    """The project's own configs: `conf` where the command is typed, unless it is ours or the primary one."""
    from tunefleet.doors.compose import CONF

    folder = Path("conf")
    excluded = [CONF.resolve(), *([Path(config_path).resolve()] if config_path else [])]
    return ["conf"] if folder.is_dir() and folder.resolve() not in excluded else []


def _path(config_path: str | None) -> str:
    if config_path is None or config_path.startswith("pkg://"):
        return config_path or MAIN
    return _folder(config_path, "--config-path")


def _folder(folder: str, option: str) -> str:
    path = os.path.abspath(folder.removeprefix("file://"))
    if not os.path.isdir(path):
        raise ConfigError(f"{option}: {folder} is not a folder (looked in {os.getcwd()}).")
    return path
