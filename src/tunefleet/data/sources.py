"""Where rows come from: a JSON or JSONL file, or the built-in demo; each row knows its file:line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data import demo
from tunefleet.data.demo import generate


@dataclass(frozen=True)
class Row:
    """A row as it stands in its source."""

    values: dict[str, Any]
    where: str


@dataclass(frozen=True)
class Source:
    """Rows of one file, or of one split of the demo; at most `limit` of them."""

    name: str
    path: str
    split: str = ""
    limit: int | None = None

    def rows(self) -> Iterator[Row]:
        """Every row. Raises `DataError` naming file and line."""
        if self.path == "demo":
            values = generate.rows(self.split, self.limit or 0)
            return (Row(dict(row), f"demo/{self.split}:{i}") for i, row in enumerate(values, 1))
        return islice(_read(Path(self.path)), self.limit)

    def fingerprint(self) -> str:
        """Changes when the content does."""
        digest = hashlib.sha256(f"{self.split}|{self.limit}|".encode())
        for path in _demo_files() if self.path == "demo" else [Path(self.path)]:
            with open(path, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()


def _demo_files() -> list[Path]:
    return sorted(Path(demo.__file__).parent.glob("*.py"))


def _read(path: Path) -> Iterator[Row]:
    try:
        with open(path, encoding="utf-8-sig") as stream:
            first = _first_character(stream)
            yield from _json_list(path) if first == "[" else _json_lines(path)
    except UnicodeDecodeError:  # its own position counts from the last block read
        raise DataError(f"{path}: not UTF-8 at byte {_bad_byte(path)}. Convert it with `iconv -t utf-8`.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None


def _bad_byte(path: Path) -> int:
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _first_character(stream: Any) -> str:
    while character := stream.read(1):
        if not character.isspace():
            return str(character)
    return ""


def _json_list(path: Path) -> Iterator[Row]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: broken JSON: {error.msg}.") from None
    for number, value in enumerate(values, 1):
        yield _row(value, f"{path}: row {number}")


def _json_lines(path: Path) -> Iterator[Row]:
    with open(path, encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield _row(_parse(line, f"{path}:{number}"), f"{path}:{number}")


def _parse(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: broken JSON: {error.msg}.") from None


def _row(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{where}: {type(value).__name__} instead of an object with keys.")
    return Row(value, where)
