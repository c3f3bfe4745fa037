"""Data preview: rows as the model would be trained on them, and the lengths of all of them."""

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
from tunefleet.data.batches.grouping import sequence_lengths
from tunefleet.data.batches.order import Order
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.prepare import Prepared
from tunefleet.data.shown_rows import Choice, Rendering
from tunefleet.data.store.dataset import Card, Dataset
from tunefleet.plan.plan import Plan
from tunefleet.runs import saved_tokenizer


@dataclass(frozen=True)
class RowPreview:
    """One training row. `pieces` are its text in order, each with whether it is in the loss; `location` is file:line.

    `cuts` are pairs (pieces before it, tokens that were cut off there).
    """

    location: str
    pieces: tuple[tuple[str, bool], ...]
    tokens: int
    loss_tokens: int
    truncated: bool
    cuts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Lengths:
    """The conversations of a split: tokens and loss tokens of each, both of shape [conversations].

    `padding` is its share of an epoch's micro-batches, for each way of `data.group_by_length`; none with packing.
    """

    card: Card
    tokens: NDArray[np.int64]
    loss_tokens: NDArray[np.int64]
    padding: Mapping[Grouping, float]


def rows(plan: Plan, choice: Choice) -> list[RowPreview]:
    """The rows of `choice`. Nothing but a row that cannot be read or rendered is refused.

    Raises `DataError` with file and line, `ConfigError` for an unknown split.
    """
    tokenizer, data = _tokenizer(plan), plan.config.data
    if choice.split not in (splits := shown_rows.splits(data)):
        raise ConfigError(f"--split {choice.split}: there is none. Splits: {', '.join(splits)}.")
    chat = prepare.chat_template(data, tokenizer)
    rendering = Rendering(data, chat, tokenizer, plan.config.train.sequence_length)
    pairs = shown_rows.choose(choice, rendering)
    conversations = [list(parts) for _, parts in groupby(pairs, key=lambda pair: id(pair[0]))]
    return [
        _preview(conversation.location + _part(number, len(parts)), encoded, tokenizer)
        for parts in conversations
        for number, (conversation, encoded) in enumerate(parts, 1)
    ]


def lengths(plan: Plan) -> dict[str, Lengths]:
    """Every split, prepared as for training, and refused as for training. Raises `DataError`."""
    data = prepare.prepare(plan.config.data, _tokenizer(plan), plan.config.train.sequence_length)
    validation = {name: _lengths(split, {}) for name, split in data.validation.items()}
    return {"train": _lengths(data.train, _padding(plan, data.train)), **validation}


def prepared(plan: Plan) -> Prepared:
    """The data of a run, prepared now or read from the cache, then with every byte checked. Raises `DataError`."""
    data, longest = plan.config.data, plan.config.train.sequence_length
    return prepare.prepare(data, _tokenizer(plan), longest, thorough=True)


def _tokenizer(plan: Plan) -> Any:
    return saved_tokenizer.planned(plan)


def _part(number: int, parts: int) -> str:
    return f", part {number} of {parts}" if parts > 1 else ""


def _preview(location: str, encoded: Encoded, tokenizer: Any) -> RowPreview:
    edges = _edges(encoded)
    cuts = tuple((edges.index(index), cut_tokens) for index, cut_tokens in encoded.cuts)
    pieces, loss_tokens = _pieces(encoded, edges, tokenizer), int(encoded.loss_mask.sum())
    return RowPreview(location, pieces, len(encoded.tokens), loss_tokens, encoded.truncated or encoded.too_long, cuts)


def _edges(encoded: Encoded) -> list[int]:
    """Where the loss mask changes, or something is cut off."""
    changes = (np.flatnonzero(np.diff(encoded.loss_mask)) + 1).tolist()
    return sorted({0, *changes, *(index for index, _ in encoded.cuts), len(encoded.loss_mask)})


def _pieces(encoded: Encoded, edges: Sequence[int], tokenizer: Any) -> tuple[tuple[str, bool], ...]:
    """Texts of growing length are compared: many tokenizers decode a token differently where it stands alone."""
    texts = [_decoded(encoded.tokens[:edge].tolist(), tokenizer) for edge in edges]
    steps = zip(texts[:-1], texts[1:], edges, strict=False)
    return tuple((text[len(previous) :], bool(encoded.loss_mask[start])) for previous, text, start in steps)


def _decoded(ids: Sequence[int], tokenizer: Any) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)) if ids else ""


def _padding(plan: Plan, data: Dataset) -> dict[Grouping, float]:
    if plan.config.data.packing or not len(data):
        return {}
    seed, batch = plan.config.train.seed, plan.batch
    return {way: Order(sequence_lengths(data), seed, batch.total, way).padding(batch.micro) for way in Grouping}


def _lengths(data: Dataset, padding: Mapping[Grouping, float]) -> Lengths:
    starts = data.starts[:-1]
    loss_tokens = np.add.reduceat(data.loss_mask, starts, dtype=np.int64) if len(data) else np.zeros(0, np.int64)
    return Lengths(data.card, np.diff(data.starts)[data.packs], loss_tokens[data.packs], padding)
