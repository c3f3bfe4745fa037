"""Does a chat stream, obey, stop at Ctrl-C and keep a private history? Does a pipe get the answer alone?"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import select
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import scripted_model
from tunefleet.doors import cli

ANSWERS = {"a": "Hi you", "e": "\x1b]0;b\x07!", "k": "\u00e9."}
LOOPS = {"z": "xq"}
PATIENCE = 120  # seconds; the machine may be busy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_model.write(tmp_path_factory.mktemp("model") / "tiny", ANSWERS, LOOPS)


class Terminal:
    """`tunefleet ARGUMENTS` at a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tunefleet", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "XDG_STATE_HOME": "", "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = ""

    def types(self, keys: str, until: str, again: str = "") -> str:
        """What is shown from now on, up to `until`; `again` is typed every second until then."""
        os.write(self._master, keys.encode())
        shown, deadline = "", time.monotonic() + PATIENCE
        while until not in shown:
            assert time.monotonic() < deadline, f"no {until!r} in {shown!r}, after {self.shown!r}"
            if not select.select([self._master], [], [], 1)[0]:
                os.write(self._master, again.encode())
            else:
                with contextlib.suppress(OSError):  # Linux: the other side has closed it
                    shown += os.read(self._master, 65536).decode("utf-8", "replace")
            assert until in shown or self.process.poll() is None, f"ended: {self.shown}{shown}"
        self.shown += shown
        return shown

    def ends(self, keys: str) -> int:
        """The exit code that `keys` lead to; typed again, as a terminal may forget what comes between two prompts."""
        for _ in range(PATIENCE // 5):
            os.write(self._master, keys.encode())
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(5)
        return self.process.wait(0)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(folder: Path, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, "chat", str(folder), "--max-tokens", "4000")
    yield terminal
    terminal.close()


def test_a_conversation_at_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    """One process for all that a terminal shows: its start takes seconds."""
    (tmp_path / "there.json").write_text("mine")
    terminal.types("", "> ")
    assert "Hi you\r\n" in terminal.types("aa\r", "\r\n> ")
    assert "command" in terminal.types("/nope\r", "> ").split("\n", 1)[1]
    assert "xqxq" in terminal.types("z\r", "xqxqxqxq")  # it streams: this answer would have 4000 tokens
    stopped = terminal.types("\x03", "> ")
    assert "(stopped)" in stopped
    assert len(stopped) < 4000
    escaped = terminal.types("e\r", "!\r\n> ")
    assert "\\x1b]0;b\\x07!" in escaped
    assert "\x1b]0;" not in escaped
    assert "forgotten" in terminal.types("/undo\r", "\r\n> ")
    assert "Replace it?" in terminal.types("/save there.json\r", "[y/N]")
    assert "not saved" in terminal.types("n\r", "> ")
    assert "saved to new.json" in terminal.types("/save new.json\r", "> ")
    assert "Hi you" in terminal.types("\x1b[A" * 7 + "\r", "you\r\n> ")  # of the history
    terminal.types("half a line", "half a line")
    # CPython sees a Ctrl-C between two waits for keys only at the next key
    terminal.types("\x03", "(Ctrl-D ends)", again="\x03")
    assert terminal.ends("\x04") == 0
    assert (tmp_path / "there.json").read_text() == "mine"
    [row] = [json.loads(line) for line in (tmp_path / "new.json").read_text().splitlines()]
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * 2
    assert row["messages"][:2] == [{"role": "user", "content": "aa"}, {"role": "assistant", "content": "Hi you"}]
    history = tmp_path / ".local" / "state" / "tunefleet" / "chat_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert history.read_text().splitlines()[:2] == ["aa", "/nope"]


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes, *arguments: str) -> int:
    """The exit code of `tunefleet chat ARGUMENTS` with `content` at its standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(SystemExit) as ended:
        cli.main(["chat", *arguments])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(("question", "answer"), [(b"a\n", "Hi you\n"), (b"two\nlines k\n", "\u00e9.\n")])
def test_a_pipe_gets_the_answer_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], question: bytes, answer: str
) -> None:
    assert piped(monkeypatch, question, str(folder)) == 0
    assert capsys.readouterr().out == answer


def test_an_answer_does_not_command_the_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert piped(monkeypatch, b"e\n", str(folder)) == 0
    assert capsys.readouterr().out == "\\x1b]0;b\\x07!\n"


def test_control_an_answer_that_is_printed_as_it_is_commands_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tunefleet.base.text.printable", lambda text: text)
    with pytest.raises(AssertionError, match="x1b"):
        test_an_answer_does_not_command_the_terminal(folder, monkeypatch, capsys)


def test_control_without_room_being_asked_for_a_long_question_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tunefleet.runs.text_model.TextModel.expect_room", lambda self, ids: None)
    with pytest.raises((AssertionError, ValueError)):
        test_what_cannot_be_answered_is_one_line_and_exit_code_2(
            folder, monkeypatch, capsys, b"a" * 9000, ["--max-tokens", "1"], "the prompt has 9000 tokens"
        )


def test_settings_of_the_model_that_are_not_used_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = scripted_model.write(tmp_path / "own", {"a": "Hi you"})
    path = model / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"repetition_penalty": 1.5}))
    assert piped(monkeypatch, b"a", str(model)) == 0
    output, complaint = capsys.readouterr()
    assert output == "Hi you\n"
    assert "generation_config.json of the model: repetition_penalty=1.5: not used." in complaint


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b" \n", [], "standard input: holds no question"),
        (b"\xff\xfe", [], "standard input: is no UTF-8"),
        (b"a" * 9000, [], "the prompt has 9000 tokens, and this model takes from 1 to 4095"),
        (b"a", ["--temperature", "-1"], "'-1' is not allowed. Allowed: a number from 0 (greedy) to 5."),
        (b"a", ["--top-p", "0"], "'0' is not allowed. Allowed: a number above 0, at most 1."),
        (b"a", ["--beside", "base"], "does not say which model it started from"),
    ],
)
def test_what_cannot_be_answered_is_one_line_and_exit_code_2(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    arguments: list[str],
    message: str,
) -> None:
    assert piped(monkeypatch, content, str(folder), *arguments) == 2
    output, complaint = capsys.readouterr()
    assert output == ""
    assert [line for line in complaint.splitlines() if "Loading weights" not in line][-1].startswith("tunefleet: ")
    assert message in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize("name", ["nothing", "nobody/nothing", ".", ""])
def test_a_name_that_means_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert piped(monkeypatch, b"a", name) == 2
    complaint = capsys.readouterr().err
    assert len(complaint.splitlines()) == 1
    assert "Traceback" not in complaint


def test_two_models_answer_beside_each_other(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = scripted_model.write(tmp_path / "other", {"a": "No."})
    assert piped(monkeypatch, b"a", str(folder), "--beside", str(other)) == 0
    assert capsys.readouterr().out == f"{folder}:\nHi you\n{other}:\nNo.\n"
