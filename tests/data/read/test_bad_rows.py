"""Does a bad row end the run with its place and a next move, or, where it may, only leave the row out and say so?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import DataConfig, OnBadRow
from tunefleet.data.prepare import prepare

GOOD = [{"prompt": f"Row {i}?", "completion": f"tells {i}"} for i in range(20)]
BAD: dict[str, tuple[bytes, str]] = {
    "broken JSON": (b'{"prompt": "a", \n', "broken JSON: "),
    "bad UTF-8": (b'{"prompt": "\xff", "completion": "b"}\n', "not UTF-8 at byte 12"),
    "missing column": (b'{"prompt": "a"}\n', "no column completion; it has prompt. The first row is prompt_completion"),
    "null": (b'{"prompt": "a", "completion": null}\n', "completion is NoneType instead of str"),
    "mixed types": (b'{"prompt": ["a"], "completion": "b"}\n', "completion is str instead of list"),
    "a row of another format": (
        b'{"instruction": "a", "output": "b"}\n',
        "no column completion, prompt; it has instruction, output. The first row is prompt_completion",
    ),
    "empty answer": (b'{"prompt": "a", "completion": " "}\n', "the answer (message 2) is empty"),
    "no object": (b'["a", "b"]\n', "list instead of an object with keys"),
}


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return DataConfig(path=str(tmp_path / "rows.jsonl"), validation_rows=0, cache=str(tmp_path / "cache"))


def put(config: DataConfig, content: bytes) -> None:
    Path(str(config.path)).write_bytes(content)


def skipping(config: DataConfig, cap: int = 1) -> DataConfig:
    return replace(config, on_bad_row=OnBadRow.SKIP, max_bad_rows=cap)


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD)
def test_a_bad_row_ends_the_run_with_file_line_reason_and_next_move(
    config: DataConfig, tokenizer: Any, row: bytes, message: str
) -> None:
    put(config, lines(GOOD[:10]) + row + lines(GOOD[10:]))
    with pytest.raises(DataError) as raised:
        prepare(config, tokenizer, 64)
    assert str(raised.value).startswith(f"{config.path}:11: ")
    assert message in str(raised.value)
    assert "data.on_bad_row=skip" in str(raised.value)


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD)
def test_a_bad_row_may_be_left_out_and_is_told(config: DataConfig, tokenizer: Any, row: bytes, message: str) -> None:
    put(config, lines(GOOD[:10]) + row + lines(GOOD[10:]))
    prepared = prepare(skipping(config), tokenizer, 64)
    assert prepared.train.card.conversations == 20
    assert prepared.bad_rows == 1
    (line,) = prepared.report.read_text().splitlines()
    assert line.startswith(f"{config.path}:11: ")
    assert message in line
    repeated = prepare(skipping(config), tokenizer, 64)  # from the cache, as the other ranks find it
    assert (repeated.bad_rows, repeated.report) == (1, prepared.report)
    assert repeated.train.tokens.tolist() == prepared.train.tokens.tolist()


def test_good_rows_leave_no_report(config: DataConfig, tokenizer: Any) -> None:
    put(config, lines(GOOD))
    prepared = prepare(skipping(config), tokenizer, 64)
    assert (prepared.bad_rows, prepared.report.exists()) == (0, False)


def test_too_many_bad_rows_end_the_run_and_are_told(config: DataConfig, tokenizer: Any) -> None:
    put(config, lines(GOOD) + b"{\n" * 9)
    with pytest.raises(
        DataError, match=r"more than data\.max_bad_rows=4 bad rows; .*bad_rows\.txt\. The first: "
    ) as raised:
        prepare(skipping(config, 4), tokenizer, 64)
    report = Path(str(raised.value).split(" are in ")[1].split(". The first")[0])
    assert len(report.read_text().splitlines()) == 5
    assert prepare(skipping(config, 9), tokenizer, 64).bad_rows == 9


def test_a_row_that_the_template_refuses_is_a_bad_row(config: DataConfig, tokenizer: Any, tmp_path: Path) -> None:
    check = "{% if 'bad' in m.content %}{{ raise_exception('no such word') }}{% endif %}"
    source = f"{{% for m in messages %}}{check}{{{{ m.content }}}}</s>{{% endfor %}}"
    (tmp_path / "strict.jinja").write_text(source)
    put(config, lines([*GOOD, {"prompt": "bad", "completion": "b"}]))
    strict = replace(skipping(config), template=str(tmp_path / "strict.jinja"))
    prepared = prepare(strict, tokenizer, 64)
    assert "rows.jsonl:21: data.template: no such word" in prepared.report.read_text()
    with pytest.raises(DataError, match="no such word"):
        prepare(replace(strict, on_bad_row=OnBadRow.ERROR), tokenizer, 64)


def test_an_unknown_format_is_never_left_out(config: DataConfig, tokenizer: Any) -> None:
    """The settings are wrong, not the rows."""
    put(config, b'{"words": "a"}\n' * 3)
    with pytest.raises(DataError, match="unknown format with keys words"):
        prepare(skipping(config, 100), tokenizer, 64)


@pytest.mark.parametrize("content", [b'[{"prompt": "a", "completion": "b"}', b'[{"prompt": "\xff"}]'])
def test_a_file_that_is_damaged_as_a_whole_is_never_left_out(
    config: DataConfig, tokenizer: Any, content: bytes
) -> None:
    """Nobody knows how many rows are lost."""
    put(config, content)
    with pytest.raises(DataError, match=r"broken JSON|not UTF-8"):
        prepare(skipping(config, 100), tokenizer, 64)


def test_a_column_that_no_row_has_is_a_mistake_of_the_settings(config: DataConfig, tokenizer: Any) -> None:
    put(config, lines(GOOD))
    with pytest.raises(ConfigError, match="no row has 'sytem'"):
        prepare(replace(config, columns={"system": "sytem"}), tokenizer, 64)
