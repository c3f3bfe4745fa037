"""Prepared rows on the disk: flat arrays, memory-mapped, and the card that counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.base import files
from tunefleet.data.encode import Encoded


@dataclass(frozen=True)
class Card:
    """What was prepared. `rows` are what a micro-batch is made of; lengths are in tokens."""

    name: str
    conversations: int
    rows: int
    tokens: int
    learning_tokens: int
    truncated: int
    dropped: int
    longest: int
    row_length: int

    @property
    def read(self) -> int:
        """Conversations that were read: kept and dropped."""
        return self.conversations + self.dropped

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
    """Conversation i is tokens[starts[i] : starts[i+1]]; row r holds conversations packs[bounds[r] : bounds[r+1]]."""

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


def write(
    folder: Path, card: dict[str, Any], encoded: Sequence[Encoded], rows: Sequence[Sequence[int]], examples: Any
) -> None:
    """Writes a data set; the folder is new."""
    folder.mkdir(parents=True)
    arrays = {
        "tokens": _joined([e.tokens for e in encoded], np.int32),
        "learns": _joined([e.learns for e in encoded], np.bool_),
        "starts": _bounds([len(e.tokens) for e in encoded]),
        "packs": _joined([np.asarray(row) for row in rows], np.int64),
        "bounds": _bounds([len(row) for row in rows]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    files.write_json(folder / "examples.json", [asdict(example) for example in examples])
    files.write_json(folder / "card.json", card)


def read(folder: Path) -> Dataset:
    """Maps a data set into memory. Raises `OSError`, `ValueError` or `TypeError` where it is broken."""
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    examples = [Example(**example) for example in files.read_json(folder / "examples.json")]
    return Dataset(card=Card(**files.read_json(folder / "card.json")), examples=examples, **arrays)


def _joined(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype=dtype), *parts]).astype(dtype, copy=False)


def _bounds(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))]).astype(np.int64)
