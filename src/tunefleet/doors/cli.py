"""The command `tunefleet`: everything beside training; `tunefleet --help` lists it.

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
from tunefleet.doors.errors import friendly

if TYPE_CHECKING:
    from tunefleet.launch.register import Run

_OUTPUTS = Path("outputs")
_EPILOG = """Training: `tunefleet train` is `python train.py`; `tunefleet train --help` lists groups and examples.
RUN is a run's directory, its name, or the only beginning of it; SWEEP is what a grid printed (sweep-1a2b3c4d)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends with 0, or with the exit code of what went wrong (src/tunefleet/base/errors.py)."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:2] == ["completion", "query"]:
        return completion.print_for(os.environ.get("COMP_LINE", ""))
    if words[:1] == ["train"]:
        train.main(words[1:])
    with friendly():
        chosen = _chosen(words)
        sys.exit(chosen.act(chosen))


def _chosen(words: Sequence[str]) -> Namespace:
    """What was typed; what argparse makes nothing of goes to Hydra, which says what is wrong with it."""
    parser = _parser()
    words = list(_with_seeds(words))
    if not words:
        parser.print_help()
        sys.exit(USER_ERROR)
    chosen, rest = parser.parse_known_args(words)
    if rest and "overrides" not in chosen:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if "overrides" in chosen:
        chosen.overrides = rest  # in the order in which they were typed
    return chosen


def _with_seeds(words: Sequence[str]) -> Iterator[str]:
    """`--random` takes a number or nothing; argparse would take the override behind it."""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        yield "--random=-1" if word == "--random" and not following.isdigit() else word


def options_of(command: str) -> dict[str, Any]:
    """For Tab: the options of a command with the values of each, and the names of its other arguments."""
    commands = {name: arguments for name, _, _, arguments in _COMMANDS}
    commands |= {f"data {name}": arguments for name, _, _, arguments in _DATA_COMMANDS}
    if command == "data":
        return {"words": [name for name, *_ in _DATA_COMMANDS]}
    if command not in commands:
        top = [name for name, *_ in _COMMANDS] + ["data"]
        return {} if command else {"words": top, "--help": None, "--version": None, "--outputs": None}
    known = {name: settings.get("choices") for words, settings in commands[command] for name in words.split()}
    return {"--help": None, "words": known.get("shell", ()), **known}


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
    for name, act, told, arguments in described:
        command = commands.add_parser(name, help=told, description=told)
        for words, options in arguments:
            if words == "overrides":
                command.usage = (
                    f"{command.prog} [options] [--config-dir FOLDER] [group=choice ...] [group.key=value ...]"
                )
                command.set_defaults(overrides=[])
            else:
                command.add_argument(*words.split(), **options)
        command.set_defaults(act=act)


def _train(chosen: Namespace) -> None:
    """Not reached: `main` hands everything behind `train` to Hydra."""


def _completion(chosen: Namespace) -> None:
    from tunefleet.doors.shells import SCRIPTS

    print(SCRIPTS[chosen.shell], end="")


def _plan(chosen: Namespace) -> None:
    from tunefleet.doors import plan  # Hydra takes 0.3 s, which other commands can do without

    if chosen.of_rows is not None and chosen.of_rows < 1:
        raise ConfigError(f"--rows: {chosen.of_rows} is not allowed. Allowed: a whole number at least 1.")
    (plan.grid if chosen.multirun else plan.one)(chosen.overrides, chosen.machine, chosen.of_rows)


def _check(chosen: Namespace) -> int:
    from tunefleet.doors.check import check

    return check(chosen.overrides)


def _show(chosen: Namespace) -> None:
    from tunefleet.doors import data

    asked = data.Asked(chosen.rows, chosen.row, chosen.random, chosen.split)
    data.show(chosen.overrides, asked, chosen.html)


def _stats(chosen: Namespace) -> None:
    from tunefleet.doors import data

    data.stats(chosen.overrides)


def _prepare(chosen: Namespace) -> None:
    from tunefleet.doors import data

    data.prepare(chosen.overrides)


def _status(chosen: Namespace) -> None:
    from tunefleet.doors import status

    status.status(_named(chosen) if chosen.runs else _all(chosen))


def _ls(chosen: Namespace) -> None:
    from tunefleet.doors import status
    from tunefleet.launch import register, settings

    bad = [word for word in chosen.filters if "=" not in word]
    if bad:
        raise ConfigError(
            *(f"{word}: a filter is key=value, such as model=opt-1.3b or optimizer.lr=1e-5." for word in bad)
        )
    filters = dict(word.split("=", 1) for word in chosen.filters)
    runs = _all(chosen)
    settings.expect_known(list(filters), runs)
    status.ls(register.matching(runs, filters), [State(state) for state in chosen.state])


def _logs(chosen: Namespace) -> None:
    from tunefleet.doors import logs

    logs.logs(_one(chosen), chosen.rank, max(0, chosen.lines), chosen.follow)


def _cancel(chosen: Namespace) -> int:
    from tunefleet.doors import cancel

    return cancel.cancel(_named(chosen), chosen.now)


def _resume(chosen: Namespace) -> int:
    from tunefleet.doors import control

    return control.resume(_named(chosen), _sweep(chosen))


