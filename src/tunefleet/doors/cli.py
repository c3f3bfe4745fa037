"""`tunefleet`: every command beside training; `tunefleet --help` lists them.

What a command does is imported when it is called: a Tab asks this module what there is, in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tunefleet import __version__
from tunefleet.base.errors import USER_ERROR, ConfigError
from tunefleet.base.status import State
from tunefleet.doors import completion, train
from tunefleet.doors.error_output import exit_on_error

if TYPE_CHECKING:
    from tunefleet.launch.register import Run

_OUTPUTS = Path("outputs")
_EPILOG = """Training: `tunefleet train` is `python train.py`; `tunefleet train --help` lists groups and examples.
RUN is a run's directory, its name, or the only beginning of it; SWEEP is what a grid printed (sweep-1a2b3c4d)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends with 0, or with the exit code of what went wrong (src/tunefleet/base/errors.py)."""
    argv = sys.argv[1:] if arguments is None else list(arguments)
    if argv[:2] == ["completion", "query"]:
        return completion.print_for(os.environ.get("COMP_LINE", ""))
    if argv[:1] == ["train"]:
        train.main(argv[1:])
    with exit_on_error():
        args = _parse(argv)
        sys.exit(args.act(args))


def _parse(argv: Sequence[str]) -> Namespace:
    """What was typed; what argparse makes nothing of goes to Hydra, which names what is wrong with it."""
    parser = _parser()
    argv = list(_with_seeds(argv))
    if not argv:
        parser.print_help()
        sys.exit(USER_ERROR)
    args, unknown = parser.parse_known_args(argv)
    if unknown and "overrides" not in args:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if "overrides" in args:
        args.overrides = unknown  # in the order in which they were typed
    return args


def _with_seeds(argv: Sequence[str]) -> Iterator[str]:
    """`--random` takes a number or nothing; argparse would take the override behind it."""
    for argument, following in zip(argv, [*argv, ""][1:], strict=True):
        yield "--random=-1" if argument == "--random" and not following.isdigit() else argument


def options_of(command: str) -> dict[str, Any]:
    """For Tab: the options of a command with the values of each, and the names of its other arguments."""
    commands = {name: arguments for name, _, _, arguments in _COMMANDS}
    commands |= {f"data {name}": arguments for name, _, _, arguments in _DATA_COMMANDS}
    if command == "data":
        return {"words": [name for name, *_ in _DATA_COMMANDS]}
    if command not in commands:
        top = [name for name, *_ in _COMMANDS] + ["data"]
        return {} if command else {"words": top, "--help": None, "--version": None, "--outputs": None}
    options = {name: settings.get("choices") for flags, settings in commands[command] for name in flags.split()}
    return {"--help": None, "words": options.get("shell", ()), **options}


class _Parser(ArgumentParser):
    """Its mistakes are one line, as all of ours are."""

    def error(self, message: str) -> NoReturn:
        """Raises `ConfigError`."""
        raise ConfigError(f"{message}. `{self.prog} --help` lists what there is.")


def _parser() -> ArgumentParser:
    parser = _Parser("tunefleet", description="Before, during and after a training run.", epilog=_EPILOG)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--version", action="version", version=f"tunefleet {__version__}")
    parser.add_argument("--outputs", type=Path, default=_OUTPUTS, help="where runs are kept")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, _COMMANDS)
    of_data = commands.add_parser("data", help=_OF_DATA, description=_OF_DATA)
    _add(of_data.add_subparsers(required=True, metavar="WHAT"), _DATA_COMMANDS)
    return parser


def _add(commands: Any, described: Sequence[_Command]) -> None:
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


def _train(args: Namespace) -> None:
    """Not reached: `main` hands everything behind `train` to Hydra."""


def _completion(args: Namespace) -> None:
    from tunefleet.doors.shells import SCRIPTS

    print(SCRIPTS[args.shell], end="")


def _plan(args: Namespace) -> None:
    from tunefleet.doors import plan  # Hydra takes 0.3 s, which other commands can do without

    if args.of_rows is not None and args.of_rows < 1:
        raise ConfigError(f"--rows: {args.of_rows} is not allowed. Allowed: a whole number at least 1.")
    (plan.grid if args.multirun else plan.single)(args.overrides, args.machine, args.of_rows)


def _check(args: Namespace) -> int:
    from tunefleet.doors.check import check

    return check(args.overrides)


def _show(args: Namespace) -> None:
    from tunefleet.doors import data

    row_options = data.RowOptions(args.rows, args.row, args.random, args.split)
    data.show(args.overrides, row_options, args.html)


def _stats(args: Namespace) -> None:
    from tunefleet.doors import data

    data.stats(args.overrides)


