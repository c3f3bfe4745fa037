"""Answer tokens: the different answers of a prepared data set, as the tokens that are in its loss."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tunefleet.data.store.dataset import Dataset


def answer_tokens(data: Dataset, stops: Collection[int]) -> set[tuple[int, ...]]:
    """Every answer that ends with one of `stops`, up to and with it; one that was cut off has no end."""
    mask = np.zeros(len(data.loss_mask) + len(data.starts), dtype=np.int8)  # a gap behind every conversation
    positions = np.arange(len(data.loss_mask)) + np.repeat(np.arange(len(data.starts) - 1), np.diff(data.starts))
    mask[positions] = data.loss_mask
    tokens = np.zeros(len(mask), dtype=np.int32)
    tokens[positions] = data.tokens
    edges = np.flatnonzero(np.diff(mask, prepend=0))
    spans = {tokens[start:end].tobytes() for start, end in edges.reshape(-1, 2)}
    answers = (np.frombuffer(span, dtype=np.int32).tolist() for span in spans)
    return {ended for answer in answers if (ended := _ended(answer, stops))}


def _ended(answer: list[int], stops: Collection[int]) -> tuple[int, ...]:
    """Up to and with the first stop; nothing without one, or with nothing before it."""
    position = next((position for position, token in enumerate(answer) if token in stops), 0)
    return tuple(answer[: position + 1]) if position else ()
