"""`tunefleet`: reads what was typed and calls the command of the table; `tunefleet --help` lists them."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tunefleet import __version__
from tunefleet.base import garbage
from tunefleet.base.errors import USER_ERROR, ConfigError
from tunefleet.doors import completion, train
from tunefleet.doors.command_table import COMMANDS, GROUPS, Command
from tunefleet.doors.commands import OUTPUTS
from tunefleet.doors.error_output import exit_on_error

_EPILOG = """Training: `tunefleet train` is `python train.py`; `tunefleet train --help` lists groups and examples.
RUN is a run's directory, its name, or the only beginning of it; SWEEP is what a grid printed (sweep-1a2b3c4d)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends with 0, or with the exit code of what went wrong (src/tunefleet/base/errors.py)."""
    argv = sys.argv[1:] if arguments is None else list(arguments)
    if argv[:2] == ["completion", "query"]:
        return completion.print_for(os.environ.get("COMP_LINE", ""))
    if argv[:1] == ["train"]:
        train.main(argv[1:])
    garbage.search_rarely()
    with exit_on_error():
        args = parse(argv)
        sys.exit(args.act(args))


def parse(argv: Sequence[str]) -> Namespace:
    """What was typed; what argparse makes nothing of goes to Hydra, which names what is wrong with it."""
    parser = _parser()
    argv = list(_with_seeds(argv))
    if not argv:
        parser.print_help()
        sys.exit(USER_ERROR)
    args, unknown = parser.parse_known_args(argv)
    if "overrides" in args:
        args.overrides = unknown  # in the order in which they were typed
    elif "settings" in args and not any(argument.startswith("-") for argument in unknown):
        args.settings = [*args.settings, *unknown]  # argparse takes none behind an option: clone SWEEP 3 --warm a=1
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _with_seeds(argv: Sequence[str]) -> Iterator[str]:
    """`--random` takes a number or nothing; argparse would take the override behind it."""
    for argument, following in zip(argv, [*argv, ""][1:], strict=True):
        yield "--random=-1" if argument == "--random" and not following.isdigit() else argument


class _Parser(ArgumentParser):
    """Its mistakes are one line, as all of ours are."""

    def error(self, message: str) -> NoReturn:
        """Raises `ConfigError`."""
        raise ConfigError(f"{message.rstrip('.')}. `{self.prog} --help` lists what there is.")


def _parser() -> ArgumentParser:
    parser = _Parser("tunefleet", description="Before, during and after a training run.", epilog=_EPILOG)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--version", action="version", version=f"tunefleet {__version__}")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="where runs are kept")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, COMMANDS)
    for name, (summary, below) in GROUPS.items():
        group = commands.add_parser(name, help=summary, description=summary)
        _add(group.add_subparsers(required=True, metavar="WHAT"), below)
    return parser


def _add(commands: Any, described: Sequence[Command]) -> None:
    for name, act, summary, arguments in described:
        command = commands.add_parser(name, help=summary, description=summary)
        for flags, options in arguments:
            if flags == "overrides":
                command.usage = (
                    f"{command.prog} [options] [--config-dir FOLDER] [group=choice ...] [group.key=value ...]"
                )
                command.set_defaults(overrides=[])
            else:
                command.add_argument(*flags.split(), **options)
        command.set_defaults(act=act)
