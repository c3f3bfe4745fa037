"""Rows that `data show` shows: the first ones of a split, those from a number on, or some drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, OnBadRow
from tunefleet.data.clean.held_out import held_out
from tunefleet.data.clean.steps import Cleaning
from tunefleet.data.encode.loss_mask import Pair, encode_pairs
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.formats import collect
from tunefleet.data.formats.collect import ParsedRow
from tunefleet.data.formats.conversation import Conversation
from tunefleet.data.read import select_sources
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.sources import Source
from tunefleet.plan.paths import validation_splits


@dataclass(frozen=True)
class Choice:
    """`count` rows from number `row` on (None is the first), or drawn with `seed`; rows are counted from 1."""

    count: int
    row: int | None = None
    seed: int | None = None
    split: str = "train"


@dataclass(frozen=True)
class Rendering:
    """How rows become tokens; the fields are those of `encode_pairs`."""

    config: DataConfig
    chat: ChatTemplate
    tokenizer: Any
    longest: int

    def pairs(self, row: ParsedRow) -> list[Pair]:
        """The parts that a row is trained on as. Raises `DataError` for a row that is bad."""
        if isinstance(row, DataError):
            raise row
        data = self.config
        return encode_pairs(row, self.chat, self.tokenizer, data.train_on, self.longest, data.long_rows)


def splits(config: DataConfig) -> list[str]:
    """What `Choice.split` may be: `train`, and the sets of validation rows, read or held out."""
    return ["train", *validation_splits.names(config)]


def choose(choice: Choice, rendering: Rendering) -> list[Pair]:
    """The chosen rows in the order of their sources, one source after the other, whether or not some are held out.

    Raises `DataError` for a bad row among them that may not be left out, or where `choice.row` is none.
    """
    if choice.seed is not None:
        return _drawn(choice.count, random.Random(choice.seed), choice.split, rendering)
    first = choice.row or 1
    shown: list[Pair] = []
    number, rows = 0, 0
    for number, row in enumerate(_rows(choice.split, rendering), 1):
        if number < first:
            continue
        pairs = rendering.pairs(row) if number == choice.row else _tried(row, rendering)
        if number == choice.row and not pairs:
            raise DataError(f"--row {number}: data.clean leaves it out.")
        shown, rows = shown + pairs, rows + bool(pairs)
        if rows == choice.count:
            break
    if number < first:
        count = f"there are {number:,} rows. Use 1 to {number:,}." if number else "there is no row."
        raise DataError(f"--row {first}, --split {choice.split}: {count}")
    return shown


def _drawn(count: int, draws: random.Random, split: str, rendering: Rendering) -> list[Pair]:
    """Every good row is as likely (reservoir sampling); only those that are drawn are rendered."""
    reservoir: list[tuple[int, ParsedRow]] = []
    good = 0
    for number, row in enumerate(_rows(split, rendering)):
        if isinstance(row, DataError) or not row:
            continue
        index = good if good < count else draws.randrange(good + 1)
        good += 1
        if index < count:
            reservoir[index : index + 1] = [(number, row)]
    return list(chain.from_iterable(rendering.pairs(row) for _, row in sorted(reservoir, key=lambda entry: entry[0])))


def _tried(row: ParsedRow, rendering: Rendering) -> list[Pair]:
    """None for a bad row that may be left out. Raises `DataError` for one that may not."""
    try:
        return rendering.pairs(row)
    except DataError as error:
        if rendering.config.on_bad_row is OnBadRow.ERROR:
            BadRows().add(error)
        return []


def _rows(split: str, rendering: Rendering) -> Iterator[ParsedRow]:
    """Every row of a split: its conversations after cleaning, none where it is left out; or why it is bad."""
    config, clean = rendering.config, Cleaning(rendering.config.clean)
    validation = [source for source in select_sources.validation(config) if source.name == split]
    if validation:
        yield from _cleaned(validation[0], clean.normalise)
    elif split == "train":
        for source in select_sources.training(config):
            yield from _cleaned(source, clean.clean)
    else:
        yield from _held_out(split, rendering, clean)


def _cleaned(source: Source, step: Callable[[list[Conversation]], list[Conversation]]) -> Iterator[ParsedRow]:
    return (row if isinstance(row, DataError) else step(row) for row in collect.rows(source))


def _held_out(split: str, rendering: Rendering, clean: Cleaning) -> list[list[Conversation]]:
    """As `prepare` draws them: from all rows of a source that are not bad. Cleaning depends on the sources before."""
    config = rendering.config
    for name, source in zip(validation_splits.names(config), select_sources.training(config), strict=True):
        draw = held_out(config)
        for _ in draw.training(_good(_cleaned(source, clean.clean), rendering)):
            pass
        if name == split:
            return draw.rows
    return []


def _good(rows: Iterator[ParsedRow], rendering: Rendering) -> Iterator[list[Conversation]]:
    """Rendered, so that none is counted whose template refuses it."""
    for row in rows:
        if _tried(row, rendering) and not isinstance(row, DataError):
            yield row
