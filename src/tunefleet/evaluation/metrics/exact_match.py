"""Exact match: the share of answers that are their references, to the letter."""

from __future__ import annotations

from collections.abc import Sequence


def exact_match(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """{"exact_match": 0 to 1}."""
    matches = sum(answer == reference for answer, reference in zip(answers, references, strict=True))
    return {"exact_match": matches / len(references)}
