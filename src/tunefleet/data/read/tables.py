"""Tables: Parquet and Arrow files as rows, by pyarrow, which is imported only here and only then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunefleet.base import exhaustion
from tunefleet.base.errors import DataError
from tunefleet.config.data import FileType
from tunefleet.data.read import arrow_claims, input_limits, meter, text_lines
from tunefleet.data.read.features import Mean, columns
from tunefleet.data.read.source_row import Row, RowOrError
from tunefleet.data.read.table_pieces import pieces

_AT_ONCE, _FEW = 1_000, 16  # rows
_REMEDY = "If it is meant so, write it again as JSON lines."


def parquet(path: Path) -> Iterator[RowOrError]:
    """Every row of a Parquet file. Raises `DataError`."""
    import pyarrow.parquet

    with _named(path, "Parquet"):
        content = _content(path)
        described = pyarrow.parquet.ParquetFile(content)
        _expect_values(path, described)
        yield from rows(path, _with_progress(path, _groups(content), FileType.PARQUET), described.schema_arrow)


def _groups(content: Any) -> Iterator[Any]:
    """The batches of a Parquet file; a value that rows share takes memory once, where Arrow can read it so.

    Each group of rows is read by itself: shared values of two groups do not go into one batch.
    """
    import pyarrow
    import pyarrow.parquet

    plain = pyarrow.parquet.ParquetFile(content)
    shared = pyarrow.parquet.ParquetFile(content, read_dictionary=_texts(plain.schema))
    for group in range(plain.num_row_groups):
        done = 0
        try:
            for batch in shared.iter_batches(batch_size=_AT_ONCE, row_groups=[group]):
                yield batch
                done += batch.num_rows
        except pyarrow.ArrowNotImplementedError:
            for batch in plain.iter_batches(batch_size=_FEW, row_groups=[group]):
                skipped = min(done, batch.num_rows)
                done -= skipped
                yield batch.slice(skipped)


def _texts(schema: Any) -> list[str]:
    """Columns that are read without writing a shared value out for each row, so that it takes memory once."""
    columns = [schema.column(number) for number in range(len(schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _expect_values(path: Path, file: Any) -> None:
    """Raises `DataError` where a few bytes claim to be a group of rows of so many that no data come to it.

    What Arrow says of a group's columns is not asked: damage there would end the process.
    """
    metadata, size = file.metadata, path.stat().st_size
    for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
        input_limits.expect_ratio(path, size, group.total_byte_size, input_limits.COLUMN, _REMEDY)


def arrow(path: Path) -> Iterator[RowOrError]:
    """Every row of an Arrow file, in either of its two forms. Raises `DataError`."""
    import pyarrow.ipc

    with _named(path, "Arrow"):
        content = _content(path)
        input_limits.expect_ratio(path, content.size(), arrow_claims.unpacked(content), input_limits.COLUMN, _REMEDY)
        try:
            stream = pyarrow.ipc.open_stream(content)
        except pyarrow.ArrowInvalid:
            file = pyarrow.ipc.open_file(content)
            yield from rows(path, _with_progress(path, _batches(file), FileType.ARROW), file.schema)
        else:
            yield from rows(path, _with_progress(path, stream, FileType.ARROW), stream.schema)


def count(path: Path, kind: FileType) -> int | None:
    """How many rows a Parquet or Arrow file has; None where that cannot be told without unpacking, or it is damaged."""
    import pyarrow.parquet

    try:
        if text_lines.is_gzip(path):
            return None
        if kind is FileType.PARQUET:
            return int(pyarrow.parquet.read_metadata(path).num_rows)
        content = pyarrow.memory_map(str(path))
        if arrow_claims.unpacked(content):
            return None  # to count is to unpack
        return sum(int(batch.num_rows) for batch in _arrow_batches(content))
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError, OverflowError):
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
    """The rows of record batches, whatever these claim of themselves.

    Raises `DataError` where one of two equal columns would be dropped, or where a row or all of them take too much
    memory; `pyarrow.ArrowInvalid` where a batch is not what it says.
    """
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns named {twice!r}, of which one would be dropped. Name them apart.")
    meaning = columns(schema)
    number = unpacked = 0
    packed = path.stat().st_size if isinstance(path, Path) else None
    for part, size in (piece for batch in _bounded(batches) for piece in pieces(batch)):
        unpacked += size
        if packed is not None:
            input_limits.expect_ratio(path, packed, unpacked, input_limits.TABLE, _REMEDY)
        input_limits.expect_row(f"{path}: row {number + 1}", size // part.num_rows)
        for values in _values(part):
            number += 1
            yield _row(values, meaning, f"{path}: row {number}")


def _bounded(batches: Any) -> Iterator[Any]:
    """The batches; none may take more memory than all that is done with one row may."""
    iterator = iter(batches)
    while True:
        with exhaustion.memory():
            batch = next(iterator, None)
        if batch is None:
            return
        yield batch


def _row(values: dict[str, Any] | str, meaning: Mapping[str, Mean], location: str) -> RowOrError:
    if isinstance(values, str):
        return DataError(f"{location}: {values}.")
    try:
        for column, mean in meaning.items():
            values[column] = mean(values[column], f"{location}: {column}")
    except DataError as error:
        return error
    return Row(values, location)


def _values(part: Any) -> Iterator[dict[str, Any] | str]:
    """The rows of a piece, or why one cannot be had: Python has no year 30,000, and no text that is not UTF-8."""
    try:
        yield from part.to_pylist()
        return
    except (ValueError, ArithmeticError, TypeError, LookupError, AttributeError, SystemError) as error:
        if part.num_rows == 1:
            yield f"holds a value that cannot be read ({type(error).__name__}: {str(error)[:80]})"
            return
    for number in range(part.num_rows):
        yield from _values(part.slice(number, 1))


@contextmanager
def _named(path: Path, kind: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError, OverflowError, SystemError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: not a {kind} file that can be read to its end: {reason}. Fetch it again.") from None
