"""Does a reader ever see half a file, whatever happens to the writer?"""

from __future__ import annotations

import json
import os
import secrets
import socket
from pathlib import Path

import pytest

from tunefleet.base import files


def crash(*arguments: object) -> None:
    raise OSError("power cut")


def test_writes_into_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "note.txt"
    files.write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["note.txt"]  # nothing temporary is left


def test_json_round_trip_keeps_order_and_letters(tmp_path: Path) -> None:
    value = {"z": 1, "a": [None, True, 0.1], "text": "天气"}
    files.write_json(tmp_path / "value.json", value)
    read = files.read_json(tmp_path / "value.json")
    assert read == value
    assert list(read) == ["z", "a", "text"]
    assert "天气" in (tmp_path / "value.json").read_text(encoding="utf-8")


def test_a_crash_before_the_rename_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value.json"
    files.write_json(path, {"version": "old"})
    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        files.write_json(path, {"version": "new"})
    assert files.read_json(path) == {"version": "old"}


def test_a_crash_at_the_first_write_leaves_nothing_that_can_be_mistaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rank0.failure.json"
    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        files.write_json(path, {})
    assert not path.exists()
    assert not list(tmp_path.glob("*.failure.json"))  # the pattern that the launcher looks for
    assert list(tmp_path.iterdir()) == []  # of a full disk, its room is what others need


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), sync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), replace(old, new)))
    files.write_text(tmp_path / "note.txt", "x")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_temporary_names_differ_between_calls_processes_and_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note.txt"
    names = {files.temporary_beside(path) for _ in range(100)}
    assert len(names) == 100
    assert {name.parent for name in names} == {tmp_path}
    monkeypatch.setattr(secrets, "token_hex", lambda size: "the same")
    here = files.temporary_beside(path)
    assert files.temporary_beside(path) == here  # control
    monkeypatch.setattr(socket, "gethostname", lambda: "another.cluster")
    assert files.temporary_beside(path) != here


def test_a_leftover_of_a_crash_does_not_disturb_the_next_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note.txt"
    monkeypatch.setattr(files, "temporary_beside", lambda path: path.with_name("note.txt.tmp"))
    path.with_name("note.txt.tmp").write_text("half a sen, and a long tail")
    files.write_text(path, "whole")
    assert path.read_text() == "whole"


def test_publish_moves_a_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "step10.tmp").mkdir()
    (tmp_path / "step10.tmp" / "shard").write_text("bytes")
    files.publish(tmp_path / "step10.tmp", tmp_path / "step10")
    assert (tmp_path / "step10" / "shard").read_text() == "bytes"
    assert not (tmp_path / "step10.tmp").exists()


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "absent.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(json.JSONDecodeError):
        files.read_json(tmp_path / "half.json")
