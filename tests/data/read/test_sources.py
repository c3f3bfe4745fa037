"""Does a path mean the files it should, in the same order everywhere, and does every row know its place?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.shared import shared_data
from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import SourceConfig
from tunefleet.data.read.source_row import Row
from tunefleet.data.read.sources import Source

ROWS = [{"prompt": "a", "completion": "1"}, {"prompt": "b\nc", "completion": "zwei, 二"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def file(folder: Path, content: str | bytes, name: str = "rows.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def source(path: Path | str, **settings: Any) -> Source:
    return Source("train", SourceConfig(path=str(path), **settings))


def read(path: Path | str, **settings: Any) -> list[tuple[dict[str, Any], str]]:
    actual = []
    for row in source(path, **settings).rows():
        if isinstance(row, DataError):
            raise row
        actual.append((row.values, row.location))
    return actual


def values(path: Path | str, **settings: Any) -> list[dict[str, Any]]:
    return [actual for actual, _ in read(path, **settings)]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(LINES, id="jsonl"),
        pytest.param(LINES.rstrip("\n"), id="jsonl without the last newline"),
        pytest.param(LINES.replace("\n", "\r\n"), id="jsonl with CRLF"),
        pytest.param("\ufeff" + LINES, id="jsonl with BOM"),
        pytest.param("\n\n  \n" + LINES.replace("\n", "\n\n \t\n"), id="jsonl with blank lines"),
        pytest.param("   " + LINES, id="jsonl after spaces"),
        pytest.param(json.dumps(ROWS), id="list"),
        pytest.param(json.dumps(ROWS, indent=4, ensure_ascii=False), id="indented list"),
        pytest.param("\ufeff" + json.dumps(ROWS), id="list with BOM"),
        pytest.param("\n \t\n" + json.dumps(ROWS) + "\n", id="list after white space"),
    ],
)
def test_every_way_to_write_rows_gives_the_same_rows(tmp_path: Path, content: str) -> None:
    assert values(file(tmp_path, content)) == ROWS


def test_json_and_jsonl_are_told_apart_by_their_content(tmp_path: Path) -> None:
    assert values(file(tmp_path, LINES, "rows.json")) == values(file(tmp_path, json.dumps(ROWS), "rows.jsonl"))


def test_rows_of_lines_know_their_line(tmp_path: Path) -> None:
    path = file(tmp_path, "\n\n" + LINES.replace("\n", "\n\n"))
    assert [location for _, location in read(path)] == [f"{path}:3", f"{path}:5"]


def test_rows_of_a_list_know_their_number(tmp_path: Path) -> None:
    path = file(tmp_path, json.dumps(ROWS, indent=2))
    assert [location for _, location in read(path)] == [f"{path}: row 1", f"{path}: row 2"]


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "[]"])
def test_an_empty_file_has_no_rows(tmp_path: Path, content: str) -> None:
    assert read(file(tmp_path, content)) == []


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, LINES + '\n{"prompt": "c", \n' + LINES)
    with pytest.raises(DataError, match=re.escape(f"{path}:4: broken JSON: ")):
        read(path)


def test_rows_around_a_broken_line_are_given(tmp_path: Path) -> None:
    rows = list(source(file(tmp_path, LINES + "{\n" + LINES)).rows())
    assert [type(row) for row in rows] == [Row, Row, DataError, Row, Row]


def test_a_broken_list_names_the_line(tmp_path: Path) -> None:
    path = file(tmp_path, '[\n  {"a": 1},\n  {"a": 2,}\n]')
    with pytest.raises(DataError, match=re.escape(f"{path}:3: broken JSON: ")):
        read(path)


@pytest.mark.parametrize("content", [LINES, json.dumps(ROWS)], ids=["lines", "list"])
@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (2, 2), (5, 2), (None, 2)])
def test_max_rows_keeps_the_first_rows(tmp_path: Path, content: str, limit: int | None, expected: int) -> None:
    assert values(file(tmp_path, content), max_rows=limit) == ROWS[:expected]


def test_lines_after_max_rows_are_not_read(tmp_path: Path) -> None:
    assert len(read(file(tmp_path, LINES + "broken"), max_rows=2)) == 2


# Folders and globs


def numbered(number: int) -> str:
    return f'{{"number": {number}}}\n'


def test_a_folder_is_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, number in (("b.jsonl", 2), ("a.json", 1), (".hidden.jsonl", 9), ("README.md", 9), ("below/c.jsonl", 9)):
        file(tmp_path, numbered(number), name)
    assert [row["number"] for row in values(tmp_path)] == [1, 2]


def test_a_glob_is_what_matches_in_the_order_of_its_names(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        file(tmp_path, numbered(number), f"{number}/rows.jsonl")
    file(tmp_path, numbered(9), "4/rows.json")
    assert [row["number"] for row in values(f"{tmp_path}/*/rows.jsonl")] == [1, 2, 3]
    assert [row["number"] for row in values(f"{tmp_path}/**/*.json*")] == [1, 2, 3, 9]


def test_max_rows_counts_over_all_files(tmp_path: Path) -> None:
    file(tmp_path, LINES, "a.json")
    file(tmp_path, LINES, "b.json")
    assert len(values(tmp_path, max_rows=3)) == 3


def test_files_of_several_kinds_in_a_folder_ask_for_a_glob(tmp_path: Path) -> None:
    file(tmp_path, LINES, "a.jsonl")
    file(tmp_path, "text", "LICENSE.txt")
    with pytest.raises(ConfigError, match=r"several kinds \(\.jsonl, \.txt\)\. Give a glob: .*/\*\.jsonl"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("path", "message"), [("none.jsonl", "is no file, folder or glob"), ("*.jsonl", "no file matches")]
)
def test_what_is_not_there_is_named(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / path)


def test_a_data_set_saved_to_disk_is_a_folder(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(tmp_path / "alone")
    datasets.DatasetDict(train=rows, test=rows.select([1])).save_to_disk(tmp_path / "splits")
    assert values(tmp_path / "alone") == ROWS
    assert values(tmp_path / "splits", split="test") == ROWS[1:]


# Fingerprints


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first, same = file(tmp_path, LINES, "a.json"), file(tmp_path, LINES, "b.json")
    second = file(tmp_path, LINES.replace("zwei", "Zwei"), "c.json")
    prints = [source(path).fingerprint() for path in (first, same, second)]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_fingerprint_tells_limits_and_splits_apart(tmp_path: Path) -> None:
    path = file(tmp_path, LINES)
    settings: list[dict[str, Any]] = [{}, {"max_rows": 1}, {"max_rows": 2}, {"split": "a"}, {"subset": "a"}]
    assert len({source(path, **changes).fingerprint() for changes in settings}) == 5


@pytest.mark.parametrize("key", ["path", "target_path", "label_file"])
def test_fingerprint_is_of_every_file(tmp_path: Path, key: str) -> None:
    names = {name: str(file(tmp_path, "a", f"{name}.txt")) for name in ("path", "target_path", "label_file")}
    previous = Source("train", SourceConfig(**names)).fingerprint()  # type: ignore[arg-type]
    file(tmp_path, "b", f"{key}.txt")
    assert Source("train", SourceConfig(**names)).fingerprint() != previous  # type: ignore[arg-type]


def test_fingerprint_of_a_folder_sees_a_new_file(tmp_path: Path) -> None:
    file(tmp_path, LINES, "a.json")
    previous = source(tmp_path).fingerprint()
    file(tmp_path, LINES, "b.json")
    assert source(tmp_path).fingerprint() != previous


# The demo, and real data


def test_demo_rows_know_their_split() -> None:
    rows = read("demo", split="train", max_rows=3)
    assert [location for _, location in rows] == ["demo/train:1", "demo/train:2", "demo/train:3"]
    assert all({"prompt", "completion"} <= actual.keys() for actual, _ in rows)


def test_alpaca_has_52002_rows() -> None:
    rows = values(shared_data("alpaca_52k/alpaca_data.json"))
    assert len(rows) == 52_002
    assert set(rows[-1]) == {"instruction", "input", "output"}
