"""Do rows of a user's own format become rows that are known, and is its fault one of the row?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunefleet.base import own_code
from tunefleet.base.errors import DataError
from tunefleet.config.data import SourceConfig
from tunefleet.data.formats.conversation_reader import Reader
from tunefleet.data.read.source_row import Row

NAME = "tests.data.formats.test_own_format:notes"


def notes(row: dict[str, Any]) -> Any:
    """`{"q": ..., "a": ...}`, of which nothing else knows what they are."""
    if row["q"] == "none":
        return None
    return {"prompt": row["q"] + "?", "completion": row["a"]}


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    settings = tmp_path / "settings.toml"
    settings.write_text('allow_code = ["tests.data"]')
    monkeypatch.setenv(own_code.SETTINGS, str(settings))
    return Reader(SourceConfig(path="a.jsonl", own_format=NAME))


def test_own_format_makes_rows_that_are_known(reader: Reader) -> None:
    (conversation,) = reader.conversations(Row({"q": "why", "a": "so"}, "a.jsonl:1"))
    assert [(turn.role, turn.content) for turn in conversation.turns] == [("user", "why?"), ("assistant", "so")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"q": "why"}, f"a.jsonl:7: {NAME} raised KeyError: 'a'."),
        (
            {"q": "none"},
            "a.jsonl:7: tests.data.formats.test_own_format:notes returned NoneType, not the values of a row.",
        ),
    ],
)
def test_its_fault_is_that_of_the_row(reader: Reader, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError) as refused:
        reader.conversations(Row(row, "a.jsonl:7"))
    assert str(refused.value) == reason
