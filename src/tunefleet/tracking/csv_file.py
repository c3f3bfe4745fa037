"""CSV: the records of metrics.jsonl as a table, a column for each key."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.tracking import metrics


class CsvFile:
    """Appends a line for each record; a key that is new makes a column, for which the file is written anew.

    A run that resumes after step `resumed_from` begins with what `records`, its metrics.jsonl, holds up to there.
    """

    def __init__(self, path: Path, records: Path, resumed_from: int) -> None:
        self._path = path
        earlier = metrics.up_to(metrics.read(records), resumed_from)
        self._columns: list[str] = []
        self._write([{key: _text(value) for key, value in record.items()} for record in earlier])

    def log(self, record: dict[str, Any]) -> None:
        """Appends one record. Raises `OSError`."""
        row = {key: _text(value) for key, value in record.items()}
        if not row.keys() <= set(self._columns):
            return self._write([*self._read(), row])
        with open(self._path, "a", encoding="utf-8", newline="", opener=files.no_link) as stream:
            csv.DictWriter(stream, self._columns, lineterminator="\n").writerow(row)

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Nothing: samples.jsonl has them."""

    def rewind(self, step: int) -> None:
        """Drops the lines of later steps, which come again."""
        self._write([row for row in self._read() if int(row["step"]) <= step and not row.get("final")])

    def finish(self, summary: dict[str, Any]) -> None:
        """Nothing: every line is written already."""

    def _read(self) -> list[dict[str, str]]:
        with open(self._path, encoding="utf-8", newline="", opener=files.plain) as stream:
            return list(csv.DictReader(stream))

    def _write(self, rows: Iterable[Mapping[str, str]]) -> None:
        rows = list(rows)
        self._columns = list(dict.fromkeys([*self._columns, *(key for row in rows for key in row)])) or ["step"]
        table = io.StringIO()
        writer = csv.DictWriter(table, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_text(self._path, table.getvalue())


def _text(value: Any) -> str:
    """As metrics.jsonl has it, texts without their quotes; empty for null."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
