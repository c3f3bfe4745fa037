"""How is a Parquet or Arrow file read as rows? By pyarrow, imported only here and only then."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data import raw
from tunefleet.data.row import Row

_AT_ONCE = 1_000  # rows


def parquet(path: Path) -> Iterator[Row]:
    """Every row of a Parquet file. Raises `DataError`."""
    import pyarrow.parquet

    with _named(path, "Parquet"):
        file = pyarrow.parquet.ParquetFile(_content(path))
        yield from _rows(path, file.iter_batches(batch_size=_AT_ONCE), file.schema_arrow)


def arrow(path: Path) -> Iterator[Row]:
    """Every row of an Arrow file, in either of its two forms. Raises `DataError`."""
    import pyarrow.ipc

    with _named(path, "Arrow"):
        content = _content(path)
        try:
            stream = pyarrow.ipc.open_stream(content)
        except pyarrow.ArrowInvalid:
            file = pyarrow.ipc.open_file(content)
            yield from _rows(path, (file.get_batch(i) for i in range(file.num_record_batches)), file.schema)
        else:
            yield from _rows(path, stream, stream.schema)


def _content(path: Path) -> Any:
    import pyarrow

    return pyarrow.BufferReader(raw.whole(path)) if raw.is_gzip(path) else pyarrow.memory_map(str(path))


def _rows(path: Path, batches: Any, schema: Any) -> Iterator[Row]:
    labels = _labels(schema)
    number = 0
    for batch in batches:
        for values in _values(batch):
            number += 1
            yield Row(_in_words(values, labels), f"{path}: row {number}")


def _values(batch: Any) -> Iterator[dict[str, Any]]:
    """A batch may hold very many rows, each of which is many objects of Python."""
    return (row for start in range(0, batch.num_rows, _AT_ONCE) for row in batch.slice(start, _AT_ONCE).to_pylist())


def _labels(schema: Any) -> dict[str, Sequence[str]]:
    """The columns whose numbers have names, as `datasets` writes them into a file."""
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = described.get("info", {}).get("features") or {}
    return {name: f["names"] for name, f in features.items() if isinstance(f, dict) and f.get("_type") == "ClassLabel"}


def _in_words(values: dict[str, Any], labels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    for column, names in labels.items():
        number = values[column]
        values[column] = names[number] if number is not None and 0 <= number < len(names) else None
    return values


@contextmanager
def _named(path: Path, kind: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a {kind} file that can be read to its end: {reason}. Fetch it again.") from None
