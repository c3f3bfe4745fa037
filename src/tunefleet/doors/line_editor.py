"""Line editor: lines typed at a terminal, with arrows, Ctrl-R and Tab, and a history that outlives the process."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tunefleet.base import files

_HISTORY_LINES = 1000  # lines of history


class LineEditor:
    """Reads lines; what was typed is appended to `history`, a file for its user alone (0600)."""

    def __init__(self, history: Path, commands: Sequence[str]) -> None:
        import readline  # a terminal alone needs it

        self._readline, self._history, self._commands = readline, history, commands
        readline.set_auto_history(False)
        readline.set_completer_delims("")
        readline.set_completer(self._complete)
        readline.parse_and_bind("tab: complete")
        for line in _lines(history)[-_HISTORY_LINES:]:
            readline.add_history(line)

    def read(self, prompt: str) -> str | None:
        """The next line without its spaces; None at the end of input (Ctrl-D). Raises `KeyboardInterrupt`."""
        try:
            line = input(prompt).strip().encode("utf-8", "replace").decode()  # without what is no UTF-8
        except EOFError:
            return None
        if line:
            self._readline.add_history(line)
            with suppress(OSError):  # a home that cannot be written to is no reason to end a chat
                _append(self._history, line)
        return line

    def confirms(self, question: str) -> bool:
        """Whether `question` is answered with yes; that is no line of the history."""
        try:
            return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
        except (EOFError, KeyboardInterrupt):
            print()
            return False

    def _complete(self, text: str, state: int) -> str | None:
        options = [command for command in self._commands if text.startswith("/") and command.startswith(text)]
        return options[state] if state < len(options) else None


def default_history() -> Path:
    """Where XDG puts what a program remembers: ~/.local/state/tunefleet/chat_history."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return folder / "tunefleet" / "chat_history"


def _lines(history: Path) -> list[str]:
    """The lines of a history; none where it is a link, no file, or cannot be read."""
    try:
        if history.is_symlink():
            return []
        return [
            line for line in files.read_bytes(history).decode("utf-8", "replace").splitlines() if line.isprintable()
        ]
    except OSError:
        return []


def _append(history: Path, line: str) -> None:
    history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(history, flags, 0o600)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)
