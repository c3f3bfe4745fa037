"""Does the journal of a sweep survive what happens to files?"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tunefleet.sweep.journal import Journal


def written(path: Path) -> Journal:
    journal = Journal.read(path)
    for number in range(3):
        journal.append("closed", reason=str(number))
    return journal


def reasons(path: Path) -> list[str]:
    return [event.data["reason"] for event in Journal.read(path).events]


def test_a_line_that_a_crash_cut_off_is_dropped_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path)
    with open(path, "ab") as stream:
        stream.write(b'{"n": 4, "at": 1')
    assert reasons(path) == ["0", "1", "2"]
    assert Journal.read(path).complaints() == []
    assert Journal.read(path).append("closed", reason="3").number == 4
    assert reasons(path) == ["0", "1", "2", "3"]


def test_a_damaged_line_in_the_middle_is_reported_and_the_others_count(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + "\0\0\0\n" + lines[2])
    assert reasons(path) == ["0", "2"]
    assert Journal.read(path).complaints() == [f"{path}: lines 2 cannot be read"]


def test_two_writers_at_once_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first, second = Journal.read(path), Journal.read(path)
    first.append("closed", reason="first")
    second.append("closed", reason="second")
    assert Journal.read(path).complaints() == [f"{path}: lines 2 repeat earlier numbers: two wrote at once"]


def test_a_full_disk_names_the_file_and_the_event_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    journal = written(path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        journal.append("closed", reason="lost")
    assert error.value.filename == str(path)
    assert len(journal.events) == 3