def _retry(chosen: Namespace) -> int:
    from tunefleet.doors import control

    if not chosen.runs:
        return control.retry(_all(chosen))
    if chosen.failed:
        return control.retry(_named(chosen), sweep=_sweep(chosen))
    return control.retry(_named(chosen), None, _sweep(chosen))


def _reproduce(chosen: Namespace) -> int:
    from tunefleet.doors import control

    return control.reproduce(_one(chosen))


def _export(chosen: Namespace) -> None:
    from tunefleet.doors import exported

    exported.export(_one(chosen), chosen.to, chosen.merge, chosen.overwrite)


def _evaluate(chosen: Namespace) -> None:
    from tunefleet.doors import exported

    exported.evaluate(_one(chosen))


def _chat(chosen: Namespace) -> None:
    from tunefleet.doors import exported

    exported.chat(_one(chosen))


def _rm(chosen: Namespace) -> int:
    from tunefleet.doors import rm

    return rm.remove(chosen.runs, _outputs(chosen), chosen.yes)


def _all(chosen: Namespace) -> list[Run]:
    from tunefleet.launch import register

    return register.runs(_outputs(chosen))


def _outputs(chosen: Namespace) -> Path:
    """The folder of runs, which need not be there where nobody has named it. Raises `ConfigError` for what is none."""
    folder: Path = chosen.outputs
    if not folder.is_dir() and (folder != _OUTPUTS or os.path.lexists(folder)):
        kind = "is not a folder" if os.path.lexists(folder) else "is not there"
        raise ConfigError(f"--outputs: {folder} {kind}. Name the folder that runs are saved to, as output_dir= has it.")
    return folder


def _named(chosen: Namespace) -> list[Run]:
    from tunefleet.launch import register

    found = [run for word in chosen.runs for run in register.named(word, _outputs(chosen))]
    return list({run.paths.root: run for run in found}.values())


def _sweep(chosen: Namespace) -> str:
    """The name of the sweep, where one alone is named."""
    from tunefleet.base import sweeps

    return chosen.runs[0] if len(chosen.runs) == 1 and sweeps.read(_outputs(chosen), chosen.runs[0]) else ""


def _one(chosen: Namespace) -> Run:
    from tunefleet.launch import register

    return register.only(chosen.run, _outputs(chosen))


_Argument = tuple[str, dict[str, Any]]
_Command = tuple[str, Callable[[Namespace], int | None], str, Sequence[_Argument]]
_RUN: _Argument = ("run", {"metavar": "RUN", "help": "the run's directory or name"})
_RUNS: _Argument = ("runs", {"metavar": "RUN", "nargs": "+", "help": "runs or sweeps"})
_ANY: _Argument = ("runs", {"metavar": "RUN", "nargs": "*", "help": "runs or sweeps; all where none is given"})
_OVERRIDES: _Argument = ("overrides", {})  # whatever is no option of the command, as for `tunefleet train`
_FILTERS: _Argument = ("filters", {"nargs": "*", "metavar": "KEY=VALUE", "help": "model=opt-1.3b, optimizer.lr=1e-5"})
_STATES: _Argument = ("--state", {"action": "append", "default": [], "choices": [state.value for state in State]})
_FOLLOW: _Argument = ("-f --follow", {"action": "store_true", "help": "go on until the run has ended"})
_RANK: _Argument = ("--rank", {"type": int, "default": 0, "help": "which process"})
_LINES: _Argument = ("-n --lines", {"type": int, "default": 100, "help": "how many of the last lines"})
_YES: _Argument = ("-y --yes", {"action": "store_true", "help": "do not ask"})
_NOW: _Argument = ("--now", {"action": "store_true", "help": "do not save"})
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
_ALONE: _Argument = ("--adapter", {"dest": "merge", "action": "store_false", "help": "the adapter alone"})
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
        "rows as the model sees them, with what is learnt coloured",
        [_OVERRIDES, _ROWS, _ROW, _RANDOM, _SPLIT, _HTML],
    ),
    ("stats", _stats, "what is read, dropped, cut and learnt, lengths, packing; refused as training is", [_OVERRIDES]),
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
    ("status", _status, "how runs stand, and why", [_ANY]),
    ("ls", _ls, "list runs", [_FILTERS, _STATES]),
    ("logs", _logs, "what a process of a run wrote", [_RUN, _FOLLOW, _RANK, _LINES]),
    ("cancel", _cancel, "end runs for good; those that train save first", [_RUNS, _NOW]),
    ("resume", _resume, "start saved runs again, from their newest checkpoint", [_RUNS]),
    ("retry", _retry, "resume those of the runs that are not finished; without RUN, all that failed", [_ANY, _FAILED]),
    ("rm", _rm, "remove runs that are over, for good; asks first", [_RUNS, _YES]),
    ("reproduce", _reproduce, "compose a run again, say what differs from then, run it beside the old one", [_RUN]),
    ("export", _export, "write the newest checkpoint in Hugging Face form", [_RUN, _TO, _OVERWRITE, _MERGED, _ALONE]),
    ("evaluate", _evaluate, "measure the exported model on every validation split", [_RUN]),
    ("chat", _chat, "talk with the exported model", [_RUN]),
)
