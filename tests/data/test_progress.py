"""Is said how far a preparation is, and does a share that is too large end it as soon as that is certain?"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from tunefleet.base import progress
from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, FileType, LongRows, SourceConfig
from tunefleet.data.checks import gate
from tunefleet.data.encode import stream
from tunefleet.data.formats import collect
from tunefleet.data.prepare import prepare
from tunefleet.data.read import bounds, meter
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.meter import Meter
from tunefleet.data.read.sources import Source

SHORT = {"prompt": "a?", "completion": "b"}
LONG = {"prompt": "a?", "completion": "na " * 90}
LENGTH = 64


def lines(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def listed(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def separated(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    path.write_text("prompt,completion\n" + "".join(f'"{row["prompt"]}","{row["completion"]}"\n' for row in rows))
    return path


def parquet(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def arrow(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    table = pa.Table.from_pylist(list(rows))
    with pa.ipc.new_stream(str(path), table.schema) as written:
        written.write_table(table, max_chunksize=7)
    return path


KINDS = [
    (lines, "rows.jsonl", 41),
    (lines, "rows.jsonl.gz", 41),
    (listed, "rows.json", 40),
    (separated, "rows.csv", 42),
    (parquet, "rows.parquet", 40),
    (arrow, "rows.arrow", 40),
]


# --- how far it is


@pytest.mark.parametrize(("write", "name", "most"), KINDS)
def test_every_kind_of_file_tells_how_far_it_is_read_and_how_many_rows_it_may_hold(
    tmp_path: Path, write: Any, name: str, most: int
) -> None:
    path = write(tmp_path / name, [SHORT] * 40)
    assert bounds.most_rows(path, SourceConfig()) == most
    watch = Meter()
    with meter.watching(watch):
        assert len(list(collect.rows(Source("train", SourceConfig(path=str(path)))))) == 40
    assert (watch.read, watch.share) == (40, 0.0)
    watch.rows = 10  # of which became tokens
    assert watch.share == 0.25


def test_a_bound_is_never_below_the_number_of_rows(tmp_path: Path) -> None:
    odd = [{"prompt": "{ [ , \n", "completion": "}\n"}] * 9
    for write, name, _ in KINDS:
        actual = bounds.most_rows(write(tmp_path / name, odd), SourceConfig())
        assert actual is not None
        assert actual >= 9
    (tmp_path / "texts.json").write_text(json.dumps(["a", "b"]))
    assert bounds.most_rows(tmp_path / "texts.json", SourceConfig()) is None
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    assert bounds.most_rows(tmp_path / "broken.parquet", SourceConfig()) is None
    assert bounds.most_rows(lines(tmp_path / "rows", odd), SourceConfig(file_type=FileType.JSON)) == 10


def test_a_state_says_rows_share_rate_and_time_left(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x" * 1000)
    watch = Meter()
    watch.begin("chats", [path], None)
    assert watch.state(3.0) == "chats: 0 rows"
    watch.at(path, 500)
    watch.read, watch.rows = 2400, 1200
    assert watch.state(5.0) == "chats: 1,200 rows (25%), 600 rows/s, 6s left"
    watch.begin("other", [path], 2000)  # another source, and the most rows that are taken of it
    assert watch.state(6.0) == "other: 0 rows"
    watch.read = watch.rows = 1500
    assert watch.state(9.0) == "other: 1,500 rows (75%), 500 rows/s, 1s left"
    watch.finish("packing them")
    assert watch.state(9.0) == "other: 1,500 rows, packing them"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes a while, and progress is told often."""
    monkeypatch.setattr(progress, "FIRST", 0.02)
    monkeypatch.setattr(progress, "REPEATED", 0.02)
    monkeypatch.setattr(progress, "REDRAWN", 0.01)
    read = Source.rows

    def slowly(source: Source) -> Iterator[Any]:
        for number, row in enumerate(read(source)):
            if number % 10 == 0:
                time.sleep(0.03)
            yield row

    monkeypatch.setattr(Source, "rows", slowly)


@pytest.mark.usefixtures("slow")
def test_the_process_that_prepares_says_so_whichever_it_is(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    path = lines(tmp_path / "rows.jsonl", [SHORT] * 200)
    config = DataConfig(path=str(path), validation_rows=0, cache=str(tmp_path / "cache"))
    prepare(config, tokenizer, LENGTH)
    progress_lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("  preparing data: train: ") and " rows (100%)" in line for line in progress_lines)
    assert progress_lines[-1].startswith("  preparing data: ")
    prepare(config, tokenizer, LENGTH)  # found: nothing is prepared
    assert capsys.readouterr().err == ""


