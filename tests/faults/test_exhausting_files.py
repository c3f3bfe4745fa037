"""Small files that would fill the memory, take hours or end the process: a message each, in little memory and time."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet
import pytest

from tests.ranks import ROOT
from tunefleet.base import files as base_files
from tunefleet.base.errors import DataError
from tunefleet.config.data import SourceConfig
from tunefleet.data.read import file_readers
from tunefleet.data.read.sources import Source
from tunefleet.plan.paths import data_files

MIB = 1 << 20
FLIPPED = 300


def reads(mode: str, *paths: Path) -> tuple[list[Any], int]:
    """What `tests/faults/table_reader.py` says of each file, and its exit code: negative where a signal ended it."""
    command = [sys.executable, "-m", "tests.faults.table_reader", mode, *map(str, paths)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return [json.loads(line) for line in process.stdout.splitlines()], process.returncode


def shared(rows: int, size: int) -> Any:
    """A column whose rows all share one text."""
    return arrow.DictionaryArray.from_arrays(arrow.array([0] * rows, arrow.int32()), arrow.array(["a" * size]))


def in_arrow(table: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    with ipc.new_stream(stream, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return stream.getvalue()


def in_parquet(column: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(arrow.table({"text": column}), stream, compression="zstd", **options)
    return stream.getvalue()


def lists_of_nulls(length: int, kind: Any) -> Any:
    return arrow.ListArray.from_arrays(arrow.array([0, length], arrow.int32()), arrow.nulls(length, kind))


def bombs() -> dict[str, tuple[bytes, str]]:
    """Files of a few kilobytes that unpack to gigabytes, and what is said of each."""
    megabyte = gzip.compress(b"a" * MIB)
    text = arrow.array(["a" * MIB] * 400)
    nulls = arrow.table({"text": ["x"], "empty": lists_of_nulls(2**31 - 1, arrow.null())})
    return {
        "one_line.txt.gz": (megabyte * 1000, "a row of more than 64 MiB. Split it into several rows."),
        "lines.txt.gz": (gzip.compress(b"a" * MIB + b"\n") * 1000, "over 250 times as much"),
        "empty.jsonl.gz": (gzip.compress(b"\n" * MIB) * 1000, "more than 1,000,000 empty lines"),
        "value.json.gz": (gzip.compress(b'["') + megabyte * 1000, "a value of more than 67,108,864 characters"),
        "table.parquet.gz": (megabyte * 1000, "over 250 times as much"),
        "dictionary.parquet": (in_parquet(shared(3000, 10 * MIB)), "over 10,000 times as much"),
        "page.parquet": (in_parquet(text, use_dictionary=False), "over 1,000 times as much"),
        "nulls.parquet": (in_parquet(lists_of_nulls(30_000_000, arrow.int8())), "over 10,000 times as much"),
        "nulls.arrow": (in_arrow(nulls), "over 10,000 times as much"),
        "buffer.arrow": (in_arrow(arrow.table({"text": text}), compression="zstd"), "over 1,000 times as much"),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    folder, made = tmp_path_factory.mktemp("bombs"), bombs()
    for name, (content, _) in made.items():
        (folder / name).write_bytes(content)
    return {folder / name: message for name, (_, message) in made.items()}


def test_bombs_are_refused_in_little_memory(files: dict[Path, str]) -> None:
    results, code = reads("careful", *files)
    assert code == 0
    for (path, message), (_, _, said) in zip(files.items(), results, strict=True):
        assert message in said, (path.name, said)
        assert said.startswith(str(path))
        assert "\n" not in said


def test_control_without_limits_a_bomb_fills_the_memory(files: dict[Path, str]) -> None:
    [path] = [path for path in files if path.name == "dictionary.parquet"]
    results, code = reads("careless", path)
    assert code != 0 or "memory" in str(results).lower()


def flipped(content: bytes, seed: int) -> bytes:
    """One bit of it is another."""
    changed, draw = bytearray(content), random.Random(seed)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


@pytest.fixture(scope="module")
def flipped_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Arrow files in which one bit is another, in both of the forms."""
    rows = [{"messages": [{"role": "user", "content": f"é{i}"}], "kind": "ab"[i % 2]} for i in range(20)]
    table = arrow.Table.from_pylist(rows)
    table = table.append_column("shared", table["kind"].combine_chunks().dictionary_encode())
    folder, content = tmp_path_factory.mktemp("flipped"), in_arrow(table)
    paths = [folder / f"{seed}.arrow" for seed in range(FLIPPED)]
    for seed, path in enumerate(paths):
        path.write_bytes(flipped(content, seed))
    return paths


