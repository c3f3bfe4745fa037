"""What would a run learn from: its first rows as the model sees them, and how long all of them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.config.data import Grouping
from tunefleet.data import prepare
from tunefleet.data.dataset import Card, Dataset
from tunefleet.data.encode import in_pairs
from tunefleet.data.grouping import row_lengths
from tunefleet.data.long_rows import Encoded
from tunefleet.data.order import Order
from tunefleet.data.prepare import Prepared
from tunefleet.model import tokenizer
from tunefleet.plan.plan import Plan


@dataclass(frozen=True)
class Look:
    """One training row. `pieces` are its text in order, each with whether it is learnt; `where` is file:line."""

    where: str
    pieces: tuple[tuple[str, bool], ...]
    tokens: int
    learning_tokens: int
    truncated: bool


@dataclass(frozen=True)
class Lengths:
    """The conversations of a split: tokens and learning tokens of each, both of shape [conversations].

    `padding` is its share of an epoch's micro-batches, for each way of `data.group_by_length`; none with packing.
    """

    card: Card
    tokens: NDArray[np.int64]
    learning: NDArray[np.int64]
    padding: Mapping[Grouping, float]


def rows(plan: Plan, count: int) -> list[Look]:
    """The first `count` training rows. Nothing but a row that cannot be read or rendered is refused.

    Raises `DataError` with file and line.
    """
    words = _tokenizer(plan)
    data, longest = plan.config.data, plan.config.train.sequence_length
    chat = prepare.chat_template(data, words)
    talks = prepare.training_rows(data, words, longest, count)
    pairs = in_pairs(talks, chat, words, data.train_on, longest, data.long_rows)[:count]
    return [_look(talk.where, one, words) for talk, one in pairs]


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
    learns = encoded.learns
    return Look(where, _pieces(encoded, words), len(learns), int(learns[1:].sum()), truncated=encoded.truncated)


def _pieces(encoded: Encoded, words: Any) -> tuple[tuple[str, bool], ...]:
    """Texts of growing length are compared: many tokenizers decode a token differently where it stands alone."""
    learns = encoded.learns
    edges = [0, *(np.flatnonzero(np.diff(learns)) + 1).tolist(), len(learns)]
    texts = [_decoded(encoded.tokens[:edge].tolist(), words) for edge in edges]
    pairs = zip(texts[:-1], texts[1:], edges, strict=False)
    return tuple((text[len(before) :], bool(learns[start])) for before, text, start in pairs)


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
