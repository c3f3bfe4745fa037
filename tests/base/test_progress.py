"""Is progress said where something takes long, in a terminal and without one, and nowhere else?"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

import pytest

from tunefleet.base import progress

SLOW = (
    "import time; from tunefleet.base import progress\nfor _ in progress.over(range(16), 'evaluating'): time.sleep(0.1)"
)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.02)
    monkeypatch.setattr(progress, "REPEATED", 0.02)
    monkeypatch.setattr(progress, "REDRAWN", 0.01)
    monkeypatch.delenv("RANK", raising=False)


@pytest.mark.usefixtures("often")
def test_plain_lines_say_how_many_how_fast_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    assert [item for item in progress.over("abcd", "evaluating") if not time.sleep(0.05)] == list("abcd")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("  evaluating: 1/4 (25%), ")
    assert lines[0].endswith("/s, 0s left")
    assert lines[-1] == "  evaluating: 4 in 0s"


@pytest.mark.usefixtures("often")
def test_an_act_that_cannot_tell_how_far_it_is_says_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.during("saving"):
        time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert set(lines) == {"  saving: 0s"}


@pytest.mark.usefixtures("often")
def test_another_rank_is_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert len([item for item in progress.over("abcd", "evaluating") if not time.sleep(0.05)]) == 4
    with progress.during("saving"):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_what_is_over_in_a_second_needs_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.over([1, 2, 3], "evaluating")) == [1, 2, 3]
    with progress.during("saving"):
        pass
    assert capsys.readouterr().err == ""


def test_a_failure_passes_through() -> None:
    with pytest.raises(OSError, match="full"), progress.during("saving"):
        raise OSError("full")


def test_a_terminal_has_one_line_that_is_redrawn() -> None:
    ours, theirs = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", SLOW], stderr=theirs, check=True, timeout=60)
        said = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert said.count("\n") == 1
    assert said.count("\r\x1b[2Kevaluating: ") >= 2
    assert said.rstrip().endswith("evaluating: 16 in 2s")
