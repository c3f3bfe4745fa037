"""Does a spoiled file of ours, whatever is in it or in its place, cost no more than itself?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import own_files
from tunefleet.base import checksums, digests, files, stdio, text
from tunefleet.data.store import npy_writer
from tunefleet.doors import cli

EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.exe\r"


def wrong(seed: int, count: int, folder: Path) -> list[own_files.Mutant]:
    return [mutant for mutant in own_files.mutants(seed, count, folder) if mutant.wrong]


def test_no_command_stumbles_over_a_spoiled_file(tmp_path: Path) -> None:
    assert wrong(16, 120, tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"[", b"[" * 100_000, b"\xff\xfe", b"null", b"NaN", b'{"state": 1e999}'])
@pytest.mark.parametrize("name", ["status.json", "plan.json", "metrics.jsonl", "attempts.jsonl", "submission.json"])
def test_one_bad_file_leaves_the_other_runs_in_the_table(
    tmp_path: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = own_files.built(tmp_path)
    (outputs / own_files.RUN / name).write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        cli.main(["--outputs", str(outputs), "ls"])
    assert not caught.value.code
    assert "music" in capsys.readouterr().out


def _append(path: Path) -> None:
    with open(path, "ab", opener=files.no_link):
        pass


READERS: dict[str, Callable[[Path], object]] = {
    "files": files.read_bytes,
    "checksums": checksums.checksum,
    "digests": digests.file_digest,
    "a slice of an array": lambda path: npy_writer.read_slice(path, 0, 1),
    "what is appended to": _append,
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for path in ("pipe", "endless", "."):
        with pytest.raises(OSError, match=r"is no plain file|Is a directory|No such device|symbolic links"):
            READERS[name](tmp_path / path)


def test_a_pipe_in_the_place_of_a_file_is_a_change(tmp_path: Path) -> None:
    """`tunefleet export` waited for ever for a checkpoint's chat template that was one (fuzz, seed 3)."""
    os.mkfifo(tmp_path / "a")
    assert checksums.change(tmp_path / "a", [1, "0" * 64]) == "cannot be read: is no plain file"
    assert checksums.change(tmp_path / "a", [1, 0]) == "cannot be read: is no plain file"


def test_nothing_that_a_terminal_obeys_is_printed(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By the stream that every command prints to; the control is what draws on the terminal itself."""
    import io

    written = io.StringIO()
    print(f"a {EVIL} name", file=stdio.neutral(written))
    assert written.getvalue() == "a \\x1b]0;owned\\x07\\x9b31m\\u202egnp.exe\n name\n".replace(
        "a \\", "a \\x1b[2J\\", 1
    )
    drawn = io.StringIO()
    print(EVIL, file=stdio.styled(drawn))
    assert "\x1b[2J" in drawn.getvalue()


def test_a_name_or_a_reason_stays_in_its_line() -> None:
    table = text.columns([["run", "state"], ["a\nb\x1b[1A", "failed\tbadly"]])
    assert table.splitlines()[1:] == ["a b\\x1b[1A  failed badly"]


def test_names_and_reasons_of_a_run_reach_the_terminal_neutralised(tmp_path: Path) -> None:
    import subprocess
    import sys

    outputs = own_files.built(tmp_path)
    record = files.read_json(outputs / "music" / "status.json")
    files.write_json(outputs / "music" / "status.json", {**record, "state": "failed", "reason": EVIL})
    log = outputs / "music" / "logs" / "rank0.log"
    files.write_text(log, f"step 1 {EVIL}\n")
    for command in (["status", "music"], ["ls"], ["logs", "music"]):
        arguments = [sys.executable, "-m", "tunefleet", "--outputs", str(outputs), *command]
        printed = subprocess.run(arguments, capture_output=True, check=True, cwd=tmp_path).stdout.decode()
        assert not set(printed) & set("\x1b\x07\x9b\u202e\r")
        assert "music" in printed or "step 1" in printed
