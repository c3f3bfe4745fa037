"""Does an export leave alone what is not its own, in any folder that a user can name?"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from pathlib import Path

import pytest

from tunefleet.base import delivery, files
from tunefleet.base.errors import RunError


def deliver(folder: Path, **contents: str) -> None:
    with delivery.staging(folder) as staged:
        for name, text in contents.items():
            (staged / name).write_text(text)
        delivery.deliver(staged, folder, {"run": "mine"})


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != delivery.RECORD
    }


def test_a_new_folder_an_empty_one_and_a_former_export_are_free(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    deliver(tmp_path / "former", config="1")
    for name in ("new", "new/deeper", "empty", "former"):
        delivery.expect_free(tmp_path / name)


def test_a_folder_of_somebody_elses_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("a year")
    with pytest.raises(RunError, match=r"notes: holds thesis\.txt, which no export left there\..*--overwrite"):
        delivery.expect_free(tmp_path / "notes")
    delivery.expect_free(tmp_path / "notes", overwrite=True)
    deliver(tmp_path / "notes", config="1")
    assert tree(tmp_path / "notes") == {"thesis.txt": "a year", "config": "1"}


@pytest.mark.parametrize("content", [{}, {"kept.txt": "mine"}])
@pytest.mark.parametrize("name", ["a", delivery.RECORD])
def test_a_folder_with_the_name_of_a_file_is_refused_and_left_alone(
    tmp_path: Path, name: str, content: dict[str, str]
) -> None:
    (tmp_path / "export" / name).mkdir(parents=True)
    for file_name, text in content.items():
        (tmp_path / "export" / name / file_name).write_text(text)
    before = tree(tmp_path)
    with pytest.raises(RunError, match=f"{name}: is a folder.*Move the folder away"):
        deliver(tmp_path / "export", a="1")
    assert (tmp_path / "export" / name).is_dir()
    assert {key: text for key, text in tree(tmp_path).items() if key in before} == before


def test_the_current_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It failed after the work: a temporary name beside `.` is none."""
    monkeypatch.chdir(tmp_path)
    delivery.expect_free(Path())
    deliver(Path(), config="1")
    assert tree(tmp_path) == {"config": "1"}
    (tmp_path / "thesis.txt").write_text("a year")
    delivery.expect_free(Path("."))  # what the export left is as it was, and nothing else is touched
    deliver(Path(), config="2")
    assert tree(tmp_path) == {"config": "2", "thesis.txt": "a year"}


def test_an_export_that_somebody_edited_is_not_replaced_unasked(tmp_path: Path) -> None:
    deliver(tmp_path / "export", config="1", card="by the machine")
    (tmp_path / "export" / "card").write_text("by a person")
    with pytest.raises(RunError, match=r"export: holds card, which no export left there"):
        delivery.expect_free(tmp_path / "export")
    deliver(tmp_path / "export", config="2")  # a card is not among the new files
    assert tree(tmp_path / "export") == {"config": "2", "card": "by a person"}


def test_beside_a_former_export_only_names_that_the_next_may_use_matter(tmp_path: Path) -> None:
    deliver(tmp_path / "export", config="1")
    (tmp_path / "export" / "README.md").write_text("mine")
    delivery.expect_free(tmp_path / "export")
    (tmp_path / "export" / "generation_config.json").write_text("mine")
    with pytest.raises(RunError, match=r"holds generation_config\.json, which no export"):
        delivery.expect_free(tmp_path / "export")


def test_shards_of_an_earlier_export_go(tmp_path: Path) -> None:
    deliver(tmp_path / "export", config="1", shard1="a", shard2="b")
    deliver(tmp_path / "export", config="2", shard="ab")
    assert tree(tmp_path / "export") == {"config": "2", "shard": "ab"}
    assert delivery.changes(tmp_path / "export") == []


def test_a_file_or_a_place_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file: is a file\. Name a folder, or move the file away\."):
        delivery.expect_free(tmp_path / "file")
    with pytest.raises(RunError, match=r"nothing can be written into .*file"):
        delivery.expect_free(tmp_path / "file" / "below")


def test_a_crash_midway_says_that_the_current_folder_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be renamed, so it is changed file by file."""
    deliver(tmp_path / "export", config="1", weights="1")
    monkeypatch.chdir(tmp_path / "export")
    moved: list[object] = []

    def crash(source: object, target: object) -> None:
        if str(source).endswith("weights"):
            raise OSError("No space left on device")
        moved.append(rename(source, target))  # type: ignore[arg-type]

    rename = os.replace
    monkeypatch.setattr("tunefleet.base.delivery.os.replace", crash)
    with pytest.raises(OSError, match="No space"):
        deliver(tmp_path / "export", config="2", weights="2")
    monkeypatch.undo()
    record = delivery.record(tmp_path / "export")
    assert record is not None
    assert not record["complete"]
    assert [path.name for path in (tmp_path / "export").iterdir() if path.name.startswith(".")] == []


def test_what_was_changed_since_is_named(tmp_path: Path) -> None:
    deliver(tmp_path / "export", config="1", weights="1")
    assert delivery.changes(tmp_path / "export") == []
    (tmp_path / "export" / "weights").write_text("2")
    [change] = delivery.changes(tmp_path / "export")
    assert re.fullmatch("weights: changed since it was saved: 1 bytes with SHA-256 .{16}, expected 1 bytes .*", change)
    (tmp_path / "export" / "weights").unlink()
    assert delivery.changes(tmp_path / "export") == ["weights: missing"]


def test_a_record_of_version_0_1_is_read(tmp_path: Path) -> None:
    """Its checksums were CRC-32."""
    (tmp_path / "weights").write_text("1")
    record = {"complete": True, "files": {"weights": [1, zlib.crc32(b"1")]}}
    (tmp_path / delivery.RECORD).write_text(json.dumps(record))
    assert delivery.changes(tmp_path) == delivery.quick_changes(tmp_path) == []
    (tmp_path / "weights").write_text("2")
    assert delivery.changes(tmp_path) == [
        "weights: changed since it was saved: 1 bytes with CRC-32 1ad5be0d, expected 1 bytes with CRC-32 83dcefb7"
    ]
    assert delivery.quick_changes(tmp_path) == ["weights"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_umask_decides_who_may_read(tmp_path: Path, umask: int) -> None:
    """safetensors writes 0600 whatever it is."""
    before = os.umask(umask)
    try:
        with delivery.staging(tmp_path / "export") as staged:
            os.close(os.open(staged / "weights", os.O_CREAT, 0o600))
            delivery.deliver(staged, tmp_path / "export", {})
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "export").iterdir()}
    assert modes == {0o666 & ~umask}


@pytest.mark.parametrize("text", ["", "[]", '{"files": 1}', "\x00"])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    files.write_text(tmp_path / delivery.RECORD, text)
    assert delivery.record(tmp_path) is None
