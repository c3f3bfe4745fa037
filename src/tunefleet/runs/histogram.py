"""Histogram: the lengths of a split's conversations, with its counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunefleet.base import text
from tunefleet.base.units import count
from tunefleet.runs.data_preview import Lengths

_BARS = 10  # of a histogram
_WIDTH = 40  # characters of the longest bar


def report(name: str, lengths: Lengths, packed: bool) -> str:
    """The lengths of the split `name`, for the console."""
    parts = [f"{name.replace('_', ' ')}", text.listed(_facts(lengths, packed))]
    if len(lengths.tokens):
        parts += ["tokens of a conversation", histogram(lengths.tokens)]
        parts += ["loss tokens of a conversation", histogram(lengths.loss_tokens)]
    return "\n".join(parts) + "\n"


def _facts(lengths: Lengths, packed: bool) -> dict[str, str]:
    card = lengths.card
    in_loss = card.loss_tokens / max(1, card.tokens)
    filled = f"{card.filled:.2%} filled, {1 - card.filled:.2%} padding"
    sequences = f"{card.sequences:,} of {card.sequence_length:,} tokens, {filled}"
    unpacked = card.tokens / max(1, card.conversations * card.sequence_length)
    packing = f" ({unpacked:.2%} filled without packing)" if packed else " (padded to the longest of a batch: less)"
    ways = ", ".join(f"{share:.1%} with {way.value}" for way, share in lengths.padding.items())
    grouped = {"batches": f"padding {ways} (data.group_by_length)"} if ways else {}
    return {
        "read": f"{card.read:,} conversations, {card.dropped:,} dropped without loss tokens",
        "too long": f"{card.truncated:,} cut ({card.truncated / max(1, card.read):.2%}), {card.split:,} split into "
        f"several, {card.too_long:,} left out, at {card.sequence_length:,} tokens",
        "tokens": f"{count(card.tokens)}, {count(card.loss_tokens)} in the loss ({in_loss:.1%})",
        "longest": f"{card.longest:,} tokens",
        "sequences": sequences + packing,
        **grouped,
    }


def histogram(values: NDArray[np.int64]) -> str:
    """Bars of equal width from 0 to the longest, and the median and the tail."""
    counts, edges = np.histogram(values, bins=min(_BARS, int(values.max()) + 1), range=(0, int(values.max()) + 1))
    lines = [
        (f"{int(np.ceil(low)):>7,} - {int(np.ceil(high)) - 1:<7,}", f"{number:>9,}", _bar(number, counts.max()))
        for number, low, high in zip(counts.tolist(), edges[:-1], edges[1:], strict=True)
    ]
    median, p90, p99 = np.percentile(values, [50, 90, 99])
    return f"{text.columns(lines)}\n  median {median:,.0f}, 90% up to {p90:,.0f}, 99% up to {p99:,.0f}"


def _bar(number: int, largest: int) -> str:
    return "#" * int(np.ceil(_WIDTH * number / largest))