def _prepare(args: Namespace) -> None:
    from tunefleet.doors import data

    data.prepare(args.overrides)


def _status(args: Namespace) -> None:
    from tunefleet.doors import status

    status.status(_named(args) if args.runs else _all(args))


def _ls(args: Namespace) -> None:
    from tunefleet.doors import status
    from tunefleet.launch import register, settings

    bad = [text for text in args.filters if "=" not in text]
    if bad:
        raise ConfigError(
            *(f"{text}: a filter is key=value, such as model=opt-1.3b or optimizer.lr=1e-5." for text in bad)
        )
    filters = dict(text.split("=", 1) for text in args.filters)
    runs = _all(args)
    settings.expect_known(list(filters), runs)
    status.ls(register.matching(runs, filters), [State(state) for state in args.state])


def _logs(args: Namespace) -> None:
    from tunefleet.doors import logs

    logs.logs(_named_run(args), args.rank, max(0, args.lines), args.follow)


def _cancel(args: Namespace) -> int:
    from tunefleet.doors import cancel

    return cancel.cancel(_named(args), args.now)


def _resume(args: Namespace) -> int:
    from tunefleet.doors import control

    return control.resume(_named(args), _sweep(args))


def _retry(args: Namespace) -> int:
    from tunefleet.doors import control

    if not args.runs:
        return control.retry(_all(args))
    if args.failed:
        return control.retry(_named(args), sweep=_sweep(args))
    return control.retry(_named(args), None, _sweep(args))


def _reproduce(args: Namespace) -> int:
    from tunefleet.doors import control

    return control.reproduce(_named_run(args))


def _export(args: Namespace) -> None:
    from tunefleet.doors import exported

    exported.export(_named_run(args), args.to, args.merge, args.overwrite)


def _evaluate(args: Namespace) -> None:
    from tunefleet.doors import exported

    exported.evaluate(_named_run(args))


def _chat(args: Namespace) -> None:
    from tunefleet.doors import exported

    exported.chat(_named_run(args))


def _rm(args: Namespace) -> int:
    from tunefleet.doors import rm

    return rm.remove(args.runs, _outputs(args), args.yes)


def _all(args: Namespace) -> list[Run]:
    from tunefleet.launch import register

    return register.runs(_outputs(args))


def _outputs(args: Namespace) -> Path:
    """The folder of runs, which need not be there where it is the default. Raises `ConfigError` for what is none."""
    folder: Path = args.outputs
    if not folder.is_dir() and (folder != _OUTPUTS or os.path.lexists(folder)):
        kind = "is not a folder" if os.path.lexists(folder) else "is not there"
        raise ConfigError(f"--outputs: {folder} {kind}. Name the folder that runs are saved to, as output_dir= has it.")
    return folder


def _named(args: Namespace) -> list[Run]:
    from tunefleet.launch import register

    runs = [run for name in args.runs for run in register.named(name, _outputs(args))]
    return list({run.paths.root: run for run in runs}.values())


def _sweep(args: Namespace) -> str:
    """The name of the sweep, where one alone is named."""
    from tunefleet.base import sweeps

    return args.runs[0] if len(args.runs) == 1 and sweeps.read(_outputs(args), args.runs[0]) else ""


def _named_run(args: Namespace) -> Run:
    from tunefleet.launch import register

    return register.only(args.run, _outputs(args))


_Argument = tuple[str, dict[str, Any]]
_Command = tuple[str, Callable[[Namespace], int | None], str, Sequence[_Argument]]
_RUN: _Argument = ("run", {"metavar": "RUN", "help": "the run's directory or name"})
_RUNS: _Argument = ("runs", {"metavar": "RUN", "nargs": "+", "help": "runs or sweeps"})
_RUNS_OR_ALL: _Argument = ("runs", {"metavar": "RUN", "nargs": "*", "help": "runs or sweeps; all where none is given"})
_OVERRIDES: _Argument = ("overrides", {})  # whatever is no option of the command, as for `tunefleet train`
_FILTERS: _Argument = ("filters", {"nargs": "*", "metavar": "KEY=VALUE", "help": "model=opt-1.3b, optimizer.lr=1e-5"})
_STATES: _Argument = ("--state", {"action": "append", "default": [], "choices": [state.value for state in State]})
_FOLLOW: _Argument = ("-f --follow", {"action": "store_true", "help": "follow until the run has ended"})
_RANK: _Argument = ("--rank", {"type": int, "default": 0, "help": "which process"})
_LINES: _Argument = ("-n --lines", {"type": int, "default": 100, "help": "how many of the last lines"})
_YES: _Argument = ("-y --yes", {"action": "store_true", "help": "do not ask"})
_AT_ONCE: _Argument = ("--now", {"action": "store_true", "help": "do not save"})
_FAILED: _Argument = (
    "--failed",
    {"action": "store_true", "help": "only what failed or was preempted, as without RUN"},
)
_TO: _Argument = ("--to", {"type": Path, "help": "another folder than RUN/export: new, empty, or a former export"})
_OVERWRITE: _Argument = ("--overwrite", {"action": "store_true", "help": "replace files of the same names there"})

