"""Is a long JSON list read as json reads it, whatever the parts it comes in, and named where it is broken?"""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base.errors import DataError
from tunefleet.data.read import json_list, text_lines

LISTS: list[Any] = [
    [],
    [1, 2.5, -3e10, 12345678901234567890],
    ["a", "", 'quo"te\\', "好\n", "\u2028"],
    [None, True, False, [], {}, [[1], {"a": [2]}]],
    [{"instruction": "x" * 200, "output": "\u00e9\U0001f600"}] * 30,
]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("value", LISTS, ids=range(len(LISTS)))
def test_any_list_in_any_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, ascii_only: bool, block: int
) -> None:
    monkeypatch.setattr(text_lines, "BLOCK", block)
    path = tmp_path / "a.json"
    for indent in (None, 1):
        path.write_text(f" \n{json.dumps(value, ensure_ascii=ascii_only, indent=indent)}\n\n", encoding="utf-8")
        assert json_list.is_list(path)
        assert list(json_list.values(path)) == [(part, "") for part in value]


@pytest.mark.parametrize("block", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    "content", ['[1,\n2,\n{"a" 3}]', "[1 2]", "[1, 2", "[1,]", "[1]\n x", '["a', "[tru]", "[1,\n\n nul", "["]
)
def test_what_is_broken_is_told_as_json_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, block: int
) -> None:
    monkeypatch.setattr(text_lines, "BLOCK", block)
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(content)
    with pytest.raises(DataError) as raised:
        list(json_list.values(path))
    assert str(raised.value).startswith(f"{path}:{expected.value.lineno}: broken JSON: ")


@pytest.mark.parametrize("block", [3, 1 << 20])
def test_bytes_that_are_no_text_are_counted_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(text_lines, "BLOCK", block)
    (tmp_path / "a.json").write_bytes(b'["abcdefgh", "\xff"]')
    with pytest.raises(DataError, match="not UTF-8 at byte 14"):
        list(json_list.values(tmp_path / "a.json"))


def test_only_a_part_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"text": f"{i} " * 100} for i in range(40_000)]))
    tracemalloc.start()
    assert sum(1 for _ in json_list.values(tmp_path / "a.json")) == 40_000
    streamed = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    json.loads((tmp_path / "a.json").read_text())
    complete = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert streamed < 8e6 < complete
