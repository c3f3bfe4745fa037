"""Task formats: sentences to translate and texts to label, each made into a question with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.config.data import SourceConfig
from tunefleet.data.formats.conversation import Turn
from tunefleet.data.formats.slot_marks import with_slots
from tunefleet.data.read import text_lines
from tunefleet.data.read.row_fields import get
from tunefleet.data.read.source_row import Row

Turns = tuple[Turn, ...]


def parallel(row: Row, source: SourceConfig) -> list[Turns]:
    """`source` is asked and `target` answered; with `instruction_back` the other way round too."""
    fields = {key: get(row, key, str) for key in ("source", "target")}
    forward = _question_and_answer(source.instruction or "{source}", fields, fields["target"])
    if source.instruction_back is None:
        return [forward]
    return [forward, _question_and_answer(source.instruction_back, fields, fields["source"])]


def labelled(row: Row, source: SourceConfig, names: Sequence[str]) -> list[Turns]:
    """`text` is asked and the name of `label` answered, with its `slots` where there are any."""
    fields = {"text": get(row, "text", str), "labels": ", ".join(names)}
    return [_question_and_answer(source.instruction or "{text}", fields, with_slots(_label(row, names), row))]


def label_names(source: SourceConfig) -> tuple[str, ...]:
    """The names of labels. Raises `DataError` where their file cannot be read."""
    if not source.label_file:
        return source.label_names
    path = Path(source.label_file)
    return tuple(
        text_lines.text(line, f"{path}:{number}").strip() for number, line in text_lines.lines(path) if line.strip()
    )


def _question_and_answer(instruction: str, fields: dict[str, str], answer: str) -> Turns:
    return Turn("user", instruction.format(**fields)), Turn("assistant", answer)


def _label(row: Row, names: Sequence[str]) -> str:
    label: Any = row.values.get("label")
    if isinstance(label, str):
        label = get(row, "label", str)
        if names and label not in names and label.isdecimal():  # of a CSV file
            return _name(int(label), names, row.location)
        if names and label not in names:
            raise DataError(f"{row.location}: label is {label!r}, which is none of the {len(names)} names of labels.")
        return str(label)
    return _name(int(label) if isinstance(label, bool) else get(row, "label", int), names, row.location)


def _name(number: int, names: Sequence[str], location: str) -> str:
    if not names:
        raise DataError(f"{location}: label is {number}, and it has no name. Give data.label_names=[...].")
    if not 0 <= number < len(names):
        raise DataError(f"{location}: label is {number}, but there are {len(names)} names of labels, from 0 on.")
    return names[number]
