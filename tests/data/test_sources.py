"""Is every row read, and does every message about a broken one name the place?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.shared import shared_data
from tunefleet.base.errors import DataError
from tunefleet.data.sources import Source

ROWS = [{"prompt": "a", "completion": "1"}, {"prompt": "b\nc", "completion": "zwei, 二"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def file(folder: Path, content: str | bytes, name: str = "rows.json") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, limit: int | None = None) -> list[tuple[dict[str, object], str]]:
    return [(row.values, row.where) for row in Source("train", str(path), limit=limit).rows()]


def values(path: Path) -> list[dict[str, object]]:
    return [found for found, _ in read(path)]


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


def test_the_name_of_the_file_does_not_matter(tmp_path: Path) -> None:
    assert values(file(tmp_path, LINES, "rows.json")) == values(file(tmp_path, json.dumps(ROWS), "rows.jsonl"))


def test_rows_of_lines_know_their_line(tmp_path: Path) -> None:
    path = file(tmp_path, "\n\n" + LINES.replace("\n", "\n\n"))
    assert [where for _, where in read(path)] == [f"{path}:3", f"{path}:5"]


def test_rows_of_a_list_know_their_number(tmp_path: Path) -> None:
    path = file(tmp_path, json.dumps(ROWS, indent=2))
    assert [where for _, where in read(path)] == [f"{path}: row 1", f"{path}: row 2"]


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "[]"])
def test_an_empty_file_has_no_rows(tmp_path: Path, content: str) -> None:
    assert read(file(tmp_path, content)) == []


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, LINES + '\n{"prompt": "c", \n' + LINES)
    with pytest.raises(DataError, match=re.escape(f"{path}:4: broken JSON: ")):
        read(path)


def test_rows_before_a_broken_line_are_still_given(tmp_path: Path) -> None:
    rows = Source("train", str(file(tmp_path, LINES + "{"))).rows()
    assert [next(rows).values, next(rows).values] == ROWS


def test_a_broken_list_names_the_line(tmp_path: Path) -> None:
    path = file(tmp_path, '[\n  {"a": 1},\n  {"a": 2,}\n]')
    with pytest.raises(DataError, match=re.escape(f"{path}:3: broken JSON: ")):
        read(path)


@pytest.mark.parametrize("value", ["[1]", '"text"', "3", "null"])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, value: str) -> None:
    path = file(tmp_path, LINES + value + "\n")
    kind = type(json.loads(value)).__name__
    with pytest.raises(DataError, match=re.escape(f"{path}:3: {kind} instead of an object")):
        read(path)


def test_an_entry_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, '[{"a": 1}, "text"]')
    with pytest.raises(DataError, match=re.escape(f"{path}: row 2: str instead of an object")):
        read(path)


@pytest.mark.parametrize("before", [0, 10, 100_000])
@pytest.mark.parametrize("start", ["", "["], ids=["lines", "list"])
def test_bad_utf8_names_file_and_byte(tmp_path: Path, before: int, start: str) -> None:
    filling = (start + '{"a": "' + "x" * before).encode()
    path = file(tmp_path, filling + b'\xff"}\n')
    with pytest.raises(DataError, match=re.escape(f"{path}: not UTF-8 at byte {len(filling)}.")):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "none.jsonl"))):
        read(tmp_path / "none.jsonl")


@pytest.mark.parametrize("content", [LINES, json.dumps(ROWS)], ids=["lines", "list"])
@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (2, 2), (5, 2), (None, 2)])
def test_limit_keeps_the_first_rows(tmp_path: Path, content: str, limit: int | None, expected: int) -> None:
    found = [row for row, _ in read(file(tmp_path, content), limit)]
    assert found == ROWS[:expected]


def test_lines_after_the_limit_are_not_read(tmp_path: Path) -> None:
    assert len(read(file(tmp_path, LINES + "broken"), limit=2)) == 2


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first, same = file(tmp_path, LINES, "a"), file(tmp_path, LINES, "b")
    other = file(tmp_path, LINES.replace("zwei", "Zwei"), "c")
    prints = [Source("train", str(path)).fingerprint() for path in (first, same, other)]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_fingerprint_tells_limits_apart(tmp_path: Path) -> None:
    path = str(file(tmp_path, LINES))
    assert len({Source("train", path, limit=limit).fingerprint() for limit in (None, 1, 2)}) == 3


def test_demo_rows_know_their_split() -> None:
    rows = list(Source("train", "demo", "train", 3).rows())
    assert [row.where for row in rows] == ["demo/train:1", "demo/train:2", "demo/train:3"]
    assert all({"prompt", "completion"} <= row.values.keys() for row in rows)


def test_alpaca_has_52002_rows() -> None:
    rows = list(Source("train", str(shared_data("alpaca_52k/alpaca_data.json"))).rows())
    assert len(rows) == 52_002
    assert set(rows[-1].values) == {"instruction", "input", "output"}
