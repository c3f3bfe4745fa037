"""Does a row of a table say what the same row of JSON says, and is what is no text or no line refused by kind?"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tunefleet.base.errors import DataError
from tunefleet.config.data import SourceConfig
from tunefleet.data.formats.conversation_reader import Reader
from tunefleet.data.read import features
from tunefleet.data.read.file_readers import aligned, read
from tunefleet.data.read.source_row import Row


def call(**arguments: Any) -> dict[str, Any]:
    tool = {"name": "w", "parameters": {"type": "object", "properties": {k: {"type": "string"} for k in arguments}}}
    calls = [{"function": {"name": "w", "arguments": arguments}}]
    question = {"role": "user", "content": "?"}
    return {"messages": [question, {"role": "assistant", "content": "", "tool_calls": calls}], "tools": [tool]}


ROWS = [call(city="Rome"), call(zone="UTC")]
MIXED = [
    {"messages": [{"role": "user", "content": "Sky?"}, {"role": "assistant", "content": "Blue"}]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Sea?"}]},
            {"role": "assistant", "content": "1"},
        ]
    },
]


def values_of(path: Path) -> list[Any]:
    reader = Reader(SourceConfig())
    rows = [row for row in read(path, SourceConfig()) if isinstance(row, Row)]
    return [(conversation.messages, conversation.tools) for row in rows for conversation in reader.conversations(row)]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_keys_that_arrow_fills_in_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    expected = values_of(lines(tmp_path / "a.jsonl", ROWS))
    assert values_of(tmp_path / "a.parquet") == expected
    monkeypatch.setattr("tunefleet.data.read.tables.columns", lambda schema: {})  # control: as Arrow gives them
    assert values_of(tmp_path / "a.parquet") != expected


def test_json_columns_of_datasets_say_what_the_json_says(tmp_path: Path) -> None:
    expected = values_of(lines(tmp_path / "a.jsonl", MIXED))
    parts = [[{**m, "content": json.dumps(m["content"])} for m in row["messages"]] for row in MIXED]
    inner = {"role": {"dtype": "string", "_type": "Value"}, "content": {"_type": "Json"}}
    described = {"info": {"features": {"messages": {"feature": inner, "_type": "List"}}}}
    table = pyarrow.table({"messages": parts}).replace_schema_metadata({"huggingface": json.dumps(described)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert values_of(tmp_path / "a.parquet") == expected
    complete = {"messages": [[json.dumps(m) for m in row["messages"]] for row in MIXED]}
    described = {"info": {"features": {"messages": {"feature": {"_type": "Json"}, "_type": "List"}}}}
    table = pyarrow.table(complete).replace_schema_metadata({"huggingface": json.dumps(described)})
    pyarrow.parquet.write_table(table, tmp_path / "b.parquet")
    assert values_of(tmp_path / "b.parquet") == expected


def test_broken_json_in_a_column_is_a_bad_row(tmp_path: Path) -> None:
    described = {"info": {"features": {"text": {"_type": "Json"}}}}
    table = pyarrow.table({"text": ["{", '"a"']}).replace_schema_metadata({"huggingface": json.dumps(described)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    bad, good = read(tmp_path / "a.parquet", SourceConfig())
    assert "row 1: text: broken JSON" in str(bad)
    assert isinstance(good, Row)
    assert good.values == {"text": "a"}


@pytest.mark.parametrize("kind", features.MEDIA)
def test_pictures_and_sound_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    described = {"info": {"features": {"pic": {"_type": kind}}}}
    columns = {"pic": [{"bytes": b"x", "path": None}, None], "text": ["a", "b"]}
    table = pyarrow.table(columns).replace_schema_metadata({"huggingface": json.dumps(described)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    first, second = read(tmp_path / "a.parquet", SourceConfig())
    reader = Reader(SourceConfig())
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    with pytest.raises(DataError, match=f"row 1: 'pic' holds {kind}"):
        reader.conversations(first)
    assert reader.conversations(second)
    assert Reader(SourceConfig(ignore_columns=("pic",))).conversations(first)


def test_two_equal_columns_are_refused(tmp_path: Path) -> None:
    table = pyarrow.table([["a"], ["b"], ["c"]], names=["instruction", "output", "output"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "a.arrow"):
        with pytest.raises(DataError, match="two columns named 'output'"):
            list(read(tmp_path / name, SourceConfig()))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"instruction,output\ra,b\rc,d", "a.csv:1: a carriage return"),
        (b"instruction,output\na,b\rc,d\n", "a.csv:2: a carriage return"),
        (b"instruction,output\na,b\0\n", "a.csv:2: holds a NUL character"),
        (b"instruction,output,output\na,b,c\n", "a.csv:1: two columns named 'output'"),
        (b"instruction,output\na,b,c\n", "a.csv:2: 3 cells instead of 2"),
    ],
)
def test_quirks_of_csv_are_named_with_their_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    try:
        actual = [str(row) for row in read(tmp_path / "a.csv", SourceConfig()) if isinstance(row, DataError)]
    except DataError as error:
        actual = [str(error)]
    assert len(actual) == 1
    assert complaint in actual[0]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfinstruction,output\r\na,b\r\n")
    [row] = read(tmp_path / "a.csv", SourceConfig())
    assert isinstance(row, Row)
    assert row.values == {"instruction": "a", "output": "b"}


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("a.en.sgm", "<srcset setid='x'>"),
        ("a.en", '<refset setid="newstest2015" srclang="any">'),
        ("a.tmx", "<tmx version='1.4'>"),
        ("a.xlf", "<xliff>"),
        ("a.en", "<?xml version='1.0'?>"),
        ("a.en", '<doc docid="x">'),
        ("a.jsonl", '{"a": "b"}'),
        ("a.csv", "a,b"),
    ],
)
def test_two_files_that_are_no_lines_of_sentences_are_refused(tmp_path: Path, name: str, first: str) -> None:
    (tmp_path / name).write_text(f"{first}\nGood day\n")
    (tmp_path / "b.de").write_text("x\nGuten Tag\n")
    for pair in ((tmp_path / name, tmp_path / "b.de"), (tmp_path / "b.de", tmp_path / name)):
        with pytest.raises(DataError, match=f"{name}: (SGML or XML|json rows|csv rows)"):
            list(aligned(*pair))


def test_a_sentence_may_begin_with_an_angle_bracket(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("<b> is bold\n")
    assert len(list(aligned(tmp_path / "a.en", tmp_path / "a.en"))) == 1


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_lists_of_texts_are_read_across_groups_of_rows(tmp_path: Path, codec: str) -> None:
    """Arrow cannot join the shared texts of two groups; long texts are shared in the first pages of a group alone."""
    draw = random.Random(0)
    contents = [[*draw.choices(["a", "b" * 400], k=3), "".join(draw.choices("abcdefgh", k=900))] for _ in range(3000)]
    values = [{"messages": [{"role": "user", "content": content} for content in contents[i]]} for i in range(3000)]
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values), path, row_group_size=1700, compression=codec)
    assert [row.values for row in read(path, SourceConfig()) if isinstance(row, Row)] == values
