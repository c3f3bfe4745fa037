"""File readers: a small one for each kind of file, behind a closed table."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.config.data import SUFFIXES, FileType, SourceConfig
from tunefleet.data.read import input_limits, json_list, json_value, tables, text_lines
from tunefleet.data.read.json_value import AmbiguousJson
from tunefleet.data.read.source_row import Row, RowOrError
from tunefleet.plan.paths.data_files import suffix

_Value = tuple[Any, str] | DataError  # JSON, and where it stands
_KINDS: dict[type, str] = {dict: "an object with keys", list: "a list of cells", str: "a text"}


def read(path: Path, source: SourceConfig) -> Iterator[RowOrError]:
    """Every row of a file; a bad row is given as its `DataError`.

    Raises `DataError` where the file is damaged as a whole, and how many rows are lost is unknown.
    """
    kind = file_type(path, source.file_type)
    if source.split and kind is not FileType.JSON:
        raise DataError(f"{path}: data.split={source.split}: {kind.value} files have no splits. Leave data.split out.")
    return READERS[kind](path, source)


def file_type(path: Path, named: FileType = FileType.AUTO) -> FileType:
    """`named`, else what the file's name says. Raises `DataError` where it says nothing."""
    kind = SUFFIXES.get(suffix(path)) if named is FileType.AUTO else named
    if kind is None:
        kinds = " | ".join(file_type.value for file_type in FileType if file_type is not FileType.AUTO)
        raise DataError(f"{path}: its name does not tell its type. Name it: data.file_type={kinds}.")
    return kind


# Lines


def aligned(path: Path, target: Path) -> Iterator[RowOrError]:
    """Rows `source`, `target` of two files whose lines belong together.

    Raises `DataError` where one is longer, or holds something else than a sentence on each line.
    """
    for file in (path, target):
        expect_sentences(file)
    pairs = zip_longest(text_lines.lines(path), text_lines.lines(target))
    for number, (line, target_line) in enumerate(pairs, 1):
        if line is None or target_line is None:
            longer, shorter = (target, path) if line is None else (path, target)
            raise DataError(f"{longer}:{number}: {shorter} has only {number - 1} lines: they do not belong together.")
        yield _caught(_pair, line[1], target_line[1], f"{path}:{number}", f"{target}:{number}")


def expect_sentences(path: Path) -> None:
    """Raises `DataError` for a file whose name or first line shows that its lines are no sentences."""
    kind = SUFFIXES.get(suffix(path), FileType.TEXT)
    first = next((line.strip() for _, line in text_lines.lines(path) if line.strip()), b"")
    if suffix(path).lower() in _MARKUP or _TAG.match(first):
        raise DataError(
            f"{path}: SGML or XML, whose tags would be trained on as translations. Take the sentences out of it, one "
            "on a line: sacrebleu's `mtdata`, or `sed -n 's/<seg[^>]*>\\(.*\\)<\\/seg>/\\1/p'`."
        )
    if kind is not FileType.TEXT:
        raise DataError(f"{path}: {kind.value} rows are no lines of sentences. Leave data.target_path out.")


_MARKUP = (".sgm", ".sgml", ".xml", ".tmx", ".xlf", ".xliff", ".html", ".htm", ".ts", ".resx", ".ttml", ".tbx")
_TAG = re.compile(rb"<(\?xml|!DOCTYPE|!--|srcset|refset|tstset|mteval|doc|seg|tmx|xliff|html|dataset|ts)\b", re.I)


def _pair(source: bytes, target: bytes, location: str, target_location: str) -> Row:
    return Row(
        {"source": text_lines.text(source, location), "target": text_lines.text(target, target_location)}, location
    )


def _text(path: Path, source: SourceConfig) -> Iterator[RowOrError]:
    for number, line in _filled(path):
        yield _caught(_line, line, f"{path}:{number}")


def _line(line: bytes, location: str) -> Row:
    _expect_no_nul(text := text_lines.text(line, location), location)
    return Row({"text": text}, location)


def _filled(path: Path) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in text_lines.lines(path) if line.strip())


def _caught(make: Callable[..., Row], *arguments: Any) -> RowOrError:
    try:
        return make(*arguments)
    except DataError as error:
        return error


# JSON


def _json(path: Path, source: SourceConfig) -> Iterator[RowOrError]:
    """A list of rows, a line for each row, or one object: a row by itself, or with `split` the lists at its keys."""
    if source.split:
        return _rows(_splits(path, source.split))
    return _rows(_json_lines(path) if in_lines(path) else _json_whole(path))


def in_lines(path: Path) -> bool:
    """Whether the first line is a value by itself and another line follows (or both begin as an object does)."""
    if text_lines.on_one_line(path) and json_list.is_list(path):  # which may be long
        return False
    first, second, *_ = [*islice((line.strip() for _, line in _filled(path)), 2), b"", b""]
    return bool(second) and (first[:1] + second[:1] == b"{{" or _parses(first))


