"""Prepared rows on the disk: flat arrays, memory-mapped, and the card that counts them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.base import files
from tunefleet.data.store import npy_writer
from tunefleet.data.store.npy_writer import Growing
from tunefleet.data.store.packing import packed
from tunefleet.data.store.tally import Tally
from tunefleet.data.store.writer import Stored


@dataclass(frozen=True)
class Card:
    """What was prepared. `rows` are what a micro-batch is made of; lengths are in tokens.

    `truncated` were cut, `split` became several conversations, `too_long` were left out for their length, and
    `dropped` for having nothing to learn. `questions` are the most that one conversation has; 0 is unknown.
    """

    name: str
    conversations: int
    rows: int
    tokens: int
    learning_tokens: int
    truncated: int
    dropped: int
    longest: int
    row_length: int
    split: int = 0
    too_long: int = 0
    questions: int = 0

    @property
    def read(self) -> int:
        """Conversations that were read: kept and left out. A split one counts as its parts."""
        return self.conversations + self.dropped + self.too_long

    @property
    def filled(self) -> float:
        """The share of a packed row that is not padding."""
        return self.tokens / max(1, self.rows * self.row_length)


@dataclass(frozen=True)
class Example:
    """A question for generation, with the answer that the data give."""

    messages: list[dict[str, Any]]
    prompt: str
    answer: str


@dataclass(frozen=True)
class Dataset:
    """Conversation i is tokens[starts[i] : starts[i+1]]; row r holds conversations packs[bounds[r] : bounds[r+1]].

    In a mixture a conversation may be in several rows, or in none.
    """

    card: Card
    tokens: NDArray[np.int32]
    learns: NDArray[np.bool_]
    starts: NDArray[np.int64]
    packs: NDArray[np.int64]
    bounds: NDArray[np.int64]
    examples: list[Example]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def row(self, number: int) -> list[tuple[NDArray[np.int32], NDArray[np.bool_]]]:
        """The conversations of row `number`, each as (tokens, learns)."""
        members = self.packs[self.bounds[number] : self.bounds[number + 1]]
        slices = [slice(self.starts[i], self.starts[i + 1]) for i in members]
        return [(self.tokens[s], self.learns[s]) for s in slices]


_ARRAYS = ("tokens", "learns", "starts", "packs", "bounds")


def write_rows(folder: Path, stored: Stored, row_length: int, packing: bool) -> int:
    """Writes which conversations of a store share a row, and seals nothing yet; returns the number of rows."""
    packs, bounds = Growing(folder / "packs.npy", np.int64), Growing(folder / "bounds.npy", np.int64)
    bounds.append([0])
    end = rows = 0
    for numbers, counts in packed(stored.passes(), row_length) if packing else _alone(stored):
        packs.append(numbers)
        bounds.append(end + np.cumsum(counts))
        end += len(numbers)
        rows += len(counts)
    packs.finish()
    bounds.finish()
    return rows


def _alone(stored: Stored) -> Iterable[tuple[NDArray[Any], NDArray[Any]]]:
    return ((lines["number"], np.ones(len(lines), np.int64)) for lines in stored.passes())


def card(name: str, counted: Tally, rows: int, row_length: int, questions: int) -> Card:
    """The card of a data set."""
    return Card(
        name=name,
        conversations=int(counted.kept.sum()),
        rows=rows,
        tokens=int(counted.tokens.sum()),
        learning_tokens=int(counted.learning.sum()),
        truncated=int(counted.truncated.sum()),
        dropped=counted.dropped,
        longest=counted.longest,
        row_length=row_length,
        split=int(counted.split.sum()),
        too_long=int(counted.too_long.sum()),
        questions=questions,
    )


def seal(folder: Path, card: Card, examples: Iterable[Example]) -> None:
    """Writes what is not an array, and what every file is."""
    files.write_json(folder / "examples.json", [asdict(example) for example in examples])
    files.write_json(folder / "card.json", asdict(card))
    npy_writer.seal(folder)


def read(folder: Path) -> Dataset:
    """Maps a data set into memory. Raises `OSError`, `ValueError` or `TypeError` where it is broken."""
    npy_writer.expect_sizes(folder)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    examples = [Example(**example) for example in files.read_json(folder / "examples.json")]
    return Dataset(card=Card(**files.read_json(folder / "card.json")), examples=examples, **arrays)
