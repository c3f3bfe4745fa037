"""Data set as it was prepared: its arrays, memory-mapped, and the card that counts them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.base import files
from tunefleet.data.store import disk_format, manifest, places
from tunefleet.data.store.packing import packed
from tunefleet.data.store.tally import Tally
from tunefleet.data.store.writer import StoredLines


@dataclass(frozen=True)
class Card:
    """What was prepared. `sequences` are what a micro-batch is made of; lengths are in tokens.

    `truncated` were cut, `split` became several conversations, `too_long` were left out for their length, and
    `dropped` for having no loss tokens. `questions` are the most that one conversation has; 0 is unknown.
    """

    name: str
    conversations: int
    sequences: int
    tokens: int
    loss_tokens: int
    truncated: int
    dropped: int
    longest: int
    sequence_length: int
    split: int = 0
    too_long: int = 0
    questions: int = 0

    @property
    def read(self) -> int:
        """Conversations that were read: kept and left out. A split one counts as its parts."""
        return self.conversations + self.dropped + self.too_long

    @property
    def filled(self) -> float:
        """The share of packed sequences that is not padding."""
        return self.tokens / max(1, self.sequences * self.sequence_length)


@dataclass(frozen=True)
class Example:
    """A question for generation, with the answer that the data give."""

    messages: list[dict[str, Any]]
    prompt: str
    answer: str


@dataclass(frozen=True)
class Dataset:
    """Conversations and the sequences that they are packed into; `disk_format.ARRAYS` says what each array is.

    In a mixture a conversation may be in several sequences, or in none.
    """

    card: Card
    tokens: NDArray[np.int32]
    loss_mask: NDArray[np.bool_]
    starts: NDArray[np.int64]
    packs: NDArray[np.int64]
    bounds: NDArray[np.int64]
    examples: list[Example]
    origins: NDArray[np.int32] | None = None
    rows: NDArray[np.int64] | None = None
    origin_names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def sequence(self, number: int) -> list[tuple[NDArray[np.int32], NDArray[np.bool_]]]:
        """The conversations of sequence `number`, each as (tokens, loss mask)."""
        members = self.packs[self.bounds[number] : self.bounds[number + 1]]
        slices = [slice(self.starts[i], self.starts[i + 1]) for i in members]
        return [(self.tokens[s], self.loss_mask[s]) for s in slices]

    def places(self, number: int) -> list[str]:
        """Where the conversations of sequence `number` were read, as file:line or file: row N; "" is unknown."""
        members = self.packs[self.bounds[number] : self.bounds[number + 1]]
        if self.origins is None or self.rows is None:
            return [""] * len(members)
        return [places.text(self.origin_names[self.origins[i]], int(self.rows[i])) for i in members]


def write_sequences(folder: Path, stored: StoredLines, length: int, packing: bool) -> int:
    """Writes which conversations of a store share a sequence, and seals nothing yet; returns how many there are."""
    packs = disk_format.array_writer(folder, disk_format.PACKS)
    bounds = disk_format.array_writer(folder, disk_format.BOUNDS)
    bounds.append([0])
    end = sequences = 0
    for numbers, counts in packed(stored.passes(), length) if packing else _one_each(stored):
        packs.append(numbers)
        bounds.append(end + np.cumsum(counts))
        end += len(numbers)
        sequences += len(counts)
    packs.finish()
    bounds.finish()
    return sequences


def _one_each(stored: StoredLines) -> Iterable[tuple[NDArray[Any], NDArray[Any]]]:
    return ((lines["number"], np.ones(len(lines), np.int64)) for lines in stored.passes())


def card(name: str, counts: Tally, sequences: int, sequence_length: int, questions: int) -> Card:
    """The card of a data set."""
    return Card(
        name=name,
        conversations=int(counts.with_targets.sum()),
        sequences=sequences,
        tokens=int(counts.tokens.sum()),
        loss_tokens=int(counts.loss_tokens.sum()),
        truncated=int(counts.truncated.sum()),
        dropped=counts.dropped,
        longest=counts.longest,
        sequence_length=sequence_length,
        split=int(counts.split.sum()),
        too_long=int(counts.too_long.sum()),
        questions=questions,
    )


def seal(folder: Path, card: Card, examples: Iterable[Example]) -> None:
    """Writes what is not an array, and what every file is."""
    files.write_json(folder / disk_format.EXAMPLES, [asdict(example) for example in examples])
    files.write_json(folder / disk_format.CARD, asdict(card))
    manifest.seal(folder)


def read(folder: Path) -> Dataset:
    """Maps a data set into memory. Raises `OSError`, `ValueError` or `TypeError` where it is broken."""
    manifest.expect_sizes(folder)
    examples = [Example(**example) for example in files.read_json(folder / disk_format.EXAMPLES)]
    card = Card(**files.read_json(folder / disk_format.CARD))
    names = files.read_json(folder / disk_format.ORIGIN_NAMES)
    return Dataset(card=card, examples=examples, origin_names=names, **disk_format.read_arrays(folder))