def _parses(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _json_lines(path: Path) -> Iterator[_Value]:
    for number, line in _filled(path):
        location = f"{path}:{number}"
        try:
            yield json_value.parsed(text_lines.text(line, location), location), location
        except json.JSONDecodeError as error:
            yield DataError(f"{location}: broken JSON: {error.msg}.")
        except DataError as error:
            yield error


def _json_whole(path: Path) -> Iterator[_Value]:
    if json_list.is_list(path):
        return _json_list(path)
    return _json_object(path)


def _json_object(path: Path) -> Iterator[_Value]:
    try:
        value = _parsed(path)
    except AmbiguousJson as error:
        yield error
    else:
        yield from [(value, f"{path}:1")] if value is not None else []


def _json_list(path: Path) -> Iterator[_Value]:
    for number, (row, complaint) in enumerate(json_list.values(path), 1):
        location = f"{path}: row {number}"
        yield DataError(f"{location}: {complaint}.") if complaint else (row, location)


def _parsed(path: Path) -> Any:
    text = text_lines.text(text_lines.content(path), str(path))
    try:
        return json_value.parsed(text, f"{path}:1") if text.strip() else None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: broken JSON: {error.msg}.") from None


def _splits(path: Path, split: str) -> Iterator[_Value]:
    """The rows at the keys that `split` names; a row that is an object gets its key in the column `split`."""
    value = _parsed(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: data.split={split}: not an object with a key for each split. Leave data.split out.")
    for name in value if split == "*" else split.split("+"):
        if not isinstance(value.get(name), list):
            raise DataError(f"{path}: data.split={split}: no list of rows at {name!r}. Keys: {', '.join(value)}.")
        for number, row in enumerate(value[name], 1):
            yield {"split": name, **row} if isinstance(row, dict) else row, f"{path}: {name}: row {number}"


def _rows(values: Iterable[_Value]) -> Iterator[RowOrError]:
    """Rows from values that are all of one kind."""
    first: type | None = None
    for item in values:
        if isinstance(item, DataError):
            yield item
            continue
        value, location = item
        if type(value) not in _KINDS or first not in (None, type(value)):
            yield DataError(f"{location}: {type(value).__name__} instead of {_KINDS[first or dict]}.")
            continue
        first = type(value)
        yield Row(_by_column(value), location)


def _by_column(value: Any) -> dict[str, Any]:
    """Cells of a list are columns 0, 1 ...; a text is the column `text`."""
    if isinstance(value, list):
        return {str(number): cell for number, cell in enumerate(value)}
    return {"text": value} if isinstance(value, str) else value


# CSV and TSV


def _csv(path: Path, source: SourceConfig) -> Iterator[RowOrError]:
    return _separated(path, source.header, delimiter=",", quoting=csv.QUOTE_MINIMAL)


def _tsv(path: Path, source: SourceConfig) -> Iterator[RowOrError]:
    """Quotes mean themselves: a cell of a TSV file holds neither tab nor line end."""
    return _separated(path, source.header, delimiter="\t", quoting=csv.QUOTE_NONE)


def _separated(path: Path, header: bool, **dialect: Any) -> Iterator[RowOrError]:
    csv.field_size_limit(input_limits.LONGEST)
    decoded = (line.decode(errors="surrogateescape") + "\n" for _, line in text_lines.lines(path))
    reader = csv.reader(decoded, strict=True, **dialect)
    names = _names(_first(reader, path), path) if header else None
    while True:
        location = f"{path}:{reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield DataError(f"{location}: {_reason(error)}.")
            continue
        if cells:
            yield _caught(_row, cells, names, location)


def _first(reader: Iterator[list[str]], path: Path) -> list[str]:
    try:
        return next(reader, [])
    except csv.Error as error:
        raise DataError(f"{path}:1: {_reason(error)}.") from None


def _reason(error: csv.Error) -> str:
    """What is wrong, and what to do about it."""
    if "new-line character" in str(error):
        return "a carriage return outside of quotes; if lines end with it, convert them: tr '\\r' '\\n' < FILE > NEW"
    return str(error)


def _names(cells: list[str], path: Path) -> list[str]:
    twice = {name for name in cells if cells.count(name) > 1}
    if twice:
        raise DataError(f"{path}:1: two columns named {min(twice)!r}. Name them apart, or set data.header=false.")
    return cells


def _row(cells: Sequence[str], names: Sequence[str] | None, location: str) -> Row:
    if names and len(cells) != len(names):
        raise DataError(f"{location}: {len(cells)} cells instead of {len(names)}.")
    joined = "\n".join(cells)
    text_lines.text(joined.encode(errors="surrogateescape"), location)
    _expect_no_nul(joined, location)
    return Row(dict(zip(names or map(str, range(len(cells))), cells, strict=True)), location)


def _expect_no_nul(text: str, location: str) -> None:
    if "\0" in text:
        raise DataError(f"{location}: holds a NUL character, as UTF-16 does. Convert it: iconv -f utf-16 -t utf-8.")


READERS: dict[FileType, Callable[[Path, SourceConfig], Iterator[RowOrError]]] = {
    FileType.JSON: _json,
    FileType.CSV: _csv,
    FileType.TSV: _tsv,
    FileType.TEXT: _text,
    FileType.PARQUET: lambda path, source: tables.parquet(path),
    FileType.ARROW: lambda path, source: tables.arrow(path),
}
