"""Is each kind of file read as rows that know their place, and is each kind of damage named?"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base.errors import DataError
from tunefleet.config.data import FileType, SourceConfig
from tunefleet.data.read import file_readers
from tunefleet.data.read.source_row import Row

ROWS: list[dict[str, Any]] = [
    {"prompt": "a", "completion": "1"},
    {"prompt": 'b\nc, "d"', "completion": "zwei, 二"},
    {"prompt": "\u2028e\x0c", "completion": "f"},
]
FLAT = [{"prompt": "a", "completion": "1"}, {"prompt": 'b, "c"', "completion": "zwei 二"}]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def separated(rows: list[dict[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def tabbed(rows: list[dict[str, Any]]) -> bytes:
    return "".join("\t".join(cells) + "\n" for cells in [rows[0], *(row.values() for row in rows)]).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), stream, row_group_size=2)
    return stream.getvalue()


def arrow(form: str) -> Callable[[list[dict[str, Any]]], bytes]:
    def write(rows: list[dict[str, Any]]) -> bytes:
        import pyarrow

        stream = io.BytesIO()
        table = pyarrow.Table.from_pylist(rows)
        with (pyarrow.ipc.new_stream if form == "stream" else pyarrow.ipc.new_file)(stream, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
        return stream.getvalue()

    return write


KINDS: list[tuple[str, Callable[[list[dict[str, Any]]], bytes], list[dict[str, Any]], str]] = [
    ("rows.jsonl", lines, ROWS, ":2"),
    ("rows.json", lambda rows: json.dumps(rows).encode(), ROWS, ": row 2"),
    ("rows.csv", separated, ROWS, ":3"),
    ("rows.tsv", tabbed, FLAT, ":3"),
    ("rows.parquet", parquet, ROWS, ": row 2"),
    ("rows.arrow", arrow("stream"), ROWS, ": row 2"),
    ("file.arrow", arrow("file"), ROWS, ": row 2"),
]


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(path: Path, **settings: Any) -> list[Row]:
    actual = list(file_readers.read(path, SourceConfig(path=str(path), **settings)))
    return [row if isinstance(row, Row) else raised(row) for row in actual]


def raised(error: DataError) -> Row:
    raise error


def complaint(path: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **settings)
    return str(caught.value)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("name", "write", "rows", "place"), KINDS, ids=[kind[0] for kind in KINDS])
def test_every_kind_gives_the_same_rows(
    tmp_path: Path, name: str, write: Callable[[Any], bytes], rows: list[dict[str, Any]], place: str, packed: bool
) -> None:
    content = write(rows)
    path = put(tmp_path, name + ".gz" * packed, gzip.compress(content) if packed else content)
    actual = read(path)
    assert [row.values for row in actual] == rows
    assert actual[1].location == f"{path}{place}"


@pytest.mark.parametrize(("name", "write", "rows", "place"), KINDS, ids=[kind[0] for kind in KINDS])
def test_a_kind_can_be_named(
    tmp_path: Path, name: str, write: Callable[[Any], bytes], rows: list[dict[str, Any]], place: str
) -> None:
    kind = file_readers.file_type(Path(name))
    assert [row.values for row in read(put(tmp_path, "rows", write(rows)), file_type=kind)] == rows


def test_a_name_that_says_nothing_needs_a_kind(tmp_path: Path) -> None:
    message = complaint(put(tmp_path, "rows.en", b"a\n"))
    assert "its name does not tell its type. Name it: data.file_type=json | csv" in message


def test_gzip_is_seen_in_the_content_not_in_the_name(tmp_path: Path) -> None:
    assert len(read(put(tmp_path, "rows.jsonl", gzip.compress(lines(ROWS))))) == 3


def test_pyarrow_is_imported_for_its_files_alone(tmp_path: Path) -> None:
    path = put(tmp_path, "rows.jsonl", lines(ROWS))
    script = (
        "import sys; from pathlib import Path; from tunefleet.data.read import file_readers, hub, sources\n"
        "from tunefleet.config.data import SourceConfig\n"
        f"list(file_readers.read(Path({str(path)!r}), SourceConfig()))\n"
        "assert not {'pyarrow', 'datasets', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# JSON


@pytest.mark.parametrize(
    "content",
    [
        pytest.param('{"a": 1, "b": [2]}', id="one line"),
        pytest.param(json.dumps({"a": 1, "b": [2]}, indent=2), id="indented"),
    ],
)
def test_one_object_is_one_row(tmp_path: Path, content: str) -> None:
    assert [row.values for row in read(put(tmp_path, "a.json", content.encode()))] == [{"a": 1, "b": [2]}]


SPLITS = {"train": [["a", "x"], ["b", "y"]], "val": [["c", "x"]], "names": {"x": 0}}


def test_a_split_is_the_list_at_a_key(tmp_path: Path) -> None:
    path = put(tmp_path, "a.json", json.dumps(SPLITS, indent=1).encode())
    actual = read(path, split="train")
    assert [row.values for row in actual] == [{"0": "a", "1": "x"}, {"0": "b", "1": "y"}]
    assert actual[1].location == f"{path}: train: row 2"
    assert [row.values["0"] for row in read(path, split="train+val")] == ["a", "b", "c"]


def test_rows_that_are_objects_say_their_key(tmp_path: Path) -> None:
    path = put(tmp_path, "a.json", json.dumps({"x": [{"t": 1}], "y": [{"t": 2, "split": "own"}]}).encode())
    assert [row.values for row in read(path, split="*")] == [{"t": 1, "split": "x"}, {"t": 2, "split": "own"}]


@pytest.mark.parametrize("split", ["test", "names", "train+test", "*"])
def test_a_split_without_rows_hears_the_keys(tmp_path: Path, split: str) -> None:
    message = complaint(put(tmp_path, "a.json", json.dumps(SPLITS).encode()), split=split)
    assert f"data.split={split}: no list of rows at" in message
    assert "Keys: train, val, names." in message


@pytest.mark.parametrize(("name", "content"), [("a.json", b'[{"a": 1}]'), ("a.csv", b"a\n1\n"), ("a.txt", b"a\n")])
def test_a_split_of_a_file_without_splits_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    assert "Leave data.split out." in complaint(put(tmp_path, name, content), split="train")


def test_cells_and_texts_are_rows_too(tmp_path: Path) -> None:
    cells = put(tmp_path, "cells.jsonl", b'["a", "x"]\n["b", "y"]\n')
    assert [row.values for row in read(cells)] == [{"0": "a", "1": "x"}, {"0": "b", "1": "y"}]
    texts = put(tmp_path, "texts.jsonl", b'"a"\n"b"\n')
    assert [row.values for row in read(texts)] == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n["a"]\n', ":2: list instead of an object with keys"),
        (b'["a"]\n{"a": 1}\n', ":2: dict instead of a list of cells"),
        (b'"a"\n3\n', ":2: int instead of a text"),
        (b"3\n4\n", ":1: int instead of an object with keys"),
        (b'[{"a": 1}, null]', ": row 2: NoneType instead of an object with keys"),
    ],
)
def test_rows_of_different_kinds_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = put(tmp_path, "a.json", content)
    assert complaint(path).startswith(f"{path}{message}")


# Tables


def test_columns_without_a_header_are_numbers(tmp_path: Path) -> None:
    path = put(tmp_path, "a.tsv", '\ufeffHi.\t"嗨。\tx\n'.encode())
    assert [row.values for row in read(path, header=False)] == [{"0": "Hi.", "1": '"嗨。', "2": "x"}]


def test_a_row_of_another_width_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", b'a,b\n"1\n2",3\n\n4\n')
    assert complaint(path) == f"{path}:5: 1 cells instead of 2."


def test_a_quote_that_never_ends_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", b'a,b\n1,2\n3,"4\n')
    assert complaint(path).startswith(f"{path}:3: unexpected end of data")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    assert "two columns named 'a'" in complaint(put(tmp_path, "a.csv", b"a,b,a\n1,2,3\n"))


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    """The csv module stops at 131,072 characters unless it is told."""
    assert len(read(put(tmp_path, "a.csv", b"a\n" + b"x" * 200_000 + b"\n"))[0].values["a"]) == 200_000


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda content: b"no table", lambda content: b""])
def test_a_damaged_table_is_named(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    content = parquet(ROWS) if name == "a.parquet" else arrow("file")(ROWS)
    path = put(tmp_path, name, damage(content))
    assert complaint(path).startswith(f"{path}: not a {'Parquet' if name == 'a.parquet' else 'Arrow'} file")


def test_numbers_of_a_class_label_are_its_names(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    made = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    made.to_parquet(tmp_path / "a.parquet")
    assert [row.values["label"] for row in read(tmp_path / "a.parquet")] == ["yes", "no", None]


# Text, and lines that belong together


def test_each_line_of_a_text_is_a_row(tmp_path: Path) -> None:
    actual = read(put(tmp_path, "a.txt", "\ufeffa b\r\n\n \n\u2028c\n".encode()))
    assert [(row.values["text"], row.location[-2:]) for row in actual] == [("a b", ":1"), ("\u2028c", ":4")]


def test_lines_that_belong_together(tmp_path: Path) -> None:
    first = put(tmp_path, "a.en", b"a\n\nc\n")
    second = put(tmp_path, "a.de.gz", gzip.compress("ä\nö\nü".encode()))
    actual = list(file_readers.aligned(first, second))
    assert [row.values for row in actual if isinstance(row, Row)] == [
        {"source": "a", "target": "ä"},
        {"source": "", "target": "ö"},
        {"source": "c", "target": "ü"},
    ]


@pytest.mark.parametrize("longer", ["one", "other"])
def test_a_file_with_more_lines_is_named(tmp_path: Path, longer: str) -> None:
    first, second = put(tmp_path, "one", b"a\nb\n"), put(tmp_path, "other", b"a\nb\n")
    put(tmp_path, longer, b"a\nb\nc\n")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / longer}:3: ") + ".*has only 2 lines"):
        list(file_readers.aligned(first, second))


# Damage


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", lines(ROWS * 99)), ("a.csv", separated(FLAT * 999))])
def test_a_truncated_gzip_names_the_last_line(tmp_path: Path, name: str, content: bytes) -> None:
    path = put(tmp_path, f"{name}.gz", gzip.compress(content)[:-20])
    assert re.match(rf"{re.escape(str(path))}: gzip is cut off or damaged after line \d+: ", complaint(path))


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(lines(ROWS * 999)))
    content[200] ^= 0xFF
    assert "gzip is cut off or damaged" in complaint(put(tmp_path, "a.jsonl.gz", bytes(content)))


BAD_UTF8 = {
    "a.jsonl": (b'{"a": "b"}\n{"a": "\xff"}\n{"a": "c"}\n', ":2: not UTF-8 at byte 7."),
    "a.csv": (b"a,b\nc,d\ne,\xfff\n", ":3: not UTF-8 at byte 2."),
    "a.txt": (b"a\n\xe4\nb\n", ":2: not UTF-8 at byte 0."),
    "a.json": (b'[{"a": "b"}, {"a": "\xff"}]', ": not UTF-8 at byte 20."),
}


@pytest.mark.parametrize("name", BAD_UTF8)
def test_bad_utf8_names_the_place(tmp_path: Path, name: str) -> None:
    content, message = BAD_UTF8[name]
    path = put(tmp_path, name, content)
    assert complaint(path).startswith(f"{path}{message}")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_rows_after_a_bad_one_are_given(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name, BAD_UTF8[name][0])
    kinds = [type(row) for row in file_readers.read(path, SourceConfig())]
    assert kinds.count(DataError) == 1
    assert kinds[-1] is Row or name == "a.csv"


def test_a_broken_first_line_is_a_row_like_any_other(tmp_path: Path) -> None:
    actual = list(file_readers.read(put(tmp_path, "a.jsonl", b'{"a": 1\n{"a": 2}\n'), SourceConfig()))
    assert [type(row) for row in actual] == [DataError, Row]


def test_every_kind_has_a_reader() -> None:
    assert set(file_readers.READERS) == set(FileType) - {FileType.AUTO}
