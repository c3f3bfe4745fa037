"""Is what was typed into a chat for its user alone, whatever the umask, and whatever was there?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunefleet.doors.line_editor import LineEditor


@pytest.fixture(params=[0o022, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def history(tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("builtins.input", lambda prompt: "a secret")
    return tmp_path / "state" / "chat_history"


def type_a_line(history: Path) -> tuple[int, int]:
    """The modes of the history and of its folder after a line was typed."""
    assert LineEditor(history, ()).read("> ") == "a secret"
    return stat.S_IMODE(history.stat().st_mode), stat.S_IMODE(history.parent.stat().st_mode)


def test_a_new_history_is_its_users_alone(history: Path) -> None:
    assert type_a_line(history) == (0o600, 0o700)
    assert history.read_text() == "a secret\n"


def test_a_history_that_was_open_is_closed(history: Path) -> None:
    history.parent.mkdir(mode=0o700)
    history.write_text("before\n")
    history.chmod(0o644)
    assert type_a_line(history)[0] == 0o600
    assert history.read_text() == "before\na secret\n"


def test_control_without_its_mode_the_umask_decides(history: Path, umask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open
    monkeypatch.setattr(
        os, "open", lambda path, flags, mode=0o777: opened(path, flags, 0o666 if mode == 0o600 else mode)
    )
    monkeypatch.setattr(os, "fchmod", lambda descriptor, mode: None)
    assert type_a_line(history)[0] == 0o666 & ~umask


def test_a_link_is_not_written_through(history: Path, tmp_path: Path) -> None:
    history.parent.mkdir()
    history.symlink_to(tmp_path / "elsewhere")
    assert LineEditor(history, ()).read("> ") == "a secret"
    assert not (tmp_path / "elsewhere").exists()
