"""Commands of `tunefleet`: what each of them does with its arguments.

What a command needs is imported when it is called: Tab asks for the table of commands in a process of its own.
"""

from __future__ import annotations

import os
from argparse import ArgumentTypeError, Namespace
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from tunefleet.base.errors import DONE, ConfigError
from tunefleet.base.status import State

if TYPE_CHECKING:
    from tunefleet.base.sweeps import SweepPaths
    from tunefleet.base.units import Size
    from tunefleet.launch.register import Run

OUTPUTS = Path("outputs")
"""Where runs are, unless `--outputs` names another folder."""


def train(args: Namespace) -> None:
    """Not reached: `main` hands everything behind `train` to Hydra."""


def completion(args: Namespace) -> None:
    """Prints the script that binds Tab in a shell."""
    from tunefleet.doors.shells import SCRIPTS

    print(SCRIPTS[args.shell], end="")


def plan(args: Namespace) -> None:
    """Prints what would run, of one run or of a grid. Raises `ConfigError` for a number of rows below 1."""
    from tunefleet.doors import plan  # Hydra takes 0.3 s, which other commands can do without

    if args.of_rows is not None and args.of_rows < 1:
        raise ConfigError(f"--rows: {args.of_rows} is not allowed. Allowed: a whole number at least 1.")
    if args.calibrate and (args.overrides or args.machine or args.multirun):
        raise ConfigError("plan: --calibrate reads finished runs and plans none. Leave everything else out.")
    if args.calibrate:
        return plan.learn(args.outputs)
    (plan.grid if args.multirun else plan.single)(args.overrides, args.machine, args.of_rows)


def check(args: Namespace) -> int:
    """Compares a few steps of a strategy with a plain loop; the exit code."""
    from tunefleet.doors.check import check

    return check(args.overrides)


def import_file(args: Namespace) -> int | None:
    """Writes another tool's configuration as an experiment; or tells how many of a folder can be; or every option.

    Raises `ConfigError` where there is neither a file nor a folder.
    """
    from tunefleet.doors import import_check, import_file  # Hydra takes 0.3 s, which other commands can do without
    from tunefleet.imports.option_tables import option_tables

    wish = import_file.Wish(
        args.to, args.overwrite, tuple(args.without), args.processes, dataset_folder=args.dataset_dir
    )
    if args.options:
        print(option_tables())
    elif args.check:
        return import_check.check(args.check, wish, args.machine)
    elif args.file:
        import_file.import_file(args.file, wish, args.machine)
    else:
        raise ConfigError("import: no file. Give a configuration: tunefleet import FILE, or --check FOLDER.")
    return None


def show(args: Namespace) -> None:
    """Prints rows as the model sees them, or writes a page of them."""
    from tunefleet.doors import data

    row_options = data.RowOptions(args.rows, args.row, args.random, args.split)
    data.show(args.overrides, row_options, args.html)


def stats(args: Namespace) -> None:
    """Prints what became of all rows."""
    from tunefleet.doors import data

    data.stats(args.overrides)


def prepare(args: Namespace) -> None:
    """Prepares the data in the cache."""
    from tunefleet.doors import data

    data.prepare(args.overrides)


def batch(args: Namespace) -> None:
    """Prints the rows of a step."""
    from tunefleet.doors import data_batch

    data_batch.batch(_named_run(args), args.step, args.json)


def train_tokenizer(args: Namespace) -> None:
    """Writes a tokenizer that was trained on a run's rows."""
    from tunefleet.doors import train_tokenizer

    train_tokenizer.train(args.overrides, args.to, args.vocab, args.special)


def status(args: Namespace) -> None:
    """Prints how runs stand."""
    from tunefleet.doors import status

    status.status(_named(args) if args.runs else _all(args))


def ls(args: Namespace) -> None:
    """Lists the runs that the filters match. Raises `ConfigError` for what is no filter."""
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


def logs(args: Namespace) -> None:
    """Prints what a process of a run wrote."""
    from tunefleet.doors import logs

    logs.logs(_shown_run(args), args.rank, max(0, args.lines), args.follow)


def cancel(args: Namespace) -> int:
    """Ends runs for good; the exit code."""
    from tunefleet.doors import cancel

    searches, args.runs = _searches(args)
    for paths in searches:
        _stop(paths)
    return cancel.cancel(_trusted(args), args.now) if args.runs or not searches else DONE


def resume(args: Namespace) -> int:
    """Starts saved runs again; the exit code."""
    from tunefleet.doors import control

    _expect_no_search(args)

    return control.resume(_trusted(args), _sweep(args))


def retry(args: Namespace) -> int:
    """Starts again what is not finished, or what failed; the exit code."""
    from tunefleet.doors import control

    _expect_no_search(args)

    if not args.runs:
        return control.retry(_all(args))
    if args.failed:
        return control.retry(_trusted(args), sweep=_sweep(args))
    return control.retry(_trusted(args), None, _sweep(args))


def reproduce(args: Namespace) -> int:
    """Runs a run's plan again beside the old one; the exit code."""
    from tunefleet.doors import control

    return control.reproduce(_named_run(args))


def export(args: Namespace) -> None:
    """Writes a checkpoint in Hugging Face form."""
    from tunefleet.doors import exported

    names = [field.name for field in fields(exported.ExportRequest)]
    request = exported.ExportRequest(**{name: getattr(args, name) for name in names})
    exported.export(_named_run(args), request)


def report(args: Namespace) -> None:
    """Writes a page about runs."""
    from tunefleet.doors import report

    report.report(_trusted(args), args.to, outputs_of(args))


