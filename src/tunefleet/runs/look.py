"""What would a run learn from: its first rows as the model sees them, and how long all of them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.base.errors import ConfigError
from tunefleet.config.data import Grouping
from tunefleet.data import prepare, shown_rows
from tunefleet.data.batches.grouping import row_lengths
from tunefleet.data.batches.order import Order
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.prepare import Prepared
from tunefleet.data.shown_rows import Choice, Rendering
from tunefleet.data.store.dataset import Card, Dataset
from tunefleet.model import tokenizer
from tunefleet.plan.plan import Plan


@dataclass(frozen=True)
class Look:
    """One training row. `pieces` are its text in order, each with whether it is learnt; `where` is file:line.

    `cuts` are pairs (pieces before it, tokens that were cut off there).
    """

    where: str
    pieces: tuple[tuple[str, bool], ...]
    tokens: int
    learning_tokens: int
    truncated: bool
    cuts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Lengths:
    """The conversations of a split: tokens and learning tokens of each, both of shape [conversations].

    `padding` is its share of an epoch's micro-batches, for each way of `data.group_by_length`; none with packing.
    """

    card: Card
    tokens: NDArray[np.int64]
    learning: NDArray[np.int64]
    padding: Mapping[Grouping, float]


def rows(plan: Plan, choice: Choice) -> list[Look]:
    """The rows of `choice`. Nothing but a row that cannot be read or rendered is refused.

    Raises `DataError` with file and line, `ConfigError` for a split that there is not.
    """
    words, data = _tokenizer(plan), plan.config.data
    if choice.split not in (known := shown_rows.splits(data)):
        raise ConfigError(f"--split {choice.split}: there is none. Splits: {', '.join(known)}.")
    chat = prepare.chat_template(data, words)
    rendering = Rendering(data, chat, words, plan.config.train.sequence_length)
    talks = [list(parts) for _, parts in groupby(shown_rows.chosen(choice, rendering), key=lambda pair: id(pair[0]))]
    return [
        _look(talk.where + (f", part {number} of {len(parts)}" if len(parts) > 1 else ""), one, words)
        for parts in talks
        for number, (talk, one) in enumerate(parts, 1)
    ]


def lengths(plan: Plan) -> dict[str, Lengths]:
    """Every split, prepared as for training, and refused as for training. Raises `DataError`."""
    found = prepare.prepare(plan.config.data, _tokenizer(plan), plan.config.train.sequence_length)
    unseen = {name: _lengths(data, {}) for name, data in found.validation.items()}
    return {"train": _lengths(found.train, _padding(plan, found.train)), **unseen}


def prepared(plan: Plan) -> Prepared:
    """The data of a run, prepared now or found; every byte that was found is read again. Raises `DataError`."""
    data, longest = plan.config.data, plan.config.train.sequence_length
    return prepare.prepare(data, _tokenizer(plan), longest, thorough=True)


def _tokenizer(plan: Plan) -> Any:
    return tokenizer.load(plan.sources.tokenizer, str(plan.sources.architecture.get("model_type")))


def _look(where: str, encoded: Encoded, words: Any) -> Look:
    learns, edges = encoded.learns, _edges(encoded)
    cuts = tuple((edges.index(place), lost) for place, lost in encoded.cuts)
    pieces, learning = _pieces(encoded, edges, words), int(learns[1:].sum())
    return Look(where, pieces, len(learns), learning, encoded.truncated or encoded.too_long, cuts)


def _edges(encoded: Encoded) -> list[int]:
    """Where learning begins or ends, or something is cut off."""
    turns = (np.flatnonzero(np.diff(encoded.learns)) + 1).tolist()
    return sorted({0, *turns, *(place for place, _ in encoded.cuts), len(encoded.learns)})


def _pieces(encoded: Encoded, edges: Sequence[int], words: Any) -> tuple[tuple[str, bool], ...]:
    """Texts of growing length are compared: many tokenizers decode a token differently where it stands alone."""
    texts = [_decoded(encoded.tokens[:edge].tolist(), words) for edge in edges]
    pairs = zip(texts[:-1], texts[1:], edges, strict=False)
    return tuple((text[len(before) :], bool(encoded.learns[start])) for before, text, start in pairs)


def _decoded(ids: Sequence[int], words: Any) -> str:
    return str(words.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)) if ids else ""


def _padding(plan: Plan, data: Dataset) -> dict[Grouping, float]:
    if plan.config.data.packing or not len(data):
        return {}
    seed, batch = plan.config.train.seed, plan.batch
    return {way: Order(row_lengths(data), seed, batch.total, way).padding(batch.micro) for way in Grouping}


def _lengths(data: Dataset, padding: Mapping[Grouping, float]) -> Lengths:
    learns = np.add.reduceat(data.learns, data.starts[:-1], dtype=np.int64) if len(data) else np.zeros(0, np.int64)
    firsts = data.learns[data.starts[:-1]].astype(np.int64)  # predicted from nothing, so never learnt
    return Lengths(data.card, np.diff(data.starts)[data.packs], (learns - firsts)[data.packs], padding)
