"""Tables: Parquet and Arrow files as rows, by pyarrow, which is imported only here and only then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.config.data import FileType
from tunefleet.data.read import meter, text_lines
from tunefleet.data.read.features import Mean, columns
from tunefleet.data.read.source_row import Row, RowOrError

_AT_ONCE = 1_000  # rows


def parquet(path: Path) -> Iterator[RowOrError]:
    """Every row of a Parquet file. Raises `DataError`."""
    import pyarrow.parquet

    with _named(path, "Parquet"):
        file = pyarrow.parquet.ParquetFile(_content(path))
        yield from rows(
            path, _with_progress(path, file.iter_batches(batch_size=_AT_ONCE), FileType.PARQUET), file.schema_arrow
        )


def arrow(path: Path) -> Iterator[RowOrError]:
    """Every row of an Arrow file, in either of its two forms. Raises `DataError`."""
    import pyarrow.ipc

    with _named(path, "Arrow"):
        content = _content(path)
        try:
            stream = pyarrow.ipc.open_stream(content)
        except pyarrow.ArrowInvalid:
            file = pyarrow.ipc.open_file(content)
            yield from rows(path, _with_progress(path, _batches(file), FileType.ARROW), file.schema)
        else:
            yield from rows(path, _with_progress(path, stream, FileType.ARROW), stream.schema)


def count(path: Path, kind: FileType) -> int | None:
    """How many rows a Parquet or Arrow file has, without reading them; None where it is packed or damaged."""
    import pyarrow.parquet

    try:
        if text_lines.is_gzip(path):
            return None
        if kind is FileType.PARQUET:
            return int(pyarrow.parquet.read_metadata(path).num_rows)
        return sum(int(batch.num_rows) for batch in _arrow_batches(pyarrow.memory_map(str(path))))
    except (pyarrow.ArrowException, OSError):
        return None


def _arrow_batches(content: Any) -> Iterator[Any]:
    import pyarrow.ipc

    try:
        return iter(pyarrow.ipc.open_stream(content))
    except pyarrow.ArrowInvalid:
        return _batches(pyarrow.ipc.open_file(content))


def _batches(file: Any) -> Iterator[Any]:
    return (file.get_batch(number) for number in range(file.num_record_batches))


def _with_progress(path: Path, batches: Any, kind: FileType) -> Iterator[Any]:
    """The batches; whoever watches the preparation is told how far the file is read."""
    watch, size, total, done = meter.current(), path.stat().st_size, count(path, kind), 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        if total:
            watch.at(path, size * done // total)


def _content(path: Path) -> Any:
    import pyarrow

    return pyarrow.BufferReader(text_lines.content(path)) if text_lines.is_gzip(path) else pyarrow.memory_map(str(path))


def rows(path: Path | str, batches: Any, schema: Any) -> Iterator[RowOrError]:
    """The rows of record batches. Raises `DataError` where one of two equal columns would be dropped."""
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns named {twice!r}, of which one would be dropped. Name them apart.")
    meaning = columns(schema)
    number = 0
    for batch in batches:
        for values in _values(batch):
            number += 1
            location = f"{path}: row {number}"
            yield _row(values, meaning, location)


def _row(values: dict[str, Any], meaning: Mapping[str, Mean], location: str) -> RowOrError:
    try:
        for column, mean in meaning.items():
            values[column] = mean(values[column], f"{location}: {column}")
    except DataError as error:
        return error
    return Row(values, location)


def _values(batch: Any) -> Iterator[dict[str, Any]]:
    """A batch may hold very many rows, each of which is many objects of Python."""
    return (row for start in range(0, batch.num_rows, _AT_ONCE) for row in batch.slice(start, _AT_ONCE).to_pylist())


@contextmanager
def _named(path: Path, kind: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a {kind} file that can be read to its end: {reason}. Fetch it again.") from None
