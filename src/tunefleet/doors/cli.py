"""The command `tunefleet`: everything beside training; `tunefleet --help` lists it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tunefleet.base import text
from tunefleet.doors.friendly import friendly
from tunefleet.doors.rank import prepare_environment
from tunefleet.doors.start import announce
from tunefleet.plan import Machine, Plan, make

_EPILOG = "Training: python train.py --help. RUN is a directory such as outputs/demo_opt-tiny_ddp-1a2b3c4d."


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends with 0, or with the exit code of what went wrong (src/tunefleet/base/errors.py)."""
    with friendly():
        chosen = _parser().parse_args(arguments)
        chosen.act(chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tunefleet", description="After and before a training run.", epilog=_EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    plan = commands.add_parser("plan", help="what `train.py OVERRIDES` would run, without running it")
    plan.add_argument("overrides", nargs="*", help="as for train.py: group=choice, group.key=value")
    plan.set_defaults(act=_plan)
    for name, act, told in _RUN_COMMANDS:
        command = commands.add_parser(name, help=told)
        command.add_argument("run", type=Path, metavar="RUN", help="the run's directory")
        command.set_defaults(act=act)
        if name == "export":
            command.add_argument("--to", type=Path, help="another folder than RUN/export")
    return parser


def _plan(chosen: argparse.Namespace) -> None:
    from tunefleet.doors import compose  # Hydra takes 0.3 s, which other commands can do without

    announce(make(compose.from_words(chosen.overrides), Machine.this()))


def _export(chosen: argparse.Namespace) -> None:
    plan = _ready(chosen.run)
    from tunefleet.runs.export import export

    print(os.path.relpath(export(plan, chosen.to)))


def _evaluate(chosen: argparse.Namespace) -> None:
    plan = _ready(chosen.run)
    from tunefleet.runs import use, words

    record, samples = use.evaluate(plan)
    print(text.listed(words.results(record)))
    print("\n".join(words.samples(samples[: plan.config.evaluation.samples])))


def _chat(chosen: argparse.Namespace) -> None:
    plan = _ready(chosen.run)
    from tunefleet.runs import use

    print("Say something; /new begins a new conversation, an empty line ends.", file=sys.stderr)
    use.chat(plan, _ask, print)


def _ask() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "").strip() or None
    except EOFError:
        return None


def _ready(run: Path) -> Plan:
    """The plan of a run, with everything set for the libraries that are imported next."""
    plan = Plan.read(run)
    prepare_environment(plan)
    return plan


_RUN_COMMANDS = (
    ("export", _export, "write the newest checkpoint in Hugging Face form"),
    ("evaluate", _evaluate, "measure the exported model on every validation split"),
    ("chat", _chat, "talk with the exported model"),
)
