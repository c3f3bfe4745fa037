"""Threshold: the probability below which an answer is not trusted."""

from __future__ import annotations

from collections.abc import Sequence


def choose(
    answers: Sequence[str], probabilities: Sequence[float], references: Sequence[str], fallback: str, cost: float
) -> float:
    """The highest threshold at which, of rows with another reference than `fallback`, at most the share `cost` more is
    wrong; 0 without such rows. Texts have no white space around them.

    An answer becomes `fallback` where its probability is below the threshold, so only those that were right cost.
    """
    rows = zip(answers, probabilities, references, strict=True)
    in_scope = [(p, answer == reference) for answer, p, reference in rows if reference != fallback]
    right = sorted(p for p, is_right in in_scope if is_right)
    if not right:
        return 0.0
    affordable = int(cost * len(in_scope) + 1e-9)
    return right[min(affordable, len(right) - 1)]


def applied(answers: Sequence[str], probabilities: Sequence[float], threshold: float, fallback: str) -> list[str]:
    """The answers, `fallback` in the place of those whose probability is below `threshold`."""
    return [answer if p >= threshold else fallback for answer, p in zip(answers, probabilities, strict=True)]