_SHELL: _Argument = ("shell", {"choices": ["bash", "zsh", "fish"], "help": "which shell"})
_MACHINE: _Argument = ("--machine", {"metavar": "MACHINE", "help": "8xH100-80G, 2x8xA100-40G, this, a YAML file"})
_OF_ROWS: _Argument = ("--rows", {"type": int, "dest": "of_rows", "metavar": "ROWS", "help": "training rows, for time"})
_MULTIRUN: _Argument = ("-m --multirun", {"action": "store_true", "help": "every point of a grid, and their sum"})
_MERGED: _Argument = ("--merged", {"dest": "merge", "action": "store_true", "default": None, "help": "a whole model"})
_ADAPTER_ALONE: _Argument = ("--adapter", {"dest": "merge", "action": "store_false", "help": "the adapter alone"})
_ROWS: _Argument = ("-n --rows", {"type": int, "metavar": "ROWS", "help": "how many, 5 by default"})
_ROW: _Argument = ("--row", {"type": int, "metavar": "NUMBER", "help": "this row; with -n also those behind it"})
_RANDOM: _Argument = (
    "--random",
    {"nargs": "?", "const": -1, "type": int, "metavar": "SEED", "help": "rows drawn at random, the same for a SEED"},
)
_SPLIT: _Argument = ("--split", {"default": "train", "metavar": "NAME", "help": "validation rows: validation, ..."})
_HTML: _Argument = ("--html", {"type": Path, "metavar": "FILE", "help": "write a page instead"})

_OF_DATA = "what `tunefleet train OVERRIDES` would train on"
_DATA_COMMANDS: tuple[_Command, ...] = (
    ("completion", _completion, 'print the script that binds Tab: eval "$(tunefleet completion bash)"', [_SHELL]),
    ("train", _train, "train: `tunefleet train [group=choice ...] [group.key=value ...]`", []),
    (
        "show",
        _show,
        "rows as the model sees them, with the tokens in the loss coloured",
        [_OVERRIDES, _ROWS, _ROW, _RANDOM, _SPLIT, _HTML],
    ),
    (
        "stats",
        _stats,
        "rows read, dropped and cut, tokens in the loss, lengths, packing; refused as training is",
        [_OVERRIDES],
    ),
    ("prepare", _prepare, "prepare it now, on any machine that shares data.cache; checks what is there", [_OVERRIDES]),
)
_COMMANDS: tuple[_Command, ...] = (
    ("completion", _completion, 'print the script that binds Tab: eval "$(tunefleet completion bash)"', [_SHELL]),
    ("train", _train, "train: `tunefleet train [group=choice ...] [group.key=value ...]`", []),
    (
        "plan",
        _plan,
        "what `tunefleet train OVERRIDES` would run, whether it fits, how long it takes; nothing is started",
        [_OVERRIDES, _MACHINE, _OF_ROWS, _MULTIRUN],
    ),
    ("check", _check, "whether a strategy computes the right thing on this machine: parallel=zero3", [_OVERRIDES]),
    ("status", _status, "how runs stand, and why", [_RUNS_OR_ALL]),
    ("ls", _ls, "list runs", [_FILTERS, _STATES]),
    ("logs", _logs, "what a process of a run wrote", [_RUN, _FOLLOW, _RANK, _LINES]),
    ("cancel", _cancel, "end runs for good; those that train save first", [_RUNS, _AT_ONCE]),
    ("resume", _resume, "start saved runs again, from their newest checkpoint", [_RUNS]),
    (
        "retry",
        _retry,
        "resume those of the runs that are not finished; without RUN, all that failed",
        [_RUNS_OR_ALL, _FAILED],
    ),
    ("rm", _rm, "remove runs that are over, for good; asks first", [_RUNS, _YES]),
    ("reproduce", _reproduce, "compose a run again, show what differs from then, run it beside the old one", [_RUN]),
    (
        "export",
        _export,
        "write the newest checkpoint in Hugging Face form",
        [_RUN, _TO, _OVERWRITE, _MERGED, _ADAPTER_ALONE],
    ),
    ("evaluate", _evaluate, "measure the exported model on every validation split", [_RUN]),
    ("chat", _chat, "talk with the exported model", [_RUN]),
)