def test_a_short_preparation_says_nothing(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST", 60.0)  # beside other work a second is soon over
    path = lines(tmp_path / "rows.jsonl", [SHORT] * 20)
    prepare(DataConfig(path=str(path), validation_rows=0, cache=str(tmp_path / "cache")), tokenizer, LENGTH)
    assert capsys.readouterr().err == ""


# --- as soon as it is certain

HALF = 150


class Spied:
    """A set whose first rows are too long, and how many rows of it were read."""

    def __init__(self, tmp_path: Path, tokenizer: Any) -> None:
        self._folder, self._tokenizer = tmp_path, tokenizer
        self.read = 0

    def prepare(self, write: Any, name: str, rows: Sequence[dict[str, str]], **settings: Any) -> Any:
        config = DataConfig(path=str(write(self._folder / name, rows)), cache=str(self._folder / "cache"))
        watch = Meter()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("tunefleet.data.prepare.Meter", lambda: watch)
                return prepare(replace(config, validation_rows=0, **settings), self._tokenizer, LENGTH)
        finally:
            self.read = watch.read


@pytest.fixture
def spied(tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Spied:
    monkeypatch.setattr(gate, "EARLIEST", 10)
    monkeypatch.setattr(stream, "CHUNK_ROWS", 5)  # of a chunk: few are read ahead
    return Spied(tmp_path, tokenizer)


@pytest.mark.parametrize(("write", "name", "most"), KINDS)
@pytest.mark.parametrize("fate", [LongRows.TRUNCATE, LongRows.DROP])
def test_too_many_long_rows_end_it_before_the_last_is_read(
    spied: Spied, write: Any, name: str, most: int, fate: LongRows
) -> None:
    rows = [LONG] * HALF + [SHORT] * HALF
    beyond = most - 40  # what the bound counts too much
    with pytest.raises(
        DataError, match=rf"max_truncated: 1\d\d of 1\d\d conversations \(100\.0%\) of at most {300 + beyond} "
    ):
        spied.prepare(write, name, rows, max_truncated=0.4, long_rows=fate)
    assert 120 < spied.read < 2 * HALF


def test_a_set_just_under_the_limit_is_read_to_its_end(spied: Spied) -> None:
    rows = [LONG] * HALF + [SHORT] * HALF
    assert spied.prepare(lines, "rows.jsonl", rows, max_truncated=0.5).train.card.truncated == HALF
    assert spied.read == 2 * HALF
    with pytest.raises(DataError, match=r"max_truncated: 150 of 300 conversations \(50\.0%\) are longer"):
        spied.prepare(lines, "rows.jsonl", rows, max_truncated=0.499)  # 301 rows might have been there: the end says it
    assert spied.read == 2 * HALF


def test_fewer_rows_by_a_setting_are_a_bound_too(spied: Spied) -> None:
    rows = [LONG] * HALF + [SHORT] * HALF
    with pytest.raises(DataError, match="of at most 100 are longer"):
        spied.prepare(lines, "rows.jsonl", rows, max_truncated=0.4, max_rows=100)
    assert spied.read < 100


def test_a_placeholder_ends_it_before_the_last_is_read(spied: Spied) -> None:
    unfilled = {"prompt": "Sum up: {input}", "completion": "ok"}
    with pytest.raises(DataError, match=r"\{input\} was left unfilled in \d+ of \d+ of at most 301 conversations \("):
        spied.prepare(lines, "rows.jsonl", [unfilled] * 300)
    assert spied.read < 100
    assert len(spied.prepare(lines, "rows.jsonl", [unfilled] * 3 + [SHORT] * 297).train)  # 1.0 %, as far as allowed
    assert spied.read == 300


def test_without_looking_early_all_is_read(spied: Spied, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the tests above: the refusal is the same, but comes at the end."""
    monkeypatch.setattr(gate, "EARLIEST", 10_000)
    with pytest.raises(DataError, match=r"max_truncated: 150 of 300 conversations \(50\.0%\) are longer"):
        spied.prepare(lines, "rows.jsonl", [LONG] * HALF + [SHORT] * HALF, max_truncated=0.4)
    assert spied.read == 2 * HALF


def test_a_bound_counts_bad_rows(tmp_path: Path) -> None:
    """So it holds whether they are left out or not."""
    path = lines(tmp_path / "rows.jsonl", [SHORT] * 5)
    path.write_text(path.read_text() + "broken\n" * 5)
    assert bounds.most_rows(path, SourceConfig()) == 11
    assert len(collect.collect(Source("train", SourceConfig(path=str(path))), BadRows(tmp_path / "bad", 5))) == 5
