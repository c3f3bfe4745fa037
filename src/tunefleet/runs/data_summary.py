"""Data summary: the console's lines on how much was prepared, and how much was left out."""

from __future__ import annotations

from collections.abc import Mapping

from tunefleet.base.units import count
from tunefleet.data.prepare import Prepared
from tunefleet.data.store.dataset import Card
from tunefleet.plan.plan import Plan


def rows(plan: Plan, data: Prepared) -> dict[str, str]:
    """What was prepared, and what was left out."""
    splits = [f"{name} {split.card.conversations:,}" for name, split in data.validation.items()]
    removed = ", ".join(f"{number:,} {step}" for step, number in data.removed.items())
    cleaned = {"left out": f"{removed}, see {data.removed_report}"} if removed else {}
    unread = {"not read": _unread(data.unread)} if data.unread else {}
    bad = {"bad rows": f"{data.bad_rows:,} left out, see {data.report}"} if data.bad_rows else {}
    return {"data": _card(plan, data.train.card), **cleaned, **bad, **unread, "validation": ", ".join(splits) or "none"}


def _unread(keys: Mapping[str, str], most: int = 5) -> str:
    names = ", ".join([*list(keys)[:most], *([f"{len(keys) - most} more"] if len(keys) > most else [])])
    return f"{names} (first at {next(iter(keys.values()))}); columns that mean nothing go into data.ignore_columns"


def _card(plan: Plan, card: Card) -> str:
    sequences = f"{card.sequences:,} sequences of {card.sequence_length} tokens ({card.filled:.1%} filled)"
    left_out = {"cut": card.truncated, "split": card.split, "too long": card.too_long, "dropped": card.dropped}
    counts = [f"{number:,} {reason}" for reason, number in left_out.items() if number]
    return (
        f"{plan.config.data.name}: {card.conversations:,} conversations in "
        f"{sequences if plan.config.data.packing else 'a sequence each'}, {count(card.tokens)} tokens, "
        f"{count(card.loss_tokens)} in the loss, longest {card.longest:,}"
        + (f" ({', '.join(counts)} of {card.read:,} read)" if counts else "")
    )