def test_no_flipped_bit_ends_the_process(flipped_files: list[Path]) -> None:
    results, code = reads("careful", *flipped_files)
    assert code == 0
    assert len(results) == FLIPPED
    assert sum(bool(said) for _, _, said in results) > FLIPPED / 3  # the fault fires


def test_control_without_validation_a_flipped_bit_ends_it(flipped_files: list[Path]) -> None:
    results, code = reads("careless", *flipped_files)
    assert code != 0
    assert len(results) < FLIPPED


DEEP = "[" * 3000 + "]" * 3000
ODD = {
    "deep.jsonl": ('{"text": "a"}\n{"text": ' + DEEP + "}\n", "levels deep"),
    "deep.json": ('[{"text": ' + DEEP + "}]", "levels deep"),
    "less_deep.json": ('[{"text": %s}]' % ("[" * 200 + "]" * 200), "levels deep"),
    "digits.jsonl": ('{"text": "a"}\n{"text": %s}\n' % ("1" * 10**6), "a number of 1,000,000 digits"),
    "digits.json": ('[{"text": %s}]' % ("1" * 10**6), "a number of 1,000,000 digits"),
    "nul.txt": ("a\0b\n", "holds a NUL character"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_texts_are_named(tmp_path: Path, name: str) -> None:
    content, message = ODD[name]
    path = tmp_path / name
    path.write_text(content)
    try:
        said = [str(row) for row in file_readers.read(path, SourceConfig()) if isinstance(row, DataError)]
    except DataError as error:
        said = [str(error)]
    assert len(said) == 1
    assert message in said[0]
    assert str(path) in said[0]


def test_values_that_python_has_not_make_a_bad_row(tmp_path: Path) -> None:
    days = arrow.array([1, 10**7], arrow.int32()).cast(arrow.date32())
    path = tmp_path / "a.arrow"
    path.write_bytes(in_arrow(arrow.table({"text": ["a", "b"], "day": days})))
    first, second = file_readers.read(path, SourceConfig())
    assert not isinstance(first, DataError)
    assert "row 2: holds a value that cannot be read" in str(second)


def test_a_pipe_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    """Nothing would ever come out of it."""
    (tmp_path / "a.txt").write_text("x\n")
    os.mkfifo(tmp_path / "b.txt")
    source = Source("train", SourceConfig(path=str(tmp_path / "a.txt"), target_path=str(tmp_path / "b.txt")))
    with pytest.raises(DataError, match=r"b\.txt: cannot be read: is no plain file"):
        list(source.rows())
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(OSError, match="is no plain file"):
        base_files.read_json(tmp_path / "config.json")


def test_links_that_lead_back_are_followed_once(tmp_path: Path) -> None:
    """Three of them make 3**40 paths to each file."""
    below = tmp_path / "rows" / "below"
    below.mkdir(parents=True)
    (below / "a.jsonl").write_text('{"text": "a"}\n')
    for name in "xyz":
        (tmp_path / "rows" / name).symlink_to(tmp_path / "rows")
    os.symlink(below, tmp_path / "linked")
    pattern = str(tmp_path / "**" / "*.jsonl")
    assert len(data_files.files_of(SourceConfig(path=pattern))) == 1
    assert data_files.files_of(SourceConfig(path=str(tmp_path / "linked" / "**"))) == [tmp_path / "linked" / "a.jsonl"]