def evaluate(args: Namespace) -> None:
    """Measures a run, or a model in files."""
    from tunefleet.doors import evaluate_models

    code = {"pass_at": args.pass_at, "answers": args.answers, "runs_code": args.run_generated_code}
    overrides = tuple(args.overrides)
    options = evaluate_models.Options(args.on or "", args.checkpoint, args.limit, args.json, args.to, overrides, **code)
    evaluate_models.evaluate(args.run, outputs_of(args), options)


def compare(args: Namespace) -> None:
    """Compares models."""
    from tunefleet.doors import compare, evaluate_models

    settings = [text for text in args.runs if "=" in text]  # argparse takes them for models
    targets = [text for text in args.runs if "=" not in text]
    overrides = (*settings, *args.overrides)
    options = evaluate_models.Options(args.on or "", args.checkpoint, args.limit, to=args.to, overrides=overrides)
    compare.compare(targets, outputs_of(args), options, args.prompts, args.seed)


def chat(args: Namespace) -> None:
    """Talks with a model."""
    from tunefleet.doors import chat_terminal

    chat_terminal.chat(args, outputs_of(args))


def board(args: Namespace) -> None:
    """Shows runs and sweeps in a browser."""
    from tunefleet.doors import board

    board.board(args.folder or outputs_of(args), args.host, args.port, args.expose, args.read_only)


def serve(args: Namespace) -> None:
    """Serves a model until Ctrl-C."""
    from tunefleet.doors import serve

    serve.serve(args, outputs_of(args))


def bundle(args: Namespace) -> None:
    """Writes one file about a run, to be sent."""
    from tunefleet.doors import bundle

    bundle.bundle(args.run, outputs_of(args), args.to)


def sync(args: Namespace) -> int:
    """Sends runs to Weights & Biases; the exit code."""
    from tunefleet.doors import sync

    return sync.sync(_trusted(args))


def rm(args: Namespace) -> int:
    """Removes runs that are over; the exit code."""
    from tunefleet.doors import rm

    return rm.remove(args.runs, outputs_of(args), args.yes)


def whole_numbers(text: str) -> tuple[int, ...]:
    """Of `1,10`. Raises `ArgumentTypeError` for anything else."""
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() and 0 < int(number) <= 10_000 for number in numbers):
        raise ArgumentTypeError(f"{text!r} is not allowed. Allowed: whole numbers from 1 to 10000, such as 1,10.")
    return tuple(map(int, numbers))


def checkpoint_choice(text: str) -> str:
    """What `--checkpoint` names. Raises `ArgumentTypeError` for anything but `last`, `best` and a step."""
    if text not in ("last", "best") and not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not allowed. Allowed: last, best, or the step of a checkpoint.")
    return text


def file_size(text: str) -> Size:
    """What `--shard-size` names. Raises `ArgumentTypeError` for what is no size."""
    from tunefleet.base.units import Size

    try:
        return Size.parse(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a size. Allowed: 5GB, 500 MiB, ...") from None


def _searches(args: Namespace) -> tuple[list[SweepPaths], list[str]]:
    """The searches that are named, and the names of everything else."""
    from tunefleet.base.sweeps import SweepPaths

    paths = {name: SweepPaths(outputs_of(args) / "sweeps" / name) for name in args.runs}
    searches = {name: path for name, path in paths.items() if path.definition.exists()}
    return list(searches.values()), [name for name in args.runs if name not in searches]


def _expect_no_search(args: Namespace) -> None:
    """Raises `ConfigError` for a search, whose runs are started by its rounds alone."""
    names = [paths.root.name for paths in _searches(args)[0]]
    if names:
        raise ConfigError(
            *(
                f"{name}: is a search, which starts its runs itself: `tunefleet sweep watch {name}` goes on with it, "
                f"`tunefleet sweep retry {name}` starts what failed."
                for name in names
            )
        )


def _stop(paths: SweepPaths) -> None:
    """A search is told to stop: else whoever advances it would start its trials again."""
    from tunefleet.doors import sweep_acts

    sweep_acts.stop(paths, None)


def _all(args: Namespace) -> list[Run]:
    from tunefleet.launch import register

    return register.runs(outputs_of(args))


def outputs_of(args: Namespace) -> Path:
    """The folder of runs, which need not be there where it is the default. Raises `ConfigError` for what is none."""
    folder: Path = args.outputs
    if not folder.is_dir() and (folder != OUTPUTS or os.path.lexists(folder)):
        kind = "is not a folder" if os.path.lexists(folder) else "is not there"
        raise ConfigError(f"--outputs: {folder} {kind}. Name the folder that runs are saved to, as output_dir= has it.")
    return folder


def _named(args: Namespace) -> list[Run]:
    from tunefleet.launch import register

    runs = [run for name in args.runs for run in register.named(name, outputs_of(args))]
    return list({run.paths.root: run for run in runs}.values())


def _trusted(args: Namespace) -> list[Run]:
    """The same, to act on them. Raises `RunError` where somebody else may have written what is in one."""
    from tunefleet.launch import register

    return register.expect_own(_named(args))


def _sweep(args: Namespace) -> str:
    """The name of the sweep, where one alone is named."""
    from tunefleet.base import sweeps

    return args.runs[0] if len(args.runs) == 1 and sweeps.read(outputs_of(args), args.runs[0]) else ""


def _shown_run(args: Namespace) -> Run:
    """The one run that was named, to look at it."""
    from tunefleet.launch import register

    return register.only(args.run, outputs_of(args))


def _named_run(args: Namespace) -> Run:
    """The one run that was named, to act on it. Raises `RunError` as `_trusted`."""
    from tunefleet.launch import register

    [run] = register.expect_own([_shown_run(args)])
    return run
