"""`tunefleet chat`: a conversation at a terminal, or one answer to what comes through a pipe."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tunefleet.base import files, text
from tunefleet.base.errors import ConfigError, TunefleetError
from tunefleet.doors import line_editor
from tunefleet.doors.line_editor import LineEditor
from tunefleet.doors.named_model import NamedModel, named

if TYPE_CHECKING:
    from tunefleet.plan import Plan
    from tunefleet.runs.chat_session import ChatSession

_COMMANDS = {
    "/undo": "forget the last question and its answer",
    "/clear": "begin a new conversation",
    "/system": "TEXT: the system prompt from now on; without TEXT, none",
    "/save": "FILE: write the conversation as a row of training data",
    "/help": "these commands",
}
_MAX_TOKENS = 512  # of an answer, where no run says


def chat(args: Namespace, outputs: Path) -> None:
    """Talks with the model that `args.run` names. Raises `RunError`, `ConfigError`."""
    model = named(args.run, outputs)
    session = _session(model, args, outputs)
    if sys.stdin.isatty():
        _Conversation(session).hold()
    else:
        _answer_pipe(session)


def _session(model: NamedModel, args: Namespace, outputs: Path) -> ChatSession:
    """The models in memory, and nothing said yet."""
    opened = model.open(args.checkpoint)
    from tunefleet.evaluation.streamed_answer import Sampling
    from tunefleet.runs.chat_session import ChatSession, single_turns

    models = {"tuned" if args.beside == "base" else model.label: opened}
    if args.beside:
        label, compared = model.beside(args.beside, opened, outputs)
        models |= {label if label not in models else f"{label} (beside)": compared}
    plan = model.plan()
    sampling = Sampling(args.temperature, args.top_p, args.max_tokens or new_tokens(plan), args.seed)
    session = ChatSession(models, sampling, remembers=plan is None or not single_turns(plan))
    session.set_system(args.system)
    return session


def new_tokens(plan: Plan | None) -> int:
    """The most tokens of an answer where nothing is said: the run's own, or 512."""
    return plan.config.evaluation.max_new_tokens if plan else _MAX_TOKENS


def _answer_pipe(session: ChatSession) -> None:
    """Prints the answer to all of standard input, and nothing else. Raises `ConfigError` where that is no text."""
    try:
        question = sys.stdin.buffer.read().decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input: is no UTF-8: {error.reason} at byte {error.start}.") from None
    if not question:
        raise ConfigError("standard input: holds no question. Pipe one, or type one at a terminal.")
    answers = session.answer(question, lambda label, piece: None)
    for label, answer in answers.items():
        print(*([f"{label}:"] if len(answers) > 1 else []), text.printable(answer.text.strip()), sep="\n", end="\n")


class _Conversation:
    """Reads what is typed, obeys commands and prints answers as they grow."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session
        self._editor = LineEditor(line_editor.default_history(), tuple(_COMMANDS))
        self._label = ""

    def hold(self) -> None:
        """Until Ctrl-D. Ctrl-C stops an answer, or empties the line."""
        remembers = self._session.remembers
        note = "" if remembers else " Each question is answered by itself, as the training rows were."
        print(f"/help lists commands, Ctrl-C stops an answer, Ctrl-D ends.{note}", file=sys.stderr)
        while True:
            try:
                line = self._editor.read("> ")
            except KeyboardInterrupt:
                print("  (Ctrl-D ends)", file=sys.stderr)
                continue
            if line is None:
                print()
                return
            if line:
                self._obey(line)

    def _obey(self, line: str) -> None:
        """A command, or a question; a mistake is told and the chat goes on."""
        name, _, argument = line.partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "/undo": self._undo,
            "/clear": lambda _: self._session.clear(),
            "/new": lambda _: self._session.clear(),  # its name until 0.1
            "/system": self._session.set_system,
            "/save": self._save,
            "/help": _help,
        }
        try:
            if name in commands:
                commands[name](argument.strip())
            elif name.startswith("/") and name[1:].isalpha():
                print(f"{name}: no such command. /help lists them.")
            else:
                self._print_answers(line)
        except (TunefleetError, OSError) as error:
            print(f"tunefleet: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print(" (stopped)")

    def _print_answers(self, question: str) -> None:
        self._label = ""
        answers = self._session.answer(question, self._print)
        for label, answer in answers.items():
            if not answer.text.strip():
                self._print(label, "(no words)")
        print(" (stopped)" if any(answer.ending == "interrupted" for answer in answers.values()) else "", flush=True)

    def _print(self, label: str, piece: str) -> None:
        """A piece of an answer, with nothing in it that the terminal would obey."""
        if len(self._session.models) > 1 and label != self._label:
            print(f"{chr(10) if self._label else ''}{label}:")
        self._label = label
        print(text.printable(piece), end="", flush=True)

    def _undo(self, _: str) -> None:
        print("forgotten" if self._session.undo() else "nothing was said yet")

    def _save(self, name: str) -> None:
        """Writes the conversation; a file that is there is replaced only where the user says so."""
        path = Path(name).expanduser()
        if not name or not self._session.exchanges:
            print("/save FILE: names a file for what was said" if not name else "nothing was said yet")
        elif path.is_dir():
            print(f"{path} is a folder; name a file")
        elif not os.path.lexists(path) or self._editor.confirms(f"{path} is there. Replace it?"):
            rows = self._session.rows()
            files.write_lines(path, (f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
            print(f"saved to {path}")
        else:
            print("not saved")


def _help(_: str) -> None:
    print(text.listed(_COMMANDS))
