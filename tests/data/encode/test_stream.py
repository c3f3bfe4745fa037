"""Are the same bytes prepared on any number of cores, in bounded memory, and the same rows held out?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shared import tiny_tokenizer
from tunefleet.base.errors import DataError
from tunefleet.config.cleaning import CleanConfig, Duplicates
from tunefleet.config.data import DataConfig, MixedSource, OnBadRow
from tunefleet.data.checks.sample import Sample
from tunefleet.data.clean.held_out import HeldOut
from tunefleet.data.encode import stream
from tunefleet.data.encode.loss_mask import Encoder
from tunefleet.data.formats.conversation import Conversation, Turn
from tunefleet.data.prepare import prepare
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.store import disk_format, manifest, writer
from tunefleet.data.store.npy_writer import NpyWriter
from tunefleet.data.store.packing import packed

LENGTH = 64
PREPARES = """
import json, sys
from pathlib import Path
from tests.data.encode.test_stream import configured
from tests.shared import tiny_tokenizer
from tunefleet.data.prepare import prepare
found = prepare(configured(Path(sys.argv[1]), Path(sys.argv[2])), tiny_tokenizer(), 64)
print(found.folder)
"""


def configured(folder: Path, cache: Path) -> DataConfig:
    """Everything that could depend on time: a mixture, duplicates, bad rows in the file and in the template."""
    strict = "{% for m in messages %}{% if 'bad' in m.content %}{{ raise_exception('no') }}{% endif %}"
    (folder / "strict.jinja").write_text(f"{strict}{{{{ m.content }}}}</s>{{% endfor %}}")
    rows = [{"prompt": f"Row {i % 900}?", "completion": "bad" if i % 97 == 5 else "na " * (i % 7)} for i in range(1500)]
    lines = ["{" if i % 101 == 3 else json.dumps(row) for i, row in enumerate(rows)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    (folder / "b.jsonl").write_text("\n".join(json.dumps({"text": f"Tale {i} " * 30}) for i in range(50)))
    return DataConfig(
        mix=(MixedSource(path=str(folder / "a.jsonl"), epochs=1.5), MixedSource(path=str(folder / "b.jsonl"))),
        template=str(folder / "strict.jinja"),
        on_bad_row=OnBadRow.SKIP,
        max_bad_rows=1_000,
        clean=CleanConfig(duplicates=Duplicates.EXACT),
        validation_rows=20,
        cache=str(cache),
    )


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.parent.rglob("*") if path.is_file() and path.parent.name != "tokens"]
    return {str(path.relative_to(folder.parent)): path.read_bytes() for path in files}


def test_one_core_and_many_give_the_same_bytes(tmp_path: Path) -> None:
    actual = []
    for number, parallel in enumerate(("false", "true")):
        changed = {**os.environ, "TOKENIZERS_PARALLELISM": parallel, "RAYON_NUM_THREADS": "4"}
        command = [sys.executable, "-c", PREPARES, str(tmp_path), str(tmp_path / str(number))]
        done = subprocess.run(command, capture_output=True, text=True, env=changed, check=True)
        actual.append(bytes_of(Path(done.stdout.strip())))
    assert actual[0] == actual[1]
    report = next(value for name, value in actual[0].items() if name.endswith("bad_rows.txt")).decode()
    lines = [int(line.split("a.jsonl:")[1].split(":")[0]) for line in report.splitlines()]
    assert lines == sorted(lines)  # broken lines and refused ones in turn, as they stand in the file
    assert len(lines) > 20


@pytest.mark.parametrize("rows", [1, 7, 500])
def test_the_size_of_a_chunk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    usual = prepare(configured(tmp_path, tmp_path / "usual"), tiny_tokenizer(), LENGTH)
    monkeypatch.setattr(stream, "CHUNK_ROWS", rows)
    monkeypatch.setattr(writer, "PARTS_AT_ONCE", rows)
    monkeypatch.setattr(writer, "BLOCK", rows)
    second = prepare(configured(tmp_path, tmp_path / "other"), tiny_tokenizer(), LENGTH)
    assert bytes_of(usual.folder) == bytes_of(second.folder)


def test_the_first_error_in_the_file_is_raised_whatever_comes_first(tmp_path: Path) -> None:
    """A row that the template refuses is met after many later ones have been read."""
    config = replace(configured(tmp_path, tmp_path / "cache"), on_bad_row=OnBadRow.ERROR)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "bad"}) + "\n" + '{"prompt": "b", "completion": "c"}\n{')
    with pytest.raises(DataError, match=r"a\.jsonl:1: "):
        prepare(config, tiny_tokenizer(), LENGTH)


def test_only_a_few_chunks_are_in_memory(monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> None:
    """Reading goes on only as far as rows are taken."""
    monkeypatch.setattr(stream, "CHUNK_ROWS", 10)
    read = []

    def rows() -> Iterator[list[Conversation]]:
        for i in range(1_000):
            read.append(i)
            yield [Conversation((Turn("user", "a"), Turn("assistant", "b")), f"a:{i}")]

    from tunefleet.data.prepare import chat_template

    encoder = Encoder(chat_template(DataConfig(template="plain"), tokenizer), tokenizer, DataConfig().train_on, 64)
    rows_taken = 0
    for _ in stream.encoded(rows(), lambda row: row, BadRows(), encoder):
        rows_taken += 1
        assert len(read) - rows_taken <= 10 * (stream.CHUNKS_AHEAD + 1)
    assert rows_taken == 1_000


# --- held out


def held_out_rows(count: int, most: int) -> tuple[list[int], list[int]]:
    draw: HeldOut[int] = HeldOut(most)
    return list(draw.training(range(count))), draw.rows


@pytest.mark.parametrize(("count", "most", "expected"), [(0, 5, 0), (9, 5, 0), (40, 5, 4), (1_000, 5, 5), (50, 0, 0)])
def test_every_row_is_on_one_side(count: int, most: int, expected: int) -> None:
    train, unseen = held_out_rows(count, most)
    assert sorted([*train, *unseen]) == list(range(count))
    assert len(unseen) == expected
    assert unseen == sorted(unseen)


def test_rows_are_held_out_evenly_and_the_same_every_time() -> None:
    assert held_out_rows(5_000, 300) == held_out_rows(5_000, 300)
    tenths = Counter(row // 500 for row in held_out_rows(5_000, 300)[1])
    assert min(tenths[i] for i in range(10)) > 10


def test_more_rows_behind_hold_out_no_other_rows_of_the_beginning() -> None:
    previous, after = set(held_out_rows(5_000, 300)[1]), set(held_out_rows(6_000, 300)[1])
    assert {row for row in after if row < 5_000} < previous


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 127, 128, 129, 1_000, 4_097])
def test_a_sample_has_the_first_the_last_and_what_lies_between(count: int) -> None:
    sample: Sample[int] = Sample(64)
    for number in range(count):
        sample.offer(number)
    actual = sample.items()
    assert len(actual) == len(set(actual)) <= 64
    assert len(actual) >= min(count, 33)
    assert actual == sorted(actual)
    assert not count or (actual[0], actual[-1]) == (0, count - 1)
    assert max(np.diff(actual), default=0) <= max(1, count / 16)


# --- on the disk


def test_windows_pack_every_item_once() -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, 40, 1_000)
    items = np.zeros(1_000, dtype=writer.LINE)
    items["length"], items["number"] = lengths, np.arange(1_000)
    for window in (64, 1_000, 5_000):
        rows = list(packed(np.array_split(items, 7), 64, window))
        numbers = np.concatenate([numbers for numbers, _ in rows])
        counts = [count for _, counts in rows for count in counts]
        assert sorted(numbers.tolist()) == list(range(1_000))
        assert max(np.add.reduceat(lengths[numbers], np.cumsum([0, *counts])[:-1])) <= 64
        assert lengths.sum() / (64 * len(counts)) > 0.9


def test_an_array_grows(tmp_path: Path) -> None:
    array = NpyWriter(tmp_path / "a.npy", np.int32)
    for part in ([], [1, 2], range(100_000)):
        array.append(part)
    array.finish()
    assert np.load(tmp_path / "a.npy").tolist() == [1, 2, *range(100_000)]
    assert isinstance(np.load(tmp_path / "a.npy", mmap_mode="r"), np.memmap)


@pytest.mark.parametrize("block", [1, 3, 100])
def test_lines_are_read_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """In blocks that are no views of the file, whose pages would stay in memory."""
    monkeypatch.setattr(writer, "BLOCK", block)
    lines = np.zeros(7, dtype=disk_format.LINE)
    lines["conversation"], lines["length"], lines["stops"] = range(7), range(10, 17), [True, False] * 3 + [True]
    array = NpyWriter(tmp_path / "lines.npy", disk_format.LINE)
    array.append(lines)
    array.finish()
    spans = [writer.SourceSpan(0, 4, 0, 4), writer.SourceSpan(4, 3, 4, 3)]
    stored = writer.StoredLines(tmp_path / "lines.npy", spans)
    assert np.concatenate(list(stored.blocks())).tolist() == lines.tolist()
    assert np.concatenate(list(stored.blocks(spans[1]))).tolist() == lines[4:].tolist()
    assert all(part.base is None and len(part) <= block for part in stored.blocks())


def test_every_file_is_sealed(tmp_path: Path) -> None:
    folder = prepare(configured(tmp_path, tmp_path / "cache"), tiny_tokenizer(), LENGTH).folder
    manifest.expect_whole(folder / "train", manifest.of_itself(folder / "train"), None)
    sealed = set(json.loads((folder / "train" / "files.json").read_text()))
    assert sealed == {path.name for path in (folder / "train").iterdir()} - {"files.json"}
    assert not [path for path in folder.rglob("*") if "lines" in path.name]
